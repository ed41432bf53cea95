//! The format of the seed document 001: flat, and `email.` leads its names.

use bytes::Bytes;
use serde::Serialize;
use waypost_providers::Kind;

use super::told::{More, Told};
use super::view::View;
use super::write::{Cut, Seconds, json};
use crate::domain::plan::StoredEvent;

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    email_id: Option<&'a str>,
    recipient: Option<&'a str>,
    timestamp: Seconds<'a>,
    id: &'a str,
    #[serde(flatten)]
    more: More<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Cut<'a>>,
}

/// Its names, and our own for what it has no word for.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Opened => "email.open",
        Kind::Clicked => "email.click",
        Kind::Bounced => "email.bounce",
        Kind::Unsubscribed => "email.unsubscribe",
        Kind::Sent
        | Kind::Delivered
        | Kind::DeliveryDelayed
        | Kind::Complained
        | Kind::Failed
        | Kind::Received
        | Kind::DomainVerified => kind.as_str(),
    }
}

pub(super) fn render(event: &StoredEvent, kind: Kind) -> Result<Bytes, serde_json::Error> {
    let view = View::of(event)?;
    let told = Told::of(&view);
    let is_mail = kind == Kind::Received;
    json(&Body {
        r#type: name(kind),
        email_id: told.email_id,
        recipient: told.recipient,
        timestamp: Seconds(&event.created_at),
        id: event.id.as_str(),
        from: told.from.filter(|_| is_mail),
        subject: told.subject.filter(|_| is_mail),
        more: told.into(),
    })
}
