//! SendGrid's words to ours (`sendgrid/docs`, "Event Webhook Reference"; `twilio/sendgrid-oai`, "tsg_webhooks_v3").

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::event::{Campaign, Data, Kind, Origin};
use crate::fields::{epoch, message_id, text, text_or_number, texts, value};
use crate::identity::Read;
use crate::{Parsed, Request};

mod details;
mod keys;

/// Their word, in lower case, to ours.
fn kind(word: &str) -> Option<Kind> {
    match word {
        "processed" => Some(Kind::Sent),
        "deferred" => Some(Kind::DeliveryDelayed),
        "delivered" => Some(Kind::Delivered),
        // Also with `type: "blocked"`: SendGrid has stopped, so it is no delay.
        "bounce" => Some(Kind::Bounced),
        // SendGrid refused to send, so nothing bounced.
        "dropped" => Some(Kind::Failed),
        "open" => Some(Kind::Opened),
        "click" => Some(Kind::Clicked),
        "spamreport" => Some(Kind::Complained),
        "unsubscribe" | "group_unsubscribe" => Some(Kind::Unsubscribed),
        // `received` is about the send request, never about inbound mail; `group_resubscribe` has no word among ours.
        _ => None,
    }
}

/// Each element is read by itself: one that cannot be read costs only itself.
pub(super) fn parse(request: &Request) -> Vec<Parsed> {
    // Not lossy at once: most are text, which this finds out faster.
    let body =
        std::str::from_utf8(&request.body).map_or_else(|_| String::from_utf8_lossy(&request.body), Cow::Borrowed);
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(&body) else {
        return vec![Parsed::unreadable("the body is not a JSON list")];
    };
    if elements.is_empty() {
        return vec![Parsed::unreadable("the list is empty")];
    }
    elements.into_iter().map(|element| read(request, element)).collect()
}

fn read(request: &Request, element: &RawValue) -> Parsed {
    let Some(given) = value(element.get()) else { return Parsed::unreadable("the element cannot be read") };
    let Value::Object(fields) = &given else { return Parsed::unreadable("the element is not an object") };
    let Some(sent_word) = text(&given["event"]) else { return Parsed::unreadable("`event` is not a text") };
    // SendGrid's own documentation has both `processed` and `Processed`.
    let word = sent_word.to_ascii_lowercase();
    let Some(kind) = kind(&word) else { return Parsed::Unmapped { kind: sent_word } };

    // It names the event, not the attempt to post it. Compared as it is: the padding varies between kinds of event.
    let event_id = text(&given["sg_event_id"]);
    let provider = Origin {
        name: "sendgrid".into(),
        source: request.source.to_string(),
        kind: sent_word,
        event_id: event_id.clone(),
        test: false,
    };
    let metadata = metadata(&word, fields);
    let mut data = Data {
        id: text(&given["sg_message_id"]).and_then(|id| sent_id(&id)),
        message_id: text(&given["smtp-id"]).as_deref().and_then(message_id),
        tags: texts(&given["category"]),
        campaign: campaign(&given, &metadata),
        metadata,
        provider,
        ..Data::for_recipients(texts(&given["email"]))
    };
    details::add(&mut data, kind, &word, &given);
    Read { request, kind, at: epoch(&given["timestamp"]), data, own_identity: event_id, from: &given }.finish()
}

/// The `X-Message-Id` that the send API returned: what is before the first dot of `sg_message_id`. Behind it the sending
/// machine names itself, and early drops have nothing else (`filter0093p1las1.9128.…`).
fn sent_id(id: &str) -> Option<String> {
    let id = id.split('.').next().unwrap_or_default();
    let machine = id.starts_with("filter") || id.starts_with("recvd-");
    (!id.is_empty() && !machine).then(|| id.to_owned())
}

/// Custom arguments are merged into the event without a mark: they are the keys that are not SendGrid's.
fn metadata(word: &str, fields: &Map<String, Value>) -> Map<String, Value> {
    let own = |name: &str| keys::COMMON.contains(&name) || keys::of(word).contains(&name);
    fields.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn campaign(given: &Value, metadata: &Map<String, Value>) -> Option<Campaign> {
    let named = |id: &str, name: &str| Some(Campaign { id: text_or_number(&given[id])?, name: text(&given[name]) });
    named("singlesend_id", "singlesend_name")
        .or_else(|| named("marketing_campaign_id", "marketing_campaign_name"))
        .or_else(|| Some(Campaign { id: text_or_number(metadata.get("campaign_id")?)?, name: None }))
}
