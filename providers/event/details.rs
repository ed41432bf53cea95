//! The detail objects of `data`, one for each kind of event.
//!
//! Codes are strings. `message` is the remote server's text, untrusted and unbounded.

use serde::{Deserialize, Serialize};

/// Who told of the event, in their own words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Origin {
    /// `resend`, `sendgrid`, `mailgun` …
    pub name: String,
    /// The source's name in the config file.
    pub source: String,
    /// The provider's own type, as sent: `bounce`, `email.bounced`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The provider's own id of the event, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The provider says that the mail was sent in its test mode (Mailgun `flags.is-test-mode`).
    #[serde(skip_serializing_if = "is_false")]
    pub test: bool,
}

/// The campaign a mail belongs to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Campaign {
    /// Resend `broadcast_id`; SendGrid `singlesend_id`, else `marketing_campaign_id`; else `metadata.campaign_id`.
    pub id: String,
    /// Its name, where the provider tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The remote server took the mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Delivery {
    /// The server that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mx_host: Option<String>,
    /// Three-digit SMTP code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Enhanced status, `x.y.z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The server's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The remote server refused for the moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Delay {
    /// The server that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mx_host: Option<String>,
    /// Three-digit SMTP code, or the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Enhanced status, `x.y.z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The server's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How many times the provider has tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// Seconds until the provider tries again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// The tracking pixel was loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Open {
    /// Address the pixel was loaded from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// What loaded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Whether the provider takes it for a machine; absent where it does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<bool>,
}

/// A tracked link was followed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Click {
    /// The link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Address it was followed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// What followed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Whether the provider takes it for a machine; absent where it does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<bool>,
}

/// What kind of bounce it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BounceClass {
    /// The address does not work.
    Hard,
    /// The address may work another day; the provider has stopped all the same.
    Soft,
    /// Refused for a reason not tied to the address.
    Blocked,
    /// The provider did not try, and calls it a bounce.
    Suppressed,
    /// The provider does not tell.
    #[default]
    Undetermined,
}

/// The provider has stopped trying.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Bounce {
    /// What kind of bounce.
    pub class: BounceClass,
    /// Three-digit SMTP code, or the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Enhanced status, `x.y.z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The provider's word for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The remote server's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The server that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mx_host: Option<String>,
    /// The provider gave up after temporary refusals.
    #[serde(skip_serializing_if = "is_false")]
    pub retries_exhausted: bool,
}

/// Where sending stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureStage {
    /// No remote server was asked.
    BeforeSending,
}

/// What put an address on the provider's suppression list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SuppressedBy {
    /// An earlier bounce.
    Bounce,
    /// An earlier complaint.
    Complaint,
    /// An earlier opt-out.
    Unsubscribe,
}

/// The provider did not send, or could not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Failure {
    /// `suppressed`, or the provider's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it stopped, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<FailureStage>,
    /// The provider's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The provider's longer text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What had put the address on the suppression list, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed_by: Option<SuppressedBy>,
}

/// How much a person opted out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    Global,
    /// One mailing list.
    List,
    /// One suppression group, or one stream of mail.
    Group,
    /// Some topics.
    Topic,
}

/// A person opted out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Unsubscribe {
    /// Of how much; absent when the provider does not tell (then nothing is suppressed).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The lists, groups or topics concerned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Address the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// What made the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// A sending domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Domain {
    /// The provider's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A contact in the provider's address book.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Contact {
    /// The provider's id of it.
    pub id: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
