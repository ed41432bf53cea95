//! One thing whole: a line for each of its fields.

use serde_json::Value;

use super::table::cell;
use super::text::{plain, plain_lines};

/// These come first, in this order; the rest by name.
const FIRST: [&str; 5] = ["id", "name", "type", "status", "state"];

/// Its fields as lines, each with the path that the field has in its JSON.
pub(super) fn details(value: &Value) -> String {
    let mut fields = Vec::new();
    flatten(value, String::new(), &mut fields);
    let width = fields.iter().map(|(path, _)| path.chars().count()).max().unwrap_or_default();
    let line = |(path, text): (String, String)| {
        // A longer text has lines of its own, under the first.
        let text = plain_lines(&text).replace('\n', &format!("\n{:width$}  ", ""));
        format!("{path:<width$}  {text}").trim_end().to_owned() + "\n"
    };
    fields.into_iter().map(line).collect()
}

fn flatten(value: &Value, path: String, fields: &mut Vec<(String, String)>) {
    let is_deep = |value: &Value| value.is_object() || value.is_array();
    match value {
        Value::Object(object) => {
            let rank = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
            let mut names: Vec<_> = object.iter().collect();
            names.sort_by_key(|(name, _)| rank(name));
            for (name, value) in names {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(value, format!("{path}{dot}{}", plain(name)), fields);
            }
        }
        Value::Array(all) if all.iter().any(is_deep) => {
            for (place, value) in all.iter().enumerate() {
                flatten(value, format!("{path}[{place}]"), fields);
            }
        }
        Value::Null => {}
        value => fields.push((path, cell(value))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_is_a_line_with_its_path() {
        let value = json!({"data": {"to": "a@b.example", "tags": ["x", "y"], "from": null}, "active": true, "id": "evt_1",
            "attempts": [{"status": 503}, {"status": 200}], "text": "a\nb\u{1b}c"});
        let expected = "id                  evt_1\n\
                        active              yes\n\
                        attempts[0].status  503\n\
                        attempts[1].status  200\n\
                        data.tags           x, y\n\
                        data.to             a@b.example\n\
                        text                a\n                    b\\u{1b}c\n";
        assert_eq!(details(&value), expected);
    }

    #[test]
    fn a_name_is_obeyed_as_little_as_a_value() {
        assert_eq!(details(&json!({"a\u{1b}": 1})), "a\\u{1b}  1\n");
    }
}
