//! The bodies that webhooks are made and changed with, as the document tells them. They are read field by field, for a
//! field that is left out stays as it is; so their schemas are made of that of the fields.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::secrets::Rotation;
use super::view::SHOWN_ONLY;
use crate::domain::secret::SigningSecret;

/// The body of a new webhook.
pub(in crate::http) struct NewWebhook;

impl JsonSchema for NewWebhook {
    fn schema_name() -> Cow<'static, str> {
        "NewWebhook".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        object("A webhook to be made.", new(generator), &["url"])
    }
}

/// The body of a change.
pub(in crate::http) struct ChangedWebhook;

impl JsonSchema for ChangedWebhook {
    fn schema_name() -> Cow<'static, str> {
        "ChangedWebhook".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        object("What is to change of a webhook; `null` is a field's default.", changed(generator), &[])
    }
}

/// The body of a rotation.
pub(in crate::http) struct NewSecret;

impl JsonSchema for NewSecret {
    fn schema_name() -> Cow<'static, str> {
        "NewSecret".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut fields = properties(Rotation::json_schema(generator));
        fields.insert("secret".into(), secret());
        object("A secret to sign with from now on.", fields, &[])
    }
}

/// The fields of a new webhook, by name.
pub(in crate::http) fn new(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut fields = fields(generator);
    fields.insert("secret".into(), secret());
    fields
}

fn secret() -> Value {
    json!({
        "description": "What to sign with: `whsec_` or `whsk_` and base64, or a text. Left out, one is generated.",
        "type": ["string", "null"],
        "minLength": SigningSecret::TEXT_LEN_MIN,
        "writeOnly": true,
    })
}

/// The fields of a change, by name. What is shown only may come back as it was shown.
pub(in crate::http) fn changed(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut fields = fields(generator);
    for (_, field) in fields.iter_mut() {
        *field = or_null(field);
    }
    let shown = SHOWN_ONLY
        .map(|name| (name.to_owned(), json!({ "description": "As it was shown, or not at all.", "readOnly": true })));
    fields.extend(shown);
    fields
}

/// An object of these fields and no others.
pub(in crate::http) fn object(description: &str, fields: Map<String, Value>, required: &[&str]) -> Schema {
    let schema = json!({
        "description": description, "type": "object", "properties": Value::Object(fields), "required": required,
        "additionalProperties": false,
    });
    Schema::try_from(schema).unwrap_or_default()
}

fn fields(generator: &mut SchemaGenerator) -> Map<String, Value> {
    properties(Fields::json_schema(generator))
}

fn properties(mut schema: Schema) -> Map<String, Value> {
    match schema.remove("properties") {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn or_null(field: &Value) -> Value {
    let mut field = field.clone();
    field.as_object_mut().map(|field| field.remove("default"));
    match &field["type"] {
        Value::String(one) => field["type"] = json!([one, "null"]),
        Value::Array(_) => {}
        _ if field["anyOf"].is_array() => {}
        _ => field = json!({ "anyOf": [field, { "type": "null" }] }),
    }
    field
}
