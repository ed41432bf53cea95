//! The published JSON Schema against the types that it is made of, and against all that is recorded. `BLESS=1` writes it
//! anew.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use waypost_providers::event::schema;

use crate::cases::sources;
use crate::interop::ask;

fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("event.schema.json")
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let made = format!("{:#}\n", schema().to_value());
    if std::env::var_os("BLESS").is_some() {
        fs::write(published(), &made).unwrap();
    }
    let known = fs::read_to_string(published()).unwrap();
    assert!(known == made, "the types have changed; run once with BLESS=1, and read what that changes");
}

/// The events that the goldens hold, as they are delivered.
fn recorded() -> Vec<Value> {
    let mut events = Vec::new();
    for source in sources() {
        for case in &source.cases {
            let golden: Value = serde_json::from_str(&fs::read_to_string(case.golden()).unwrap()).unwrap();
            let parsed = golden.as_array().into_iter().flatten();
            events.extend(parsed.filter_map(|one| one.pointer("/event/event")).map(|event| {
                let mut event = event.clone();
                event["id"] = json!("evt_recorded");
                event
            }));
        }
    }
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/formats/drin.jsonl");
    let written = fs::read_to_string(written).unwrap();
    events.extend(written.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    events
}

/// The same schema where no field is allowed that it does not name.
fn closed(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut all: Map<_, _> = fields.iter().map(|(name, value)| (name.clone(), closed(value))).collect();
            if fields.get("properties").is_some_and(|known| known.get("type") != Some(&json!("object"))) {
                all.insert("additionalProperties".into(), json!(false));
            }
            Value::Object(all)
        }
        Value::Array(values) => values.iter().map(closed).collect(),
        value => value.clone(),
    }
}

#[test]
fn every_recorded_event_is_of_the_schema_and_of_no_other() {
    let schema: Value = serde_json::from_str(&fs::read_to_string(published()).unwrap()).unwrap();
    let events = recorded();
    assert!(events.len() > 100, "only {} events are recorded", events.len());
    let mut wrong = events[0].clone();
    wrong["type"] = json!("email.unknown");
    let mut unnamed = events[0].clone();
    unnamed["data"]["surprise"] = json!(1);
    let job = |schema: &Value, values: &[Value]| json!({ "op": "validate", "schema": schema, "values": values });
    let jobs = [job(&closed(&schema), &events), job(&schema, &[wrong]), job(&closed(&schema), &[unnamed])];
    let Some(answers) = ask(&jobs) else { return };
    for (event, errors) in events.iter().zip(answers[0].as_array().unwrap()) {
        assert_eq!(*errors, json!([]), "{event:#}");
    }
    for refused in &answers[1..] {
        assert_ne!(refused[0], json!([]));
    }
}
