//! The JSON Schema of a delivered event, made from the types.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::{Data, Kind};

/// One event as it is delivered in the `drin` format. What is absent is not known; fields may be added.
#[derive(JsonSchema)]
#[schemars(title = "Waypost event")]
#[expect(dead_code, reason = "only its shape is used")]
struct Delivered {
    /// Derived from the source and the event's identity: the same for each copy that a provider sends.
    #[schemars(regex(pattern = "^evt_"))]
    id: String,
    /// What happened.
    #[schemars(rename = "type")]
    kind: Kind,
    /// When it happened, as the provider tells it: RFC 3339 in UTC, with milliseconds.
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    /// To what, and how.
    data: Data,
}

/// The JSON Schema (2020-12) of a delivered event, as published in `providers/event.schema.json`.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with_transform(RecursiveTransform(as_written));
    settings.into_generator().into_root_schema_for::<Delivered>()
}

/// What is not known is absent, so that nothing is `null`; and defaults and widths of numbers are only for reading here.
fn as_written(schema: &mut Schema) {
    schema.remove("default");
    schema
        .remove("format")
        .filter(|format| *format == "date-time")
        .map(|format| schema.insert("format".into(), format));
    if let Some(Value::Array(types)) = schema.get_mut("type")
        && let [one, null] = &types[..]
        && *null == "null"
    {
        let one = one.clone();
        schema.insert("type".into(), one);
    }
    if let Some(Value::Array(any)) = schema.get("anyOf")
        && let [one, null] = &any[..]
        && null["type"] == "null"
        && let Some(one) = one.as_object().cloned()
    {
        schema.remove("anyOf");
        one.into_iter().for_each(|(name, value)| drop(schema.insert(name, value)));
    }
}
