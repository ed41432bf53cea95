//! The one detail object of each event of a mail.

use serde_json::Value;

use crate::Part;
use crate::event::{
    Attachment, Bounce, BounceClass, Click, Data, Delay, Delivery, Envelope, Failure, FailureStage, Kind, Mail, Open,
    SuppressedBy,
};
use crate::fields::{count, smtp, text, texts};
use crate::mail::{cut, file_name, listed, listed_attachments};

pub(super) fn add(data: &mut Data, kind: Kind, word: &str, given: &Value) {
    match kind {
        Kind::Delivered => data.delivery = Some(Delivery::default()),
        Kind::DeliveryDelayed => data.delay = Some(Delay::default()),
        // Resend tells neither address nor user agent of an open, nor whether a machine made it.
        Kind::Opened => data.open = Some(Open::default()),
        Kind::Clicked => data.click = Some(click(&given["click"])),
        Kind::Bounced => data.bounce = Some(bounce(&given["bounce"])),
        Kind::Failed if word == "email.suppressed" => data.failure = Some(suppressed(&given["suppressed"])),
        Kind::Failed => data.failure = Some(failed(&given["failed"])),
        Kind::Received => data.mail = Some(mail(data, given)),
        Kind::Sent | Kind::Complained | Kind::DomainVerified | Kind::Unsubscribed => {}
    }
}

fn click(given: &Value) -> Click {
    Click {
        url: text(&given["link"]),
        ip: text(&given["ipAddress"]),
        user_agent: text(&given["userAgent"]),
        machine: None,
    }
}

fn bounce(given: &Value) -> Bounce {
    let message = remote_text(given);
    let smtp = smtp(message.as_deref());
    Bounce {
        class: class(given),
        code: smtp.code,
        status: smtp.status,
        reason: text(&given["subType"]),
        message,
        ..Bounce::default()
    }
}

/// Amazon SES's words. Soft bounces are final too: Resend has stopped.
fn class(given: &Value) -> BounceClass {
    // Before it had `email.suppressed`, Resend called it a bounce when it did not even try.
    let told = given["message"].as_str().unwrap_or_default().to_ascii_lowercase();
    if given["subType"] == "Suppressed" || told.contains("suppressed sending") {
        return BounceClass::Suppressed;
    }
    match given["type"].as_str() {
        Some("Permanent") => BounceClass::Hard,
        Some("Transient") => BounceClass::Soft,
        _ => BounceClass::Undetermined,
    }
}

/// What the remote server said, else Resend's words for it. One event concerns one recipient, so the first will do.
fn remote_text(given: &Value) -> Option<String> {
    texts(&given["diagnosticCode"]).into_iter().next().or_else(|| text(&given["message"]))
}

fn failed(given: &Value) -> Failure {
    Failure { reason: text(&given["reason"]), stage: Some(FailureStage::BeforeSending), ..Failure::default() }
}

fn suppressed(given: &Value) -> Failure {
    let message = remote_text(given);
    Failure {
        reason: Some("suppressed".into()),
        stage: Some(FailureStage::BeforeSending),
        code: smtp(message.as_deref()).code,
        message,
        suppressed_by: match given["reason"].as_str() {
            Some("previous_bounce") => Some(SuppressedBy::Bounce),
            Some("previous_complaint") => Some(SuppressedBy::Complaint),
            _ => None,
        },
    }
}

/// The webhook has no text, headers or attached bytes: it stays small, and the rest is fetched from Resend's API, by the URLs
/// that stand here. It does not tell which of text and HTML there is.
fn mail(data: &Data, given: &Value) -> Mail {
    let mut truncated = Vec::new();
    let mut list =
        |name: &str, key: &str| listed(texts(&given[name]).iter().map(|text| cut(text)), key, &mut truncated);
    let received_for = list("received_for", "envelope");
    let (to, cc, bcc, reply_to) =
        (list("to", "to"), list("cc", "cc"), list("bcc", "bcc"), list("reply_to", "reply_to"));
    let attachments = attachments(&given["attachments"], &mut truncated);
    Mail {
        envelope: (!received_for.is_empty()).then_some(Envelope { to: received_for, ..Envelope::default() }),
        from: data.from.clone(),
        to,
        cc,
        bcc,
        reply_to,
        subject: data.subject.clone(),
        message_id: data.message_id.clone(),
        text_url: Some(Part::Text.url()),
        html_url: Some(Part::Html.url()),
        raw_url: Some(Part::Raw.url()),
        attachments,
        truncated,
        ..Mail::default()
    }
}

fn attachments(given: &Value, truncated: &mut Vec<String>) -> Vec<Attachment> {
    let attached = given.as_array().map(Vec::as_slice).unwrap_or_default();
    let attachment = |(n, given): (usize, &Value)| Attachment {
        n,
        filename: given["filename"].as_str().and_then(file_name),
        content_type: text(&given["content_type"]).as_deref().map(cut),
        content_id: text(&given["content_id"]).as_deref().map(cut),
        inline: given["content_disposition"].as_str().is_some_and(|word| word.eq_ignore_ascii_case("inline")),
        size: count(&given["size"]),
        // By its id it is found again.
        url: text(&given["id"]).map(|_| Part::Attachment(n).url()),
    };
    listed_attachments(attached.iter().enumerate().map(attachment), truncated)
}
