//! The one detail object of each event. A key is read only on the events that `keys` lists it for.

use serde_json::Value;

use crate::event::{
    Bounce, BounceClass, Click, Data, Delay, Delivery, Failure, FailureStage, Kind, Open, Scope, SuppressedBy,
    Unsubscribe,
};
use crate::fields::{count, smtp, text, text_or_number};

pub(super) fn add(data: &mut Data, kind: Kind, word: &str, given: &Value) {
    match kind {
        Kind::Delivered => data.delivery = Some(delivery(given)),
        Kind::DeliveryDelayed => {
            data.from = text(&given["from"]);
            data.delay = Some(delay(given));
        }
        Kind::Opened => {
            let machine = given["sg_machine_open"].as_bool();
            data.open = Some(Open { ip: text(&given["ip"]), user_agent: text(&given["useragent"]), machine });
        }
        Kind::Clicked => data.click = Some(click(given)),
        Kind::Bounced => data.bounce = Some(bounce(given)),
        Kind::Failed => data.failure = Some(failure(given)),
        Kind::Unsubscribed => data.unsubscribe = Some(unsubscribe(word, given)),
        Kind::Sent | Kind::Complained | Kind::Received | Kind::DomainVerified => {}
    }
}

fn delivery(given: &Value) -> Delivery {
    let message = text(&given["response"]);
    let smtp = smtp(message.as_deref());
    Delivery { mx_host: None, code: smtp.code, status: smtp.status, message }
}

fn delay(given: &Value) -> Delay {
    let message = text(&given["response"]);
    let smtp = smtp(message.as_deref());
    Delay { code: smtp.code, status: smtp.status, message, attempt: count(&given["attempt"]), ..Delay::default() }
}

fn click(given: &Value) -> Click {
    let (ip, user_agent) = (text(&given["ip"]), text(&given["useragent"]));
    Click { url: text(&given["url"]), ip, user_agent, machine: None }
}

fn bounce(given: &Value) -> Bounce {
    let message = text(&given["reason"]);
    let smtp = smtp(message.as_deref());
    Bounce {
        class: class(&given["type"]),
        code: smtp.code,
        // Can be absent, as when no mail server was found at all.
        status: text(&given["status"]).or(smtp.status),
        reason: text(&given["bounce_classification"]),
        message,
        ..Bounce::default()
    }
}

/// `blocked` is about the message, not the address: nobody should stop writing to it.
fn class(given: &Value) -> BounceClass {
    match given.as_str() {
        Some("bounce") => BounceClass::Hard,
        Some("blocked") => BounceClass::Blocked,
        None if given.is_null() => BounceClass::Hard,
        _ => BounceClass::Undetermined,
    }
}

fn failure(given: &Value) -> Failure {
    let told = text(&given["reason"]);
    let suppressed_by = told.as_deref().and_then(suppressed_by);
    let stage = Some(FailureStage::BeforeSending);
    let code = smtp(told.as_deref()).code;
    match suppressed_by {
        Some(_) => Failure { reason: Some("suppressed".into()), stage, code, message: told, suppressed_by },
        None => Failure { reason: told, stage, code, message: None, suppressed_by },
    }
}

/// Of the reasons to drop a mail, those that are about the address.
fn suppressed_by(reason: &str) -> Option<SuppressedBy> {
    match reason.trim().to_ascii_lowercase().as_str() {
        "bounced address" => Some(SuppressedBy::Bounce),
        "spam reporting address" => Some(SuppressedBy::Complaint),
        "unsubscribed address" => Some(SuppressedBy::Unsubscribe),
        _ => None,
    }
}

fn unsubscribe(word: &str, given: &Value) -> Unsubscribe {
    if word != "group_unsubscribe" {
        return Unsubscribe { scope: Some(Scope::Global), ..Unsubscribe::default() };
    }
    Unsubscribe {
        scope: Some(Scope::Group),
        ids: text_or_number(&given["asm_group_id"]).into_iter().collect(),
        ip: text(&given["ip"]),
        user_agent: text(&given["useragent"]),
    }
}
