//! The form webhooks from before 2018 (`anymail/django-anymail`, "webhooks/mailgun.py"): one flat list of fields, made
//! into the object that the JSON webhooks have.
//!
//! The sender's own variables stand among Mailgun's fields, under whatever names, and before those of the signature: of
//! these the last value counts, of all others the first.

use serde_json::{Map, Value, json};

use crate::fields;

/// What is no variable of the sender's own, in lower case.
const OWN: [&str; 20] = [
    "event",
    "recipient",
    "domain",
    "message-headers",
    "message-id",
    "code",
    "reason",
    "error",
    "notification",
    "description",
    "url",
    "ip",
    "country",
    "region",
    "city",
    "user-agent",
    "device-type",
    "tag",
    "mailing-list",
    "body-plain",
];
const OWN_FAMILIES: [&str; 4] = ["client-", "campaign-", "attachment-", "x-mailgun-"];
const PROOF: [&str; 4] = ["timestamp", "token", "signature", "parent-signature"];

/// `signature` and `event-data`; and every field as sent, so that a digest of it is one of them all.
pub(super) fn decoded(sent: &[(String, String)]) -> Value {
    let first = |name: &str| sent.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let proof = PROOF.iter().filter_map(|name| {
        let (_, value) = sent.iter().rfind(|(known, _)| known == name)?;
        Some(((*name).to_owned(), value.as_str().into()))
    });
    let proof: Map<String, Value> = proof.collect();
    json!({
        "event-data": {
            "event": first("event"),
            "timestamp": proof.get("timestamp"),
            "recipient": first("recipient"),
            "reason": first("reason"),
            "url": first("url"),
            "ip": first("ip"),
            "client-info": { "user-agent": first("user-agent") },
            "mailing-list": first("mailing-list").map(|address| json!({ "address": address })),
            "delivery-status": answer(first),
            "message": { "headers": headers(first) },
            "tags": tags(sent),
            "user-variables": variables(sent),
        },
        "signature": if proof.is_empty() { Value::Null } else { proof.into() },
        "fields": sent,
    })
}

/// `code` is an SMTP code, Mailgun's own, or an enhanced status.
fn answer<'a>(first: impl Fn(&str) -> Option<&'a String>) -> Value {
    let code = first("code");
    let status = code.filter(|code| code.contains('.'));
    json!({
        "code": code.filter(|_| status.is_none()),
        "enhanced-code": status,
        "message": first("error"),
        "description": first("description").or_else(|| first("notification")),
    })
}

/// `message-headers` is a list of pairs as JSON.
fn headers<'a>(first: impl Fn(&str) -> Option<&'a String>) -> Value {
    let pairs = first("message-headers").and_then(|text| fields::value(text)).unwrap_or_default();
    let header = |name: &str| {
        let pairs = pairs.as_array().map(Vec::as_slice).unwrap_or_default();
        let pair = pairs.iter().find(|pair| pair[0].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name)))?;
        fields::text(&pair[1])
    };
    let message_id = first("message-id").cloned().or_else(|| header("message-id"));
    json!({ "message-id": message_id, "from": header("from"), "subject": header("subject") })
}

fn tags(sent: &[(String, String)]) -> Vec<&str> {
    let is_tag = |name: &str| name == "tag" || name.eq_ignore_ascii_case("x-mailgun-tag");
    sent.iter().filter(|(name, _)| is_tag(name)).map(|(_, value)| value.as_str()).collect()
}

fn variables(sent: &[(String, String)]) -> Map<String, Value> {
    let mut variables = Map::new();
    for (name, value) in sent {
        let lower = name.to_ascii_lowercase();
        let is_own = OWN.contains(&&*lower) || PROOF.contains(&&*lower);
        if !is_own && !OWN_FAMILIES.iter().any(|family| lower.starts_with(family)) {
            variables.entry(name).or_insert_with(|| value.as_str().into());
        }
    }
    variables
}
