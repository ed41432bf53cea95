//! Resend's words to ours (`resend/resend-node`, "webhook-event.interface.ts"; `resend/resend-openapi`, "webhooks").

use serde_json::{Map, Value};

use super::verify::ID;
use crate::event::{Campaign, Data, Kind, Origin, Scope, Unsubscribe};
use crate::fields::{message_id, rfc3339, text, texts};
use crate::identity::{Read, told_or_received};
use crate::{Found, Parsed, Request, State, fields};

mod details;
mod snapshot;

/// Their word to ours.
fn kind(word: &str) -> Option<Kind> {
    match word {
        "email.sent" => Some(Kind::Sent),
        "email.delivered" => Some(Kind::Delivered),
        "email.delivery_delayed" => Some(Kind::DeliveryDelayed),
        "email.opened" => Some(Kind::Opened),
        "email.clicked" => Some(Kind::Clicked),
        "email.bounced" => Some(Kind::Bounced),
        "email.complained" => Some(Kind::Complained),
        // Nobody was asked to take a suppressed mail, so nothing bounced.
        "email.failed" | "email.suppressed" => Some(Kind::Failed),
        "email.received" => Some(Kind::Received),
        "domain.created" | "domain.updated" => Some(Kind::DomainVerified),
        "contact.created" | "contact.updated" | "contact.topics.updated" => Some(Kind::Unsubscribed),
        // `domain.deleted` and `contact.deleted` show the last state, which is no news; `email.scheduled` is not yet sent;
        // `suppression.added` repeats a bounce or complaint.
        _ => None,
    }
}

pub(super) fn parse(request: &Request) -> Parsed {
    let Some(body) = fields::json(&request.body) else { return Parsed::unreadable("the body is not JSON") };
    let Some(word) = text(&body["type"]) else { return Parsed::unreadable("`type` is not a text") };
    let Some(kind) = kind(&word) else { return Parsed::Unmapped { kind: word } };
    let given = &body["data"];
    if !given.is_object() {
        return Parsed::unreadable("`data` is not an object");
    }
    let event_id = request.headers.get(ID).map(str::to_owned);
    let origin = Origin {
        name: "resend".into(),
        source: request.source.to_string(),
        kind: word,
        event_id: event_id.clone(),
        test: false,
    };
    // The root's time is the event's. `data.created_at` is the mail's; `svix-timestamp` is the attempt's.
    let at = rfc3339(&body["created_at"]);
    let mut state = None;
    let data = match origin.kind.as_str() {
        "contact.topics.updated" => match topics(given) {
            Some(opted_out) => opted_out,
            None => return Parsed::Unmapped { kind: origin.kind },
        },
        "domain.created" | "domain.updated" | "contact.created" | "contact.updated" => {
            let Some((entity, holds, data)) = snapshot::read(kind, given) else {
                return Parsed::unreadable("it tells no state of a domain or contact");
            };
            let told = State { entity, holds, at: told_or_received(at, request) };
            // What is made in a state has not come to be in it.
            if !holds || origin.kind.ends_with(".created") {
                return Parsed::Snapshot { kind: origin.kind, state: told };
            }
            state = Some(told);
            data
        }
        _ => mail(kind, &origin.kind, given),
    };
    let data = Data { provider: origin, ..data };
    // Each attempt and each replay by hand has the same `svix-id`.
    match (Read { request, kind, at, data, own_identity: event_id, from: &body }).finish() {
        Parsed::Event(found) => Parsed::Event(Box::new(Found { state, ..*found })),
        other => other,
    }
}

/// What is common to all events of a mail, and the detail of this one.
fn mail(kind: Kind, word: &str, given: &Value) -> Data {
    let metadata = tags(&given["tags"]);
    let campaign =
        text(&given["broadcast_id"]).or_else(|| metadata.get("campaign_id").and_then(fields::text_or_number));
    let mut data = Data {
        id: text(&given["email_id"]),
        message_id: text(&given["message_id"]).as_deref().and_then(message_id),
        from: text(&given["from"]),
        subject: text(&given["subject"]),
        metadata,
        campaign: campaign.map(|id| Campaign { id, name: None }),
        ..Data::for_recipients(recipients(kind, given))
    };
    details::add(&mut data, kind, word, given);
    data
}

/// Since late 2024 an event concerns one recipient and `to` lists that one (Resend, "Webhook event visibility");
/// `email.sent` and older events list all. A received mail concerns those it was received for, whom `to` may not name.
fn recipients(kind: Kind, given: &Value) -> Vec<String> {
    let received_for = if kind == Kind::Received { texts(&given["received_for"]) } else { Vec::new() };
    if received_for.is_empty() { texts(&given["to"]) } else { received_for }
}

/// `{name: value}` in the SDKs, `[{name, value}]` in Resend's own ingester.
fn tags(given: &Value) -> Map<String, Value> {
    let Value::Array(pairs) = given else { return fields::object(given) };
    let pair = |pair: &Value| Some((text(&pair["name"])?, pair.get("value")?.clone()));
    pairs.iter().filter_map(pair).collect()
}

/// The topics that a contact has left; none if it has only joined some. (`topics` lists only what has changed.)
fn topics(given: &Value) -> Option<Data> {
    let topics = given["topics"].as_array()?;
    let mut opted_out = topics.iter().filter(|topic| topic["subscription"] == "opt_out").peekable();
    opted_out.peek()?;
    let ids = opted_out.filter_map(|topic| text(&topic["id"])).collect();
    let unsubscribe = Unsubscribe { scope: Some(Scope::Topic), ids, ..Unsubscribe::default() };
    Some(Data { unsubscribe: Some(unsubscribe), ..Data::for_recipients(texts(&given["email"])) })
}
