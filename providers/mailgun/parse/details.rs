//! The one detail object of each event.

use serde_json::Value;

use crate::event::{
    Bounce, BounceClass, Click, Data, Delay, Delivery, Failure, FailureStage, Kind, Open, Scope, SuppressedBy,
    Unsubscribe,
};
use crate::fields::{count, smtp, text, text_or_number};

pub(super) fn add(data: &mut Data, kind: Kind, word: &str, given: &Value) {
    match kind {
        Kind::Delivered => data.delivery = Some(delivery(given)),
        Kind::DeliveryDelayed => data.delay = Some(delay(given)),
        Kind::Opened => {
            data.open = Some(Open { ip: ip(given), user_agent: user_agent(given), machine: machine(given) });
        }
        Kind::Clicked => {
            let (url, ip, user_agent) = (text(&given["url"]), ip(given), user_agent(given));
            data.click = Some(Click { url, ip, user_agent, machine: machine(given) });
        }
        Kind::Bounced => data.bounce = Some(bounce(given)),
        Kind::Failed if word == "rejected" => data.failure = Some(rejected(&given["reject"])),
        Kind::Failed => data.failure = Some(suppressed(given)),
        Kind::Unsubscribed => data.unsubscribe = Some(unsubscribe(given)),
        Kind::Sent | Kind::Complained | Kind::Received | Kind::DomainVerified => {}
    }
}

/// `delivery-status`, of which any part or the whole may be missing or `null`.
struct Answer {
    code: Option<String>,
    status: Option<String>,
    message: Option<String>,
    mx_host: Option<String>,
}

/// The remote server's answer, or Mailgun's own: it has codes for "no mail server" (498), "no connection" (499) and
/// "suppressed" (605 to 607).
fn answer(given: &Value) -> Answer {
    let given = &given["delivery-status"];
    let message = text(&given["message"]).or_else(|| text(&given["description"]));
    let smtp = smtp(message.as_deref());
    Answer {
        code: text_or_number(&given["code"]).or(smtp.code),
        status: text(&given["enhanced-code"]).or_else(|| text(&given["bounce-code"])).or(smtp.status),
        message,
        mx_host: text(&given["mx-host"]),
    }
}

fn delivery(given: &Value) -> Delivery {
    let Answer { code, status, message, mx_host } = answer(given);
    Delivery { mx_host, code, status, message }
}

fn delay(given: &Value) -> Delay {
    let Answer { code, status, message, mx_host } = answer(given);
    let attempt = count(&given["delivery-status"]["attempt-no"]);
    let retry_after_s = count(&given["delivery-status"]["retry-seconds"]);
    Delay { mx_host, code, status, message, attempt, retry_after_s }
}

fn bounce(given: &Value) -> Bounce {
    let Answer { code, status, message, mx_host } = answer(given);
    let reason = text(&given["reason"]);
    let class = class(code.as_deref(), status.as_deref(), reason.as_deref());
    let retries_exhausted = class == BounceClass::Soft;
    Bounce { class, code, status, reason, message, mx_host, retries_exhausted }
}

/// Any 5xx or 5.x is the address's or the mail's fault. All other permanent failures are temporary ones that Mailgun got
/// tired of (`old`, 498, 499, 4xx), unless nothing at all is told.
fn class(code: Option<&str>, status: Option<&str>, reason: Option<&str>) -> BounceClass {
    let is_smtp_5xx = code.is_some_and(|code| code.len() == 3 && code.starts_with('5'));
    if is_smtp_5xx || status.is_some_and(|status| status.starts_with("5.")) {
        BounceClass::Hard
    } else if code.is_some() || status.is_some() || reason.is_some_and(|reason| reason.eq_ignore_ascii_case("old")) {
        BounceClass::Soft
    } else {
        BounceClass::Undetermined
    }
}

fn rejected(given: &Value) -> Failure {
    Failure {
        reason: text(&given["reason"]),
        stage: Some(FailureStage::BeforeSending),
        message: text(&given["description"]),
        ..Failure::default()
    }
}

fn suppressed(given: &Value) -> Failure {
    let Answer { code, message, .. } = answer(given);
    Failure {
        reason: Some("suppressed".into()),
        stage: Some(FailureStage::BeforeSending),
        suppressed_by: suppressed_by(given["reason"].as_str(), code.as_deref()),
        code,
        message,
    }
}

fn suppressed_by(reason: Option<&str>, code: Option<&str>) -> Option<SuppressedBy> {
    match (reason.map(str::to_ascii_lowercase).as_deref(), code) {
        (Some("suppress-bounce"), _) => Some(SuppressedBy::Bounce),
        (Some("suppress-complaint"), _) => Some(SuppressedBy::Complaint),
        (Some("suppress-unsubscribe"), _) => Some(SuppressedBy::Unsubscribe),
        (_, Some("605")) => Some(SuppressedBy::Bounce),
        (_, Some("606")) => Some(SuppressedBy::Unsubscribe),
        (_, Some("607")) => Some(SuppressedBy::Complaint),
        _ => None,
    }
}

/// A mail sent through a list was left by way of the list. Otherwise it may have been one tag's mail or all: Mailgun
/// does not tell.
fn unsubscribe(given: &Value) -> Unsubscribe {
    let list = &given["mailing-list"];
    Unsubscribe {
        scope: list.is_object().then_some(Scope::List),
        ids: text(&list["address"]).or_else(|| text(&list["list-id"])).into_iter().collect(),
        ip: ip(given),
        user_agent: user_agent(given),
    }
}

fn ip(given: &Value) -> Option<String> {
    text(&given["ip"]).or_else(|| text(&given["client-info"]["ip"]))
}

fn user_agent(given: &Value) -> Option<String> {
    text(&given["client-info"]["user-agent"])
}

/// `apple`, `gmail`, `generic`, or empty for a person.
fn machine(given: &Value) -> Option<bool> {
    given["client-info"]["bot"].as_str().map(|bot| !bot.is_empty())
}
