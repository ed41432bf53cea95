//! Mailgun's words to ours (Mailgun, "Events" and "Webhook payloads"; `mailgun/mailgun-go`, "events").

use jiff::Timestamp;
use serde_json::Value;

use super::verify::decoded;
use crate::event::{Campaign, Data, Kind, Origin};
use crate::fields::{addresses, count, epoch, message_id, object, text, text_or_number, texts};
use crate::identity::Read;
use crate::{Parsed, Verified};

mod details;

/// Their word, in lower case, and what it depends on, to ours.
fn kind(word: &str, given: &Value) -> Option<Kind> {
    match word {
        // Mail that a route forwards came in; it was not sent by the account, and is no bounce of its mail.
        "accepted" | "delivered" | "failed" | "rejected" if is_routed(given) => None,
        "accepted" => Some(Kind::Sent),
        "delivered" => Some(Kind::Delivered),
        "failed" => match text(&given["severity"])?.to_ascii_lowercase().as_str() {
            "temporary" => Some(Kind::DeliveryDelayed),
            // Nobody was asked to take it, so nothing bounced.
            "permanent" if is_suppressed(given) => Some(Kind::Failed),
            "permanent" => Some(Kind::Bounced),
            _ => None,
        },
        "rejected" => Some(Kind::Failed),
        // The forms' words. Also what a server refused for good was `dropped`, if it had tried before.
        "dropped" if is_suppressed(given) => Some(Kind::Failed),
        "dropped" | "bounced" => Some(Kind::Bounced),
        "opened" => Some(Kind::Opened),
        "clicked" => Some(Kind::Clicked),
        "complained" => Some(Kind::Complained),
        "unsubscribed" => Some(Kind::Unsubscribed),
        // `stored` is the mail that the route posts, too: as both it would count twice.
        _ => None,
    }
}

fn is_routed(given: &Value) -> bool {
    let routes = match &given["routes"] {
        Value::Null => false,
        Value::Array(routes) => !routes.is_empty(),
        _ => true,
    };
    given["flags"]["is-routed"] == true || routes
}

fn is_suppressed(given: &Value) -> bool {
    let reason = given["reason"].as_str().unwrap_or_default().to_ascii_lowercase();
    reason.starts_with("suppress-") || matches!(count(&given["delivery-status"]["code"]), Some(605..=607))
}

pub(super) fn parse(verified: &Verified) -> Parsed {
    let request = verified.request();
    let decoded_now;
    let body = match verified.decoded() {
        Some(body) => body,
        None => {
            let Some(body) = decoded(request) else { return Parsed::unreadable("the body cannot be read") };
            decoded_now = body;
            &decoded_now
        }
    };
    let given = &body["event-data"];
    if !given.is_object() {
        return Parsed::unreadable("`event-data` is not an object");
    }
    let Some(sent_word) = text(&given["event"]) else { return Parsed::unreadable("`event` is not a text") };
    let word = sent_word.to_ascii_lowercase();
    let Some(kind) = kind(&word, given) else { return Parsed::Unmapped { kind: sent_word } };

    let event_id = text_or_number(&given["id"]);
    let at = epoch(&given["timestamp"]);
    // Unique within a day only, so with the second. The token would be another one on each URL that is told.
    let own_identity = event_id.as_deref().zip(at).map(|(id, at)| second_of(id, at));
    let provider = Origin {
        name: "mailgun".into(),
        source: request.source.to_string(),
        kind: sent_word,
        event_id,
        test: given["flags"]["is-test-mode"] == true,
    };
    let headers = &given["message"]["headers"];
    // The send API returned it with brackets; the events have none.
    let message_id = text(&headers["message-id"]).as_deref().and_then(message_id);
    let metadata = object(&given["user-variables"]);
    let campaign = metadata.get("campaign_id").and_then(text_or_number);
    let mut data = Data {
        id: message_id.clone(),
        message_id,
        from: text(&headers["from"]).or_else(|| text(&given["envelope"]["sender"])),
        subject: text(&headers["subject"]),
        tags: texts(&given["tags"]),
        campaign: campaign.map(|id| Campaign { id, name: None }),
        metadata,
        provider,
        ..Data::for_recipients(recipients(&word, given))
    };
    details::add(&mut data, kind, &word, given);
    Read { request, kind, at, data, own_identity, from: given }.finish()
}

fn second_of(id: &str, at: Timestamp) -> String {
    format!("{id}:{}", at.as_second())
}

/// `recipient`. A rejected mail got no recipient of its own, and has but its `To`.
fn recipients(word: &str, given: &Value) -> Vec<String> {
    let recipients = texts(&given["recipient"]);
    if !recipients.is_empty() || word != "rejected" {
        return recipients;
    }
    texts(&given["message"]["headers"]["to"]).iter().flat_map(|header| addresses(header)).collect()
}
