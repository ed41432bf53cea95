//! One field of a recorded body, changed.

use serde_json::{Value, json};

/// What happens to one field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Null,
    Missing,
    Number,
    Text,
    Flag,
    List,
    Object,
    /// The key is there twice, first with another value.
    Twice,
}

pub(crate) const CHANGES: [Change; 8] = [
    Change::Null,
    Change::Missing,
    Change::Number,
    Change::Text,
    Change::Flag,
    Change::List,
    Change::Object,
    Change::Twice,
];

/// Every place in a value but its root, as JSON pointers, the inner ones first.
pub(crate) fn places(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    add_places(value, "", &mut found);
    found
}

fn add_places(value: &Value, here: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => {
            let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
            fields.iter().map(|(name, value)| (format!("{here}/{}", escaped(name)), value)).collect()
        }
        Value::Array(values) => values.iter().enumerate().map(|(n, value)| (format!("{here}/{n}"), value)).collect(),
        _ => return,
    };
    for (place, value) in inner {
        add_places(value, &place, found);
        found.push(place);
    }
}

/// The text of `body` with one place changed.
pub(crate) fn changed(body: &Value, place: &str, change: Change) -> String {
    const MARK: &str = "the place";
    let mut body = body.clone();
    let value = body.pointer_mut(place).unwrap();
    let before = value.clone();
    *value = match change {
        Change::Null => Value::Null,
        Change::Number => json!(7.5),
        Change::Text => json!("text"),
        Change::Flag => json!(true),
        Change::List => json!([[null], "x", 3]),
        Change::Object => json!({ "x": { "y": null } }),
        Change::Missing | Change::Twice => json!(MARK),
    };
    let (parent, name) = place.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = body.pointer_mut(parent).unwrap();
    match (change, parent) {
        (Change::Missing, Value::Object(fields)) => drop(fields.remove(&name)),
        (Change::Missing, Value::Array(values)) => drop(values.remove(name.parse().unwrap())),
        // JSON values hold a key once, so twice is made in the text.
        (Change::Twice, Value::Object(_)) => {
            let once = format!("{}:{}", json!(name), json!(MARK));
            let twice = format!("{0}:{{}},{0}:{before}", json!(name));
            return body.to_string().replace(&once, &twice);
        }
        (Change::Twice, Value::Array(_)) => {
            return body.to_string().replace(&json!(MARK).to_string(), &format!("{before},{before}"));
        }
        _ => {}
    }
    body.to_string()
}
