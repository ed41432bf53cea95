//! The eleven-event schema: what every provider's words become.
//!
//! What is not known is absent from the JSON, never `null` and never guessed. Field by field this is
//! `data` of the `drin` format, so a stored event is rendered without being read again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod details;
mod mail;
#[cfg(feature = "schema")]
mod schema;
pub use details::*;
pub use mail::*;
#[cfg(feature = "schema")]
pub use schema::schema;

/// What happened, in one of eleven words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Kind {
    /// Accepted by the provider, which will try to deliver it.
    #[serde(rename = "email.sent")]
    Sent,
    /// Accepted by the recipient's mail server.
    #[serde(rename = "email.delivered")]
    Delivered,
    /// Refused for the moment; the provider keeps trying.
    #[serde(rename = "email.delivery_delayed")]
    DeliveryDelayed,
    /// The tracking pixel was loaded.
    #[serde(rename = "email.opened")]
    Opened,
    /// A tracked link was followed.
    #[serde(rename = "email.clicked")]
    Clicked,
    /// The provider has stopped trying: a remote server refused the mail, or never took it.
    #[serde(rename = "email.bounced")]
    Bounced,
    /// The recipient called it spam.
    #[serde(rename = "email.complained")]
    Complained,
    /// The provider did not try, or could not.
    #[serde(rename = "email.failed")]
    Failed,
    /// Mail came in.
    #[serde(rename = "email.received")]
    Received,
    /// A sending domain became verified.
    #[serde(rename = "domain.verified")]
    DomainVerified,
    /// A person opted out, of everything or of a part (see `unsubscribe.scope`).
    #[serde(rename = "contact.unsubscribed")]
    Unsubscribed,
}

impl Kind {
    /// All eleven, in the order of the product page.
    pub const ALL: [Self; 11] = [
        Self::Sent,
        Self::Delivered,
        Self::DeliveryDelayed,
        Self::Opened,
        Self::Clicked,
        Self::Bounced,
        Self::Complained,
        Self::Failed,
        Self::Received,
        Self::DomainVerified,
        Self::Unsubscribed,
    ];

    /// The name on the wire, such as `email.bounced`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "email.sent",
            Self::Delivered => "email.delivered",
            Self::DeliveryDelayed => "email.delivery_delayed",
            Self::Opened => "email.opened",
            Self::Clicked => "email.clicked",
            Self::Bounced => "email.bounced",
            Self::Complained => "email.complained",
            Self::Failed => "email.failed",
            Self::Received => "email.received",
            Self::DomainVerified => "domain.verified",
            Self::Unsubscribed => "contact.unsubscribed",
        }
    }

    /// The kind with exactly this name on the wire.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One thing that happened, before it has an id (the id is derived from source and identity).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// When it happened, as the provider tells it.
    #[serde(serialize_with = "millis")]
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub created_at: Timestamp,
    /// To what, and how.
    pub data: Data,
}

/// RFC 3339 in UTC with exactly three decimals: `2026-03-14T09:27:01.044Z`.
pub fn rfc3339_millis(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn millis<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.3}"))
}

/// The `data` object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Data {
    /// The id that the provider's send API returned; absent on domain events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// RFC 5322 Message-ID, with its angle brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The one recipient concerned, as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The recipients, where the provider names several; then `to` is absent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// The sender, as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The subject line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Names the sender gave the mail: SendGrid categories, Mailgun tags.
    pub tags: Vec<String>,
    /// The sender's own data: Resend tags, SendGrid custom arguments, Mailgun user variables.
    pub metadata: Map<String, Value>,
    /// The campaign the mail belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<Campaign>,
    /// Detail of `email.delivered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Detail of `email.delivery_delayed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Detail of `email.opened`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    /// Detail of `email.clicked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click: Option<Click>,
    /// Detail of `email.bounced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounce: Option<Bounce>,
    /// Detail of `email.failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Detail of `email.received`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<Mail>,
    /// Detail of `contact.unsubscribed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<Unsubscribe>,
    /// Detail of `domain.verified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
    /// The contact of `contact.unsubscribed`, where the provider has contacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// Who told it.
    pub provider: Origin,
}
