//! One entry of the table of routes: what serves it, and what is told of it.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::web;
use actix_web::{FromRequest, Handler, Resource, Responder, Route};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::parameter::{Parameter, idempotency_key};
use crate::domain::access::Scope;
use crate::http::problem::{Facts, Problem};

/// Makes the schema of a type; what it names goes to the components.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Access {
    /// Anybody, or who proves it in a way of their own.
    Open,
    /// An API key of this scope.
    Key(Scope),
    /// An API key of scope `read`, or the signature of a link.
    Link,
}

/// The body of a call.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) media_type: &'static str,
    pub(super) schema: SchemaOf,
    pub(super) example: Value,
    /// Whether there has to be one.
    pub(super) is_required: bool,
}

/// What a call is answered with when it is done.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    /// Media type and schema; none where there is no body.
    pub(super) content: Option<(&'static str, SchemaOf)>,
    /// Headers by name, and what they are.
    pub(super) headers: Vec<(&'static str, &'static str)>,
}

/// One method of one path.
pub(in crate::http) struct Operation {
    pub(super) method: Method,
    route: Route,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) access: Access,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    pub(super) problems: Vec<Facts>,
    /// Whether problems are told in the short form for providers.
    pub(super) is_plain: bool,
}

/// One path, and what can be done there.
pub(in crate::http) struct Path {
    pub(in crate::http) path: &'static str,
    /// Of the path.
    pub(super) parameters: Vec<Parameter>,
    pub(super) operations: Vec<Operation>,
}

/// A path with its operations. A parameter stands for each name in braces, in their order; what they name may not be there.
pub(in crate::http) fn at<const P: usize, const N: usize>(
    path: &'static str,
    parameters: [Parameter; P],
    operations: [Operation; N],
) -> Path {
    let missing = |operation: Operation| match P {
        0 => operation,
        _ if operation.is_plain => operation.refuses([Problem::UnknownSource]),
        _ => operation.refuses([Problem::NotFound("")]),
    };
    Path { path, parameters: parameters.into(), operations: operations.map(missing).into() }
}

impl Path {
    /// Whether links lead there.
    pub(in crate::http) fn is_link(&self) -> bool {
        self.operations.iter().any(|one| one.access == Access::Link)
    }

    /// What serves it. Other methods are answered `405`, and told which there are.
    pub(in crate::http) fn resource(self) -> Resource {
        let methods: Vec<_> = self.operations.iter().map(|one| one.method.as_str()).collect();
        let (allowed, is_plain) = (methods.join(", "), self.operations.iter().any(|one| one.is_plain));
        let other = move || {
            let problem = Problem::MethodNotAllowed(allowed.clone());
            async move { if is_plain { Ok(problem.plain()) } else { Err(problem) } }
        };
        let resource = web::resource(self.path).default_service(web::to(other));
        self.operations.into_iter().fold(resource, |resource, operation| resource.route(operation.route))
    }
}

fn operation<F, Args>(method: Method, handler: F, id: &'static str, summary: &'static str) -> Operation
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Operation {
        route: web::method(method.clone()).to(handler),
        method,
        id,
        summary,
        description: "",
        access: Access::Open,
        parameters: Vec::new(),
        body: None,
        answers: Vec::new(),
        problems: Vec::new(),
        is_plain: false,
    }
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {
        $(
            /// An operation of this method: its handler, its name for programs, and what it does in a few words.
            pub(in crate::http) fn $name<F, Args>(handler: F, id: &'static str, summary: &'static str) -> Operation
            where
                F: Handler<Args>,
                Args: FromRequest + 'static,
                F::Output: Responder + 'static,
            {
                operation(Method::$method, handler, id, summary)
            }
        )*
    };
}

methods! { get GET post POST put PUT patch PATCH delete DELETE }

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    Schema::default()
}

const JSON: &str = "application/json";

impl Operation {
    /// More than the summary.
    pub(in crate::http) fn says(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// Who may call. What reads the store can fail to.
    pub(in crate::http) fn needs(self, scope: Scope) -> Self {
        let problems = [Problem::Unauthorized, Problem::Forbidden(scope), Problem::StoreSlow];
        Self { access: Access::Key(scope), ..self }
            .refuses(problems)
            .refuses([Problem::TooManyWrongKeys(Duration::ZERO)])
    }

    /// The same of what a link leads to.
    pub(in crate::http) fn needs_link(self) -> Self {
        let problems = [Problem::Unauthorized, Problem::Forbidden(Scope::Read), Problem::BadLink, Problem::StoreSlow];
        Self { access: Access::Link, ..self }.refuses(problems).refuses([Problem::TooManyWrongKeys(Duration::ZERO)])
    }

    /// Parameters in the query.
    pub(in crate::http) fn asks<const N: usize>(mut self, parameters: [Parameter; N]) -> Self {
        self.parameters.extend(parameters);
        self.refuses([Problem::BadQuery(String::new())])
    }

    /// Headers that may come with it.
    pub(in crate::http) fn heeds<const N: usize>(mut self, parameters: [Parameter; N]) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// It may be made again with its `Idempotency-Key`.
    pub(in crate::http) fn made_once(self) -> Self {
        self.heeds([idempotency_key()]).refuses([Problem::KeyReused])
    }

    /// A JSON body, and one that is right.
    pub(in crate::http) fn takes<T: JsonSchema>(self, example: Value) -> Self {
        let this = self.takes_raw(JSON, schema_of::<T>, example);
        this.refuses([Problem::BadBody(String::new()), Problem::BodiesOverBudget])
    }

    /// The same where there need not be any.
    pub(in crate::http) fn may_take<T: JsonSchema>(self, example: Value) -> Self {
        let this = self.takes::<T>(example);
        Self { body: this.body.map(|body| Body { is_required: false, ..body }), ..this }
    }

    /// A form.
    pub(in crate::http) fn takes_form<T: JsonSchema>(self, example: Value) -> Self {
        self.takes_raw("application/x-www-form-urlencoded", schema_of::<T>, example)
    }

    /// Whatever a provider sends.
    pub(in crate::http) fn takes_anything(self) -> Self {
        self.takes_raw("*/*", anything, Value::Null)
    }

    fn takes_raw(self, media_type: &'static str, schema: SchemaOf, example: Value) -> Self {
        let body = Some(Body { media_type, schema, example, is_required: true });
        Self { body, ..self }.refuses([Problem::BodyBroken, Problem::BodyTooSlow, Problem::BodyTooLarge(0)])
    }

    /// A JSON answer.
    pub(in crate::http) fn gives<T: JsonSchema>(self, status: u16, description: &'static str) -> Self {
        self.answers(status, description, Some((JSON, schema_of::<T>)))
    }

    /// An answer in plain text.
    pub(in crate::http) fn gives_text(self, description: &'static str) -> Self {
        self.answers(200, description, Some(("text/plain", schema_of::<String>)))
    }

    /// An answer of any media type.
    pub(in crate::http) fn gives_file(self, description: &'static str) -> Self {
        self.answers(200, description, Some(("*/*", anything)))
    }

    /// An answer of this media type, which goes on and on.
    pub(in crate::http) fn gives_stream(self, media_type: &'static str, description: &'static str) -> Self {
        self.answers(200, description, Some((media_type, anything)))
    }

    /// An answer without a body.
    pub(in crate::http) fn gives_nothing(self, status: u16, description: &'static str) -> Self {
        self.answers(status, description, None)
    }

    fn answers(mut self, status: u16, description: &'static str, content: Option<(&'static str, SchemaOf)>) -> Self {
        self.answers.push(Answer { status, description, content, headers: Vec::new() });
        self
    }

    /// A header of the answer that was named last.
    pub(in crate::http) fn with_header(mut self, name: &'static str, description: &'static str) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.push((name, description));
        }
        self
    }

    /// Problems that it may have, beside those that follow from what it needs and takes.
    pub(in crate::http) fn refuses<const N: usize>(mut self, problems: [Problem; N]) -> Self {
        self.problems.extend(problems.map(|problem| problem.facts()));
        self
    }

    /// Its problems are told in the short form.
    pub(in crate::http) fn plainly(self) -> Self {
        Self { is_plain: true, ..self }
    }
}
