//! What the four seed formats tell of an event, before each puts it under its own names.

use serde::Serialize;
use waypost_providers::Kind;
use waypost_providers::event::{BounceClass, FailureStage, Scope};

use super::view::{Text, View};
use super::write::{Cut, bare};

/// Every fact that one of them tells.
pub(super) struct Told<'a> {
    pub(super) email_id: Option<&'a str>,
    pub(super) message_id: Option<&'a str>,
    /// The one recipient, without a name; none where there are several.
    pub(super) recipient: Option<&'a str>,
    /// The several.
    pub(super) recipients: Vec<&'a str>,
    pub(super) from: Option<Cut<'a>>,
    pub(super) subject: Option<Cut<'a>>,
    pub(super) campaign_id: Option<&'a str>,
    pub(super) mx_host: Option<Cut<'a>>,
    /// What the remote server said when it took or delayed the mail.
    pub(super) smtp: Smtp<'a>,
    pub(super) bounce: Option<Bounced<'a>>,
    pub(super) is_exhausted: bool,
    pub(super) is_before_sending: bool,
    pub(super) ip: Option<Cut<'a>>,
    pub(super) user_agent: Option<Cut<'a>>,
    pub(super) url: Option<Cut<'a>>,
    pub(super) reason: Option<Cut<'a>>,
    pub(super) message: Option<Cut<'a>>,
    pub(super) scope: Option<Scope>,
    pub(super) domain: Option<Cut<'a>>,
}

/// A remote server's answer.
#[derive(Clone, Copy, Default)]
pub(super) struct Smtp<'a> {
    pub(super) code: Option<Cut<'a>>,
    pub(super) message: Option<Cut<'a>>,
}

/// A bounce.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Bounced<'a> {
    #[serde(rename = "bounce_type")]
    pub(super) kind: &'static str,
    #[serde(rename = "bounce_code", skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<Cut<'a>>,
    #[serde(rename = "bounce_message", skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<Cut<'a>>,
}

impl<'a> Told<'a> {
    /// Of an event's data.
    pub(super) fn of(view: &'a View<'a>) -> Self {
        let (delivery, delay) = (view.delivery.as_ref(), view.delay.as_ref());
        let (open, click, bounce) = (view.open.as_ref(), view.click.as_ref(), view.bounce.as_ref());
        let (failure, unsubscribe) = (view.failure.as_ref(), view.unsubscribe.as_ref());
        // An event has one detail object at most, so these never meet.
        let remote = delivery.or(delay);
        let access = open.or(click);
        let by = |at: Option<&'a Text<'a>>, or: Option<&'a Text<'a>>| cut(at.or(or));
        Self {
            email_id: view.id.as_deref(),
            message_id: view.message_id.as_deref(),
            recipient: view.to.as_deref().map(bare),
            recipients: view.recipients.iter().map(|recipient| bare(recipient)).collect(),
            from: cut(view.from.as_ref()),
            subject: cut(view.subject.as_ref()),
            campaign_id: view.campaign.as_ref().map(|campaign| &*campaign.id),
            mx_host: by(
                remote.and_then(|remote| remote.mx_host.as_ref()),
                bounce.and_then(|bounce| bounce.mx_host.as_ref()),
            ),
            smtp: Smtp {
                code: cut(remote.and_then(|remote| remote.code.as_ref())),
                message: cut(remote.and_then(|remote| remote.message.as_ref())),
            },
            bounce: bounce.map(|bounce| Bounced {
                kind: bounce_type(bounce.class),
                code: cut(bounce.code.as_ref()),
                message: cut(bounce.message.as_ref()),
            }),
            is_exhausted: bounce.is_some_and(|bounce| bounce.retries_exhausted),
            is_before_sending: failure.and_then(|failure| failure.stage) == Some(FailureStage::BeforeSending),
            ip: by(access.and_then(|access| access.ip.as_ref()), unsubscribe.and_then(|from| from.ip.as_ref())),
            user_agent: by(
                access.and_then(|access| access.user_agent.as_ref()),
                unsubscribe.and_then(|from| from.user_agent.as_ref()),
            ),
            url: cut(click.and_then(|click| click.url.as_ref())),
            reason: cut(failure.and_then(|failure| failure.reason.as_ref())),
            message: cut(failure.and_then(|failure| failure.message.as_ref())),
            scope: unsubscribe.and_then(|unsubscribe| unsubscribe.scope),
            domain: cut(view.domain.as_ref().and_then(|domain| domain.name.as_ref())),
        }
    }
}

fn cut<'a>(text: Option<&'a Text<'a>>) -> Option<Cut<'a>> {
    text.map(|text| Cut(text))
}

/// The bare word for an event, where a format has no other: the names of the documents 002, 003 and 004 agree in these,
/// and for what they have no word it is our own name without `email.`.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Sent => "sent",
        Kind::Delivered => "delivered",
        Kind::DeliveryDelayed => "delivery_delayed",
        Kind::Opened => "opened",
        Kind::Clicked => "clicked",
        Kind::Bounced => "bounced",
        Kind::Complained => "complained",
        Kind::Failed => "failed",
        Kind::Received => "received",
        Kind::DomainVerified => "domain.verified",
        Kind::Unsubscribed => "unsubscribed",
    }
}

fn bounce_type(class: BounceClass) -> &'static str {
    match class {
        BounceClass::Hard | BounceClass::Suppressed => "hard",
        BounceClass::Soft | BounceClass::Blocked => "soft",
        BounceClass::Undetermined => "undetermined",
    }
}

/// The keys that `platform` and `selfhosted` add to the documented ones, where they are known.
#[derive(Serialize)]
pub(super) struct More<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cut<'a>>,
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
    message: Option<Cut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<Cut<'a>>,
}

impl<'a> From<Told<'a>> for More<'a> {
    fn from(told: Told<'a>) -> Self {
        Self {
            recipients: told.recipients,
            ip: told.ip,
            user_agent: told.user_agent,
            url: told.url,
            bounce: told.bounce,
            smtp_code: told.smtp.code,
            smtp_message: told.smtp.message,
            reason: told.reason,
            message: told.message,
            scope: told.scope,
            domain: told.domain,
        }
    }
}
