//! The format of the seed document 003: flat, with a `metadata` of what the event's own kind tells.

use bytes::Bytes;
use serde::Serialize;
use waypost_providers::Kind;
use waypost_providers::event::Scope;

use super::told::{Bounced, Told, word};
use super::view::View;
use super::write::{Cut, Seconds, json};
use crate::domain::plan::StoredEvent;

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    r#type: &'static str,
    recipient: Option<&'a str>,
    sent_email_id: Option<&'a str>,
    campaign_id: Option<&'a str>,
    metadata: Metadata<'a>,
    timestamp: Seconds<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<&'a str>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Cut<'a>>,
    #[serde(flatten)]
    bounce: Option<Bounced<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smtp_code: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smtp_message: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<Cut<'a>>,
}

pub(super) fn render(event: &StoredEvent, kind: Kind) -> Result<Bytes, serde_json::Error> {
    let view = View::of(event)?;
    let told = Told::of(&view);
    json(&Body {
        id: event.id.as_str(),
        r#type: word(kind),
        recipient: told.recipient,
        sent_email_id: told.email_id,
        campaign_id: told.campaign_id,
        metadata: Metadata {
            user_agent: told.user_agent,
            ip: told.ip,
            url: told.url,
            bounce: told.bounce,
            smtp_code: told.smtp.code,
            smtp_message: told.smtp.message,
            reason: told.reason,
            scope: told.scope,
            domain: told.domain,
        },
        timestamp: Seconds(&event.created_at),
        recipients: told.recipients,
    })
}
