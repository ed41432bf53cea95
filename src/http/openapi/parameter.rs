//! Parameters: of a path, of a query, and headers.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::operation::SchemaOf;
use super::words::{of_events, pattern};
use crate::http::lists::{LIMIT_DEFAULT, LIMIT_MAX};

/// One parameter.
#[derive(Clone, Debug)]
pub(in crate::http) struct Parameter {
    pub(super) name: &'static str,
    /// `path`, `query` or `header`.
    pub(super) place: &'static str,
    description: &'static str,
    is_required: bool,
    schema: Of,
}

#[derive(Clone, Debug)]
enum Of {
    Type(SchemaOf),
    Value(Value),
}

impl Parameter {
    /// A name in braces of a path.
    pub(in crate::http) fn path<T: JsonSchema>(name: &'static str, description: &'static str) -> Self {
        let schema = Of::Type(|generator| generator.subschema_for::<T>());
        Self { name, place: "path", description, is_required: true, schema }
    }

    /// The same with a schema of its own.
    pub(in crate::http) fn path_like(name: &'static str, description: &'static str, schema: Value) -> Self {
        Self { name, place: "path", description, is_required: true, schema: Of::Value(schema) }
    }

    /// One of a query, which may be left out.
    pub(in crate::http) fn query<T: JsonSchema>(name: &'static str, description: &'static str) -> Self {
        let schema = Of::Type(|generator| generator.subschema_for::<T>());
        Self { name, place: "query", description, is_required: false, schema }
    }

    /// The same with a schema of its own.
    pub(in crate::http) fn query_like(name: &'static str, description: &'static str, schema: Value) -> Self {
        Self { name, place: "query", description, is_required: false, schema: Of::Value(schema) }
    }

    /// The same where it cannot be left out.
    pub(in crate::http) fn needed(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// A header.
    pub(in crate::http) fn header(name: &'static str, description: &'static str) -> Self {
        Self { name, place: "header", description, is_required: false, schema: Of::Value(json!({ "type": "string" })) }
    }

    /// As the document has it.
    pub(super) fn told(&self, generator: &mut SchemaGenerator) -> Value {
        let schema = match &self.schema {
            Of::Type(schema) => schema(generator),
            Of::Value(value) => Schema::try_from(value.clone()).unwrap_or_default(),
        };
        json!({
            "name": self.name, "in": self.place, "description": self.description, "required": self.is_required,
            "schema": schema,
        })
    }
}

/// What every list takes.
pub(in crate::http) fn page() -> [Parameter; 2] {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT });
    [
        Parameter::query_like("limit", "How many at most.", limit),
        Parameter::query_like("cursor", CURSOR, json!({ "type": "string", "format": "cursor" })),
    ]
}

const CURSOR: &str = "Where to go on: `cursor` of the part before, as it is. Left out, from the beginning.";

/// Types of events, in one text.
pub(in crate::http) fn types() -> Parameter {
    types_of("type")
}

/// The same under another name.
pub(in crate::http) fn types_of(name: &'static str) -> Parameter {
    let schema = json!({ "type": "string", "pattern": pattern(&of_events()) });
    Parameter::query_like(
        name,
        "Only events of these types, separated by commas; any word that `events` of a webhook takes. Case does not matter.",
        schema,
    )
}

/// One source.
pub(in crate::http) fn source() -> Parameter {
    Parameter::query_like("source", "Only what came in by this source of the config.", json!({ "type": "string" }))
}

/// For a call that makes something.
pub(super) fn idempotency_key() -> Parameter {
    let what = "The same request with the same key makes nothing twice. A key is for one request, and good for 24 h.";
    Parameter::header("Idempotency-Key", what)
}

/// For a call that changes something.
pub(in crate::http) fn if_match() -> Parameter {
    Parameter::header("If-Match", "The `ETag` of what is to be changed, as it was seen: `412` if it has changed since.")
}
