//! Postmark's words to ours (postmarkapp.com, "Webhooks": one page for each type; `anymail/django-anymail`,
//! "webhooks/postmark.py").

use serde_json::Value;

use crate::event::{Campaign, Click, Data, Delivery, Failure, FailureStage, Kind, Open, Origin, Scope, Unsubscribe};
use crate::fields::{Smtp, rfc3339, smtp, text, text_or_number, texts};
use crate::identity::Read;
use crate::{Parsed, Request, fields};

mod bounce;

/// `MessageID` where there is no mail, as in the examples that Postmark posts.
const NO_MAIL: &str = "00000000-0000-0000-0000-000000000000";

/// What is reported, and by which field its time is told.
fn kind(word: &str, given: &Value) -> Option<(Kind, &'static str)> {
    match word {
        "Delivery" => Some((Kind::Delivered, "DeliveredAt")),
        "Bounce" => Some((bounce::meaning(given["Type"].as_str()?)?.kind(), "BouncedAt")),
        "SpamComplaint" => Some((Kind::Complained, "BouncedAt")),
        "Open" => Some((Kind::Opened, "ReceivedAt")),
        "Click" => Some((Kind::Clicked, "ReceivedAt")),
        "SubscriptionChange" => opted_out(given).then_some((Kind::Unsubscribed, "ChangedAt")),
        _ => None,
    }
}

/// Whether a recipient has unsubscribed. What a bounce or a complaint has suppressed is told as such, what the account's
/// owner has suppressed is no act of the recipient, and that an address may be written to again has no word among ours.
fn opted_out(given: &Value) -> bool {
    given["SuppressSending"] == true
        && given["SuppressionReason"] == "ManualSuppression"
        && given["Origin"] == "Recipient"
}

pub(super) fn parse(request: &Request) -> Parsed {
    let Some(given) = fields::json(&request.body) else { return Parsed::unreadable("the body is not JSON") };
    let Some(word) = text(&given["RecordType"]) else { return Parsed::unreadable("`RecordType` is not a text") };
    let Some((kind, time)) = kind(&word, &given) else {
        // A bounce is one of two dozen things, and some of them are none.
        let of = text(&given["Type"]).filter(|_| word == "Bounce").map(|of| format!(" {of}"));
        return Parsed::Unmapped { kind: word + &of.unwrap_or_default() };
    };
    let event_id = text_or_number(&given["ID"]).filter(|id| id != "0");
    let own_identity = event_id.as_ref().map(|id| format!("{word}:{id}"));
    // The time of a bounce or complaint, and its address, are under names of their own.
    let recipient = if given["Email"].is_null() { &given["Recipient"] } else { &given["Email"] };
    let metadata = fields::object(&given["Metadata"]);
    let campaign = metadata.get("campaign_id").and_then(text_or_number);
    let mut data = Data {
        id: text(&given["MessageID"]).filter(|id| id != NO_MAIL),
        from: text(&given["From"]),
        subject: text(&given["Subject"]),
        tags: texts(&given["Tag"]),
        campaign: campaign.map(|id| Campaign { id, name: None }),
        metadata,
        provider: Origin {
            name: "postmark".into(),
            source: request.source.to_string(),
            kind: word,
            event_id,
            test: false,
        },
        ..Data::for_recipients(texts(recipient))
    };
    add_detail(&mut data, kind, &given);
    Read { request, kind, at: rfc3339(&given[time]), data, own_identity, from: &given }.finish()
}

fn add_detail(data: &mut Data, kind: Kind, given: &Value) {
    // Postmark knows several clients, and does not tell machines from people.
    let (ip, user_agent, machine) = (text(&given["Geo"]["IP"]), text(&given["UserAgent"]), None);
    let message = text(&given["Details"]);
    let Smtp { code, status } = smtp(message.as_deref());
    match kind {
        Kind::Delivered => data.delivery = Some(Delivery { code, status, message, mx_host: None }),
        Kind::Opened => data.open = Some(Open { ip, user_agent, machine }),
        Kind::Clicked => data.click = Some(Click { url: text(&given["OriginalLink"]), ip, user_agent, machine }),
        Kind::Bounced => data.bounce = bounce::detail(given),
        Kind::Failed => {
            let message = message.or_else(|| text(&given["Description"]));
            let (reason, stage) = (text(&given["Type"]), Some(FailureStage::BeforeSending));
            data.failure = Some(Failure { reason, stage, code, message, suppressed_by: None });
        }
        Kind::Unsubscribed => data.unsubscribe = Some(unsubscribe(given)),
        Kind::Sent | Kind::DeliveryDelayed | Kind::Complained | Kind::Received | Kind::DomainVerified => {}
    }
}

/// Postmark suppresses by stream. A mail that asks for it (a bounce of the type `Unsubscribe`) does not say of what.
fn unsubscribe(given: &Value) -> Unsubscribe {
    if given["RecordType"] == "Bounce" {
        return Unsubscribe::default();
    }
    Unsubscribe { scope: Some(Scope::Group), ids: texts(&given["MessageStream"]), ..Unsubscribe::default() }
}
