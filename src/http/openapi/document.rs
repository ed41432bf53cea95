//! The document, put together.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::as_written::as_written;
use super::operation::{Access, Answer, Operation, Path};
use crate::http::details::Details;
use crate::http::problem::Facts;

/// Where schemas are that have a name.
const SCHEMAS: &str = "/components/schemas";
/// Where answers are that have a name.
const RESPONSES: &str = "#/components/responses/";

/// The schemas of what is sent and of what is answered.
struct Schemas {
    sent: SchemaGenerator,
    answered: SchemaGenerator,
    /// Answers to calls that were not done, by status and problems: many operations have the same.
    refusals: Map<String, Value>,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = SCHEMAS.into());
        let answered = settings.clone().for_serialize().with_transform(as_written);
        Self { sent: settings.into_generator(), answered: answered.into_generator(), refusals: Map::new() }
    }
}

/// What is told of some paths: of each, and what has a name.
pub(super) struct Told {
    paths: Map<String, Value>,
    /// Schemas of what is sent.
    pub(super) sent: Map<String, Value>,
    /// Schemas of what is answered.
    pub(super) answered: Map<String, Value>,
    refusals: Map<String, Value>,
}

impl Told {
    /// Of these paths.
    pub(super) fn of(paths: &[Path]) -> Self {
        let mut schemas = Schemas::new();
        let paths = paths.iter().map(|path| (path.path.to_owned(), of_path(path, &mut schemas))).collect();
        let Schemas { mut sent, mut answered, refusals } = schemas;
        Self { paths, sent: sent.take_definitions(true), answered: answered.take_definitions(true), refusals }
    }

    /// The OpenAPI document.
    pub(super) fn document(self) -> Value {
        let tags: Vec<_> = TAGS.iter().map(|(name, what, _)| json!({ "name": name, "description": what })).collect();
        let schemas: Map<_, _> = self.sent.into_iter().chain(self.answered).collect();
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Waypost",
                "version": env!("CARGO_PKG_VERSION"),
                "summary": "One gateway for the webhooks of email providers.",
                "description": ABOUT,
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "tags": tags,
            "paths": self.paths,
            "components": {
                "securitySchemes": {
                    "bearer": { "type": "http", "scheme": "bearer", "description": "An API key." },
                    "api_key": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key." },
                    "link": { "type": "apiKey", "in": "query", "name": "signature", "description": LINK },
                },
                "schemas": schemas,
                "responses": self.refusals,
            },
        })
    }
}

const ABOUT: &str = "Errors are problem details (RFC 9457) with a stable `type`. Lists take `limit` and an opaque `cursor`, \
    and say whether there is more. Fields may be added to answers.";
const LINK: &str = "The signature of a link that an event has. `expires` comes with it.";

/// What belongs together: a name, what it is, and how the paths begin; the first that fits counts.
const TAGS: [(&str, &str, &[&str]); 12] = [
    ("webhooks", "Endpoints: who is told of what, and how.", &["/v1/webhooks"]),
    ("events", "What happened.", &["/v1/events", "/v1/messages"]),
    ("feed", "What happened, in order, for services of your own.", &["/v1/feed"]),
    ("deliveries", "What became of each event at each endpoint.", &["/v1/deliveries"]),
    ("requests", "What was received, as it was received.", &["/v1/requests"]),
    ("replays", "Bulk work in the background.", &["/v1/replays"]),
    ("suppressions", "Addresses to write to no more, and persons to erase.", &["/v1/suppressions", "/v1/recipients"]),
    ("sources", "What comes in, and where.", &["/v1/sources", "/v1/stats"]),
    (
        "compatibility",
        "The endpoint APIs of other senders: thin views of `/v1/webhooks`.",
        &["/api/webhooks/manage", "/api/emails"],
    ),
    ("providers", "Where providers call.", &["/in/", "/api/webhooks"]),
    (
        "operations",
        "For who runs it.",
        &["/v1/store", "/v1/audit", "/v1/keys", "/healthz", "/readyz", "/metrics", "/openapi.json"],
    ),
    ("other", "The rest.", &["/"]),
];

fn of_path(path: &Path, schemas: &mut Schemas) -> Value {
    let mut told = Map::new();
    if !path.parameters.is_empty() {
        let parameters: Vec<_> = path.parameters.iter().map(|one| one.told(&mut schemas.sent)).collect();
        told.insert("parameters".into(), parameters.into());
    }
    for operation in &path.operations {
        let tag = TAGS.iter().find(|(_, _, begin)| begin.iter().any(|begin| path.path.starts_with(begin)));
        let method = operation.method.as_str().to_ascii_lowercase();
        let mut one = of_operation(operation, schemas);
        one["tags"] = tag.map(|(name, ..)| *name).into_iter().collect();
        told.insert(method, one);
    }
    told.into()
}

fn of_operation(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut told = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "security": security(operation.access),
    });
    let description = match operation.access {
        Access::Open => operation.description.to_owned(),
        Access::Key(scope) => {
            format!("{}\n\nNeeds an API key of scope `{}`.", operation.description, scope.as_str())
        }
        Access::Link => {
            format!("{}\n\nNeeds a link's signature, or an API key of scope `read`.", operation.description)
        }
    };
    if !description.is_empty() {
        told["description"] = description.trim_start().into();
    }
    if !operation.parameters.is_empty() {
        told["parameters"] = operation.parameters.iter().map(|one| one.told(&mut schemas.sent)).collect();
    }
    if let Some(body) = &operation.body {
        let mut content = json!({ "schema": (body.schema)(&mut schemas.sent) });
        if !body.example.is_null() {
            content["example"] = body.example.clone();
        }
        told["requestBody"] = json!({ "required": body.is_required, "content": { body.media_type: content } });
    }
    let mut responses = Map::new();
    for answer in &operation.answers {
        responses.insert(answer.status.to_string(), of_answer(answer, schemas));
    }
    for (status, refusal) in problems(operation, schemas) {
        responses.entry(status).or_insert(refusal);
    }
    told["responses"] = responses.into();
    told
}

/// The scopes stand where OpenAPI 3.1 has "a list of role names".
fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Key(scope) => json!([{ "bearer": [scope.as_str()] }, { "api_key": [scope.as_str()] }]),
        Access::Link => json!([{ "link": [] }, { "bearer": ["read"] }, { "api_key": ["read"] }]),
    }
}

fn of_answer(answer: &Answer, schemas: &mut Schemas) -> Value {
    let mut told = json!({ "description": answer.description });
    if let Some((media_type, schema)) = answer.content {
        told["content"] = json!({ media_type: { "schema": schema(&mut schemas.answered) } });
    }
    for (name, description) in &answer.headers {
        told["headers"][*name] = header(description);
    }
    told
}

fn header(description: &str) -> Value {
    json!({ "description": description, "required": true, "schema": { "type": "string" } })
}

/// The problems of an operation, by status.
fn problems(operation: &Operation, schemas: &mut Schemas) -> Map<String, Value> {
    let mut by_status = BTreeMap::<u16, BTreeMap<&str, &str>>::new();
    for Facts { status, id, title } in &operation.problems {
        by_status.entry(status.as_u16()).or_default().insert(id, title);
    }
    let mut told = Map::new();
    for (status, types) in by_status {
        let form = if operation.is_plain { "plain." } else { "" };
        let name = types.keys().fold(format!("{form}{status}"), |name, id| format!("{name}.{id}"));
        told.insert(status.to_string(), json!({ "$ref": format!("{RESPONSES}{name}") }));
        let refusal = refusal(status, &types, operation.is_plain, schemas);
        schemas.refusals.insert(name, refusal);
    }
    told
}

/// The answer of one status, and which types of problem have it.
fn refusal(status: u16, types: &BTreeMap<&str, &str>, is_plain: bool, schemas: &mut Schemas) -> Value {
    let description: Vec<_> = types.iter().map(|(id, title)| format!("`{id}`: {title}.")).collect();
    let content = if is_plain {
        let schema =
            json!({ "type": "object", "properties": { "error": { "type": "string" } }, "required": ["error"] });
        json!({ "application/json": { "schema": schema } })
    } else {
        let kinds: Vec<_> = types.keys().map(|id| Details::kind(id)).collect();
        let this = json!({ "properties": { "type": { "enum": kinds }, "status": { "const": status } } });
        let problem = schemas.answered.subschema_for::<Details<'_>>();
        json!({ "application/problem+json": { "schema": { "allOf": [problem, this] } } })
    };
    let mut told = json!({ "description": description.join(" "), "content": content });
    match status {
        401 if !is_plain => told["headers"]["WWW-Authenticate"] = header("How to prove who calls."),
        503 => told["headers"]["Retry-After"] = header("After how many seconds to try again."),
        _ => {}
    }
    told
}
