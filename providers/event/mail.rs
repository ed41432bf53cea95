//! The detail object of `email.received`: the same for every provider.
//!
//! What a sender wrote is bounded here, and what was left out is named in `truncated`: the event of a mail of 30 MiB is
//! small. All of it stays in the stored request, from which [`crate::Provider::content`] reads it.

use serde::{Deserialize, Serialize};

/// Mail that came in.
///
/// Its URLs are relative to the event's own, until it is delivered: then they are absolute, signed and expire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Mail {
    /// Who it was for and from by SMTP, not by its headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
    /// `From`, as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `To`, as given.
    pub to: Vec<String>,
    /// `Cc`, as given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<String>,
    /// `Bcc`, as given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<String>,
    /// `Reply-To`, as given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reply_to: Vec<String>,
    /// The subject line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `Date`, as given: when the sender says that it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// RFC 5322 Message-ID, with its angle brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The Message-ID that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// The Message-IDs of its thread, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Its header fields as name and value, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Its plain text, if that is no longer than 256 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where its plain text is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_url: Option<String>,
    /// Its HTML, if that is no longer than 256 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Where its HTML is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html_url: Option<String>,
    /// Where the mail is as it was sent, where the provider hands that on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_url: Option<String>,
    /// What was attached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// What the provider's spam filter said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spam: Option<Spam>,
    /// The result for each DKIM signature, as the provider checked it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dkim: Vec<Dkim>,
    /// The SPF result (RFC 7208), in lower case, as the provider checked it: `pass`, `softfail` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spf: Option<String>,
    /// The fields above that do not have all that the mail has, for it has more than an event holds; or, of the envelope and
    /// the results of checks, for the sender may have written some of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<String>,
}

/// The SMTP envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Envelope {
    /// MAIL FROM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// RCPT TO.
    pub to: Vec<String>,
    /// The address of the server that sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
}

/// What was attached to a received mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Attachment {
    /// Its place in the mail, from 0.
    pub n: usize,
    /// Its file name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// How many bytes it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its Content-ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_id: Option<String>,
    /// Whether it is part of the text.
    pub inline: bool,
    /// Where its bytes are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What the provider's spam filter said of a received mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Spam {
    /// The higher, the more like spam.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// What made the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// Whether the provider takes it for spam; absent where it does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flagged: Option<bool>,
}

/// One DKIM result (RFC 6376) of a received mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Dkim {
    /// The domain that signed it, where the provider tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// In lower case: `pass`, `fail`, `none` …
    pub result: String,
}

impl Mail {
    /// The most bytes of a text or HTML, in UTF-8, that an event holds itself.
    pub const BODY_LEN_MAX: usize = 256 * 1024;
}
