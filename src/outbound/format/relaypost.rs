//! The format of the seed document 004: flat, with a `metadata` of what the remote server said.

use bytes::Bytes;
use serde::Serialize;
use waypost_providers::Kind;
use waypost_providers::event::Scope;

use super::told::{Told, word};
use super::view::View;
use super::write::{Cut, json};
use crate::domain::plan::StoredEvent;

/// Answers that SMTP has.
const SMTP_CODES: std::ops::RangeInclusive<u16> = 200..=599;

#[derive(Serialize)]
struct Body<'a> {
    event: &'static str,
    email_id: Option<&'a str>,
    message_id: Option<&'a str>,
    recipient: Option<&'a str>,
    timestamp: &'a str,
    metadata: Metadata<'a>,
    id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<&'a str>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    mx_host: Option<Cut<'a>>,
    smtp_code: Option<u16>,
    smtp_message: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounce_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<Cut<'a>>,
}

/// Its names.
fn name(kind: Kind, told: &Told<'_>, prefers_queued: bool) -> &'static str {
    match kind {
        Kind::Sent if prefers_queued => "queued",
        Kind::Sent => "processing",
        Kind::DeliveryDelayed => "deferred",
        Kind::Bounced if told.is_exhausted => "failed",
        Kind::Failed if told.is_before_sending => "rejected",
        kind => word(kind),
    }
}

pub(super) fn render(event: &StoredEvent, kind: Kind, prefers_queued: bool) -> Result<Bytes, serde_json::Error> {
    let view = View::of(event)?;
    let told = Told::of(&view);
    let code = told.smtp.code.or(told.bounce.and_then(|bounce| bounce.code));
    json(&Body {
        event: name(kind, &told, prefers_queued),
        email_id: told.email_id,
        message_id: told.message_id,
        recipient: told.recipient,
        timestamp: &event.created_at,
        metadata: Metadata {
            mx_host: told.mx_host,
            smtp_code: code.and_then(|code| code.0.parse().ok()).filter(|code| SMTP_CODES.contains(code)),
            smtp_message: told.smtp.message.or(told.bounce.and_then(|bounce| bounce.message)),
            ip: told.ip,
            user_agent: told.user_agent,
            url: told.url,
            bounce_type: told.bounce.map(|bounce| bounce.kind),
            reason: told.reason,
            scope: told.scope,
            domain: told.domain,
        },
        id: event.id.as_str(),
        recipients: told.recipients,
    })
}
