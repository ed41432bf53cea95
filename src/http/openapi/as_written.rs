//! Schemas of answers, as they are written: what is not there is absent, never `null`.

use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde_json::Value;

/// Takes `null` from fields that may be absent, and what says only how a value is read.
pub(super) fn as_written(schema: &mut Schema) {
    transform_subschemas(&mut as_written, schema);
    schema.remove("default");
    let required: Vec<String> = texts(schema.get("required"));
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (_, property) in properties.iter_mut().filter(|(name, _)| !required.contains(name)) {
            never_null(property);
        }
    }
}

fn texts(values: Option<&Value>) -> Vec<String> {
    values.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn never_null(property: &mut Value) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = &types[..] {
            property["type"] = one.clone();
        }
    }
    if let Some(Value::Array(any)) = property.get_mut("anyOf") {
        any.retain(|one| one["type"] != "null");
        if let [one] = &any[..]
            && let Some(one) = one.as_object().cloned()
            && let Some(property) = property.as_object_mut()
        {
            property.remove("anyOf");
            property.extend(one);
        }
    }
}
