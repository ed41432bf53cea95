//! The format of the seed document 002: an envelope with `data`, its names bare words.

use bytes::Bytes;
use serde::Serialize;
use waypost_providers::Kind;

use super::told::{More, Told, word};
use super::view::View;
use super::write::{Cut, Seconds, json};
use crate::domain::plan::StoredEvent;

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    r#type: &'static str,
    created_at: Seconds<'a>,
    data: Data<'a>,
}

/// The document's bounce shows no subject, and its other events do.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Bounced(Bounced<'a>),
    Other(Other<'a>),
}

#[derive(Serialize)]
struct Bounced<'a> {
    email_id: Option<&'a str>,
    from: Option<Cut<'a>>,
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Cut<'a>>,
    bounce_type: Option<&'static str>,
    bounce_code: Option<Cut<'a>>,
    bounce_message: Option<Cut<'a>>,
    #[serde(flatten)]
    more: More<'a>,
}

#[derive(Serialize)]
struct Other<'a> {
    email_id: Option<&'a str>,
    from: Option<Cut<'a>>,
    to: Option<&'a str>,
    subject: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<Seconds<'a>>,
    #[serde(flatten)]
    more: More<'a>,
}

/// Its names.
fn name(kind: Kind, prefers_queued: bool) -> &'static str {
    match kind {
        Kind::Sent if prefers_queued => "queued",
        Kind::Sent => "sending",
        kind => word(kind),
    }
}

pub(super) fn render(event: &StoredEvent, kind: Kind, prefers_queued: bool) -> Result<Bytes, serde_json::Error> {
    let view = View::of(event)?;
    let mut told = Told::of(&view);
    let at = Seconds(&event.created_at);
    let (email_id, from, to, subject) = (told.email_id, told.from, told.recipient, told.subject);
    // Taken, for it has keys that are always there.
    let bounce = told.bounce.take();
    let more = told.into();
    let data = if kind == Kind::Bounced {
        Data::Bounced(Bounced {
            email_id,
            from,
            to,
            subject,
            bounce_type: bounce.map(|bounce| bounce.kind),
            bounce_code: bounce.and_then(|bounce| bounce.code),
            bounce_message: bounce.and_then(|bounce| bounce.message),
            more,
        })
    } else {
        let delivered_at = (kind == Kind::Delivered).then_some(at);
        Data::Other(Other { email_id, from, to, subject, delivered_at, more })
    };
    json(&Body { id: event.id.as_str(), r#type: name(kind, prefers_queued), created_at: at, data })
}
