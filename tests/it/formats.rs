//! Every event in every format, beside goldens: line N of each file in `fixtures/formats` is one event, and likewise in its
//! folder of operational events. Each `drin.jsonl` is written by hand; `BLESS=1` writes the others anew.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use waypost::domain::delivery::Class;
use waypost::domain::endpoint::{Endpoint, EndpointSettings};
use waypost::domain::event_type::{EventType, Operational};
use waypost::domain::format::Format;
use waypost::domain::plan::StoredEvent;
use waypost::domain::subscription::Subscription;
use waypost::outbound::format::render;
use waypost_providers::Kind;

use crate::support::{endpoint, planned, unit};
use crate::tidy::root;

/// Where the goldens of operational events are.
pub(crate) const OPERATIONAL: &str = "fixtures/formats/operational";
/// The formats of the seed documents.
pub(crate) const SEEDS: [Format; 4] = [Format::Platform, Format::Selfhosted, Format::Sentinmail, Format::Relaypost];

#[derive(Deserialize)]
struct Drin {
    id: String,
    r#type: EventType,
    created_at: String,
    data: Box<RawValue>,
}

fn event(drin: &str) -> StoredEvent {
    let drin: Drin = serde_json::from_str(drin).unwrap();
    let data: Value = serde_json::from_str(drin.data.get()).unwrap();
    let source = match drin.r#type {
        EventType::Provider(_) => data["provider"]["source"].as_str().or(Some("resend")),
        EventType::Operational(_) => data["source"].as_str(),
    };
    let source = source.map(str::to_owned);
    let stored = unit("resend", &drin.id, "mail", Class::Normal, &[]).event;
    let (id, created_at) = (drin.id.as_str().into(), drin.created_at);
    // No body tells of it: the goldens have none.
    let possible_duplicate_of = Some("evt_first".into());
    StoredEvent {
        id,
        kind: drin.r#type,
        created_at,
        data: drin.data,
        source,
        possible_duplicate_of,
        ..(*stored).clone()
    }
}

/// The lines of a format's goldens.
pub(crate) fn goldens(format: Format) -> Vec<String> {
    goldens_in("fixtures/formats", format)
}

pub(crate) fn goldens_in(folder: &str, format: Format) -> Vec<String> {
    let path = root().join(format!("{folder}/{}.jsonl", format.as_str()));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

fn subscribed(format: Format, words: &[&str]) -> EndpointSettings {
    let events = Subscription::new(words.iter().map(|word| (*word).to_owned()).collect()).unwrap();
    EndpointSettings { format, events, ..endpoint("wh_1").settings }
}

fn rendered(settings: &EndpointSettings, event: &StoredEvent) -> String {
    String::from_utf8(render(settings, event).unwrap().to_vec()).unwrap()
}

#[test]
fn every_event_in_every_format_is_its_golden() {
    are_goldens("fixtures/formats", Kind::ALL.len());
    are_goldens(OPERATIONAL, Operational::ALL.len());
}

fn are_goldens(folder: &str, kinds: usize) {
    let events: Vec<_> = goldens_in(folder, Format::Drin).iter().map(|line| event(line)).collect();
    let found: BTreeSet<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(found.len(), kinds, "an event is missing");
    for format in Format::ALL {
        let made: Vec<_> = events.iter().map(|event| rendered(&subscribed(format, &[]), event)).collect();
        if std::env::var_os("BLESS").is_some() && format != Format::Drin {
            let path = root().join(format!("{folder}/{}.jsonl", format.as_str()));
            std::fs::write(path, made.join("\n") + "\n").unwrap();
        }
        assert_eq!(made, goldens_in(folder, format), "{}", format.as_str());
    }
}

/// The bounce that the formats are specified by.
#[test]
fn the_specified_bounce_is_among_them() {
    let expected = [
        r#"{"type":"email.bounce","email_id":"2a6f0f2b-6a44-4b2a-8a2b-1d5a0d8a5e21","recipient":"gone@customer.example","timestamp":"2026-03-14T09:27:01Z","id":"evt_5h2m…","bounce_type":"hard","bounce_code":"550","bounce_message":"smtp; 550 5.1.1 no such user here"}"#,
        r#"{"id":"evt_5h2m…","type":"bounced","created_at":"2026-03-14T09:27:01Z","data":{"email_id":"2a6f0f2b-6a44-4b2a-8a2b-1d5a0d8a5e21","from":"billing@send.lanyard.example","to":"gone@customer.example","subject":"Invoice 4473","bounce_type":"hard","bounce_code":"550","bounce_message":"smtp; 550 5.1.1 no such user here"}}"#,
        r#"{"id":"evt_5h2m…","type":"bounced","recipient":"gone@customer.example","sent_email_id":"2a6f0f2b-6a44-4b2a-8a2b-1d5a0d8a5e21","campaign_id":null,"metadata":{"bounce_type":"hard","bounce_code":"550","bounce_message":"smtp; 550 5.1.1 no such user here"},"timestamp":"2026-03-14T09:27:01Z"}"#,
        r#"{"event":"bounced","email_id":"2a6f0f2b-6a44-4b2a-8a2b-1d5a0d8a5e21","message_id":"<0100019c-8e02@send.lanyard.example>","recipient":"gone@customer.example","timestamp":"2026-03-14T09:27:01.044Z","metadata":{"mx_host":null,"smtp_code":550,"smtp_message":"smtp; 550 5.1.1 no such user here","bounce_type":"hard"},"id":"evt_5h2m…"}"#,
    ];
    for (format, expected) in SEEDS.into_iter().zip(expected) {
        assert!(goldens(format).iter().any(|golden| golden == expected), "{}", format.as_str());
    }
}

/// Every key of the documents' examples is in every body, or what the document says of that key fits no other event.
#[test]
fn the_keys_that_the_seeds_document_are_always_there() {
    let seeds = [
        (Format::Platform, json!({"type": "", "email_id": "", "recipient": "", "timestamp": ""})),
        (
            Format::Selfhosted,
            json!({"id": "", "type": "", "created_at": "", "data": {"email_id": "", "from": "", "to": ""}}),
        ),
        (
            Format::Sentinmail,
            json!({"id": "", "type": "", "recipient": "", "sent_email_id": "", "campaign_id": "", "metadata": {},
                "timestamp": ""}),
        ),
        (
            Format::Relaypost,
            json!({"event": "", "email_id": "", "message_id": "", "recipient": "", "timestamp": "",
                "metadata": {"mx_host": "", "smtp_code": 0, "smtp_message": ""}}),
        ),
    ];
    for (format, documented) in seeds {
        for golden in goldens(format) {
            let body: Value = serde_json::from_str(&golden).unwrap();
            holds(&body, &documented, &golden);
            only_plain_values(&body, &golden);
        }
    }
    // The document 000 shows a delivery whose mail is known.
    let drin = goldens(Format::Drin).into_iter().find(|golden| golden.contains("evt_delivered\"")).unwrap();
    let documented = json!({"type": "", "created_at": "", "data": {"id": "", "to": "", "from": "", "subject": ""}});
    holds(&serde_json::from_str(&drin).unwrap(), &documented, &drin);
    for golden in goldens(Format::Selfhosted) {
        let body: Value = serde_json::from_str(&golden).unwrap();
        let has = |key: &str| body["data"].get(key).is_some();
        let (is_bounce, is_delivery) = (body["type"] == "bounced", body["type"] == "delivered");
        assert!(is_bounce || has("subject"), "{golden}");
        assert_eq!(has("delivered_at"), is_delivery, "{golden}");
        for key in ["bounce_type", "bounce_code", "bounce_message"] {
            assert_eq!(has(key), is_bounce, "{golden}");
        }
    }
}

fn holds(body: &Value, documented: &Value, golden: &str) {
    for (key, like) in documented.as_object().unwrap() {
        let value = body.get(key).unwrap_or_else(|| panic!("no {key} in {golden}"));
        match like {
            Value::Object(_) => holds(value, like, golden),
            Value::Number(_) => assert!(value.is_null() || value.is_u64(), "{key} in {golden}"),
            _ => assert!(value.is_null() || value.is_string(), "{key} in {golden}"),
        }
    }
}

fn only_plain_values(value: &Value, golden: &str) {
    match value {
        Value::Object(map) => map.values().for_each(|value| only_plain_values(value, golden)),
        Value::Array(list) => assert!(list.iter().all(Value::is_string), "{golden}"),
        Value::Number(number) => assert!(number.as_u64().is_some_and(|number| number < 1 << 53), "{golden}"),
        Value::Bool(_) => panic!("a truth value in {golden}"),
        Value::String(_) | Value::Null => {}
    }
}

/// The seed document 002 shows a whole delivery, and the one of 004 lacks only the event's id.
#[test]
fn the_deliveries_that_the_seeds_show_are_made_from_such_events() {
    let drin = r#"{"id":"evt_xyz789","type":"email.delivered","created_at":"2024-01-15T10:30:05.123Z","data":{"id":"msg_abc123","to":"Recipient <recipient@example.com>","from":"sender@yourdomain.com","subject":"Hello","tags":[],"metadata":{},"delivery":{},"provider":{}}}"#;
    let shown = r#"{"id":"evt_xyz789","type":"delivered","created_at":"2024-01-15T10:30:05Z","data":{"email_id":"msg_abc123","from":"sender@yourdomain.com","to":"recipient@example.com","subject":"Hello","delivered_at":"2024-01-15T10:30:05Z"}}"#;
    assert_eq!(rendered(&subscribed(Format::Selfhosted, &[]), &event(drin)), shown);
    let drin = r#"{"id":"evt_1","type":"email.delivered","created_at":"2026-02-13T12:00:00.000Z","data":{"id":"abc123","message_id":"<uuid@yourapp.com>","to":"user@example.com","tags":[],"metadata":{},"delivery":{"mx_host":"mx.example.com","code":"250","message":"OK"},"provider":{}}}"#;
    let shown = r#"{"event":"delivered","email_id":"abc123","message_id":"<uuid@yourapp.com>","recipient":"user@example.com","timestamp":"2026-02-13T12:00:00.000Z","metadata":{"mx_host":"mx.example.com","smtp_code":250,"smtp_message":"OK"},"id":"evt_1"}"#;
    assert_eq!(rendered(&subscribed(Format::Relaypost, &[]), &event(drin)), shown);
    let drin = r#"{"id":"evt-uuid-here","type":"email.opened","created_at":"2026-04-02T14:30:00.900Z","data":{"id":"sent-uuid-here","to":"user@example.com","tags":[],"metadata":{},"campaign":{"id":"camp-uuid-here"},"open":{"ip":"203.0.113.42","user_agent":"Mozilla/5.0..."},"provider":{}}}"#;
    let shown = r#"{"id":"evt-uuid-here","type":"opened","recipient":"user@example.com","sent_email_id":"sent-uuid-here","campaign_id":"camp-uuid-here","metadata":{"user_agent":"Mozilla/5.0...","ip":"203.0.113.42"},"timestamp":"2026-04-02T14:30:00Z"}"#;
    assert_eq!(rendered(&subscribed(Format::Sentinmail, &[]), &event(drin)), shown);
}

#[test]
fn sent_is_called_queued_by_those_who_ask_for_it_so() {
    let sent = event(&goldens(Format::Drin)[0]);
    let named = |format, words: &[&str]| {
        let body: Value = serde_json::from_str(&rendered(&subscribed(format, words), &sent)).unwrap();
        body.get("event").unwrap_or(&body["type"]).as_str().unwrap().to_owned()
    };
    for (format, usual) in [(Format::Selfhosted, "sending"), (Format::Relaypost, "processing")] {
        assert_eq!(named(format, &["delivered", "Queued"]), "queued");
        assert_eq!(named(format, &["queued", usual]), usual);
        assert_eq!(named(format, &[]), usual);
    }
    assert_eq!(named(Format::Sentinmail, &["queued"]), "sent");
    assert_eq!(named(Format::Drin, &["queued"]), "email.sent");
}

/// Each event goes to one of three endpoints that ask in the words of `relaypost`, and only there.
#[test]
fn relaypost_endpoints_get_what_their_words_mean_there() {
    let endpoints = ["bounced", "failed", "rejected"].map(|word| {
        let settings = subscribed(Format::Relaypost, &[word]);
        Endpoint { settings, ..endpoint(word) }
    });
    for (case, expected) in [("failed-permanent", "bounced"), ("failed-old", "failed"), ("rejected", "rejected")] {
        let ingest = planned(case, &endpoints);
        let to: Vec<_> = ingest.units[0].deliveries.iter().map(|delivery| delivery.endpoint.as_str()).collect();
        assert_eq!(to, [expected], "{case}");
        let body: Value =
            serde_json::from_str(&rendered(&subscribed(Format::Relaypost, &[]), &ingest.units[0].event)).unwrap();
        assert_eq!(body["event"], expected, "{case}");
    }
}

/// Texts that come from outside may be of any length; a body stays within what receivers take.
#[test]
fn a_long_text_is_cut_in_the_formats_of_the_seeds() {
    let long = "é".repeat(60_000);
    let data = json!({"id": "1", "to": "nora@customer.example", "from": long, "subject": long, "tags": [], "metadata": {},
        "click": {"url": long, "ip": "203.0.113.1", "user_agent": long}, "provider": {}});
    let drin = json!({"id": "evt_1", "type": "email.clicked", "created_at": "2026-03-14T10:02:41.417Z", "data": data});
    for format in SEEDS {
        let body = rendered(&subscribed(format, &[]), &event(&drin.to_string()));
        assert!(body.len() < 20_000 && body.contains("é…\""), "{}", body.len());
    }
}
