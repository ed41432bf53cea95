//! Verifies and normalizes the webhooks of email providers: bytes, keys and time in, events out.
//!
//! Pure: no I/O, no clock, no randomness (but for the nonce of ECDSA, when [`Provider::sign`] plays SendGrid).
//! [`Provider::verify`] takes a [`Request`] and gives a [`Verified`]; [`Provider::parse`] takes only a `Verified`, which
//! nothing else can make, so what nobody has verified cannot be parsed. Each provider is one folder (`mod.rs`,
//! `verify.rs`, `parse.rs`, `sign.rs`) and two lines here.
//!
//! ```
//! use waypost_providers::{Draft, Keys, Kind, Parsed, Request, by_name};
//!
//! let (now, secret) = ("2026-03-16T09:30:00Z".parse()?, "whsec_dGhlIGtleSBvZiBhbiBleGFtcGxlLCBubyBzZWNyZXQ=");
//! let resend = by_name("resend").ok_or("no provider of this name")?;
//! let keys = Keys::read(resend, &[("signing_secrets".into(), vec![secret.into()])].into()).map_err(|(_, error)| error)?;
//! // What Resend would send; in earnest it is what came in.
//! let body = br#"{"type":"email.delivered","created_at":"2026-03-16T09:29:58Z","data":{"email_id":"4ef9","to":["a@b.example"]}}"#;
//! let sent = resend.sign(Draft { body, secret, now, nonce: [7; 16] })?;
//! let request = Request { source: "resend".into(), received_at: now, headers: sent.headers, body: sent.body };
//! let parsed = resend.parse(&resend.verify(request, &keys, now)?);
//! assert!(matches!(&parsed[..], [Parsed::Event(found)] if found.event.kind == Kind::Delivered));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Facts about the providers come from their documentation and published sources, named where they are used.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

mod body;
mod content;
pub mod event;
mod fetch;
mod fields;
mod form;
mod generic;
mod identity;
mod keys;
mod mail;
mod mailgun;
mod mailgun_inbound;
mod parameters;
mod postmark;
mod postmark_inbound;
mod proof;
mod repair;
mod request;
mod resend;
mod samples;
mod sendgrid;
mod sendgrid_inbound;
mod verify;
pub mod words;

pub use content::{Content, Part};
pub use event::{Event, Kind};
pub use fetch::{Api, Auth, Fetch, Fetched, Gives};
pub use keys::{KeyError, KeyField, Keys};
pub use proof::{Client, GrantError, Login, Proof, TOKEN_TTL, Way, grant};
pub use request::{Headers, ReplayGuard, Request, Verified};
pub use samples::Samples;
pub use verify::{Key, Refusal, VerifyError, Window};

/// Every provider, by the name that a source's `provider` key gives.
#[rustfmt::skip] // One a line.
pub const PROVIDERS: &[&dyn Provider] = &[
    &resend::Resend,
    &sendgrid::SendGrid,
    &sendgrid_inbound::Inbound,
    &mailgun::Mailgun,
    &mailgun_inbound::Inbound,
    &generic::Generic,
    &postmark::Postmark,
    &postmark_inbound::Inbound,
];

/// The provider of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name() == name)
}

/// One email provider: how it proves itself and what its words mean.
pub trait Provider: Sync {
    /// Its name in the config file and in `data.provider.name`.
    fn name(&self) -> &'static str;

    /// How a source of it may be proven. Without [`Way::Signature`], the provider signs nothing, and what is about keys
    /// and signatures below is left as it is.
    fn ways(&self) -> &'static [Way] {
        &[Way::Signature]
    }

    /// The keys that a source of this provider takes, by their names in the config file.
    fn key_fields(&self) -> &'static [KeyField] {
        &[]
    }

    /// Reads one key of `field` from its text.
    ///
    /// # Errors
    /// When the text is no such key; the error says what one looks like and never repeats the text.
    fn key(&self, _field: &str, _text: &str) -> Result<Key, KeyError> {
        Err(KeyError::Unsigned { provider: self.name() })
    }

    /// Proves that the provider sent this request, now.
    ///
    /// # Errors
    /// When it cannot be proven with any of `keys`; what to answer then is [`Provider::refusal`].
    fn verify(&self, _request: Request, _keys: &Keys, _now: Timestamp) -> Result<Verified, VerifyError> {
        Err(VerifyError::Mismatch)
    }

    /// The headers that its signature stands in, none of which may be missing; none where it stands in the body.
    fn proof_headers(&self) -> &'static [&'static str] {
        &[]
    }

    /// What to tell the caller whose request is not proven.
    fn refusal(&self, _error: &VerifyError) -> Refusal {
        Refusal::Retryable
    }

    /// Whether it brings mail that came in. It drops a mail for good when it is told of a mistake of its own (any `4xx`), so
    /// whatever is wrong, it is told to come again.
    fn receives_mail(&self) -> bool {
        false
    }

    /// Reads what the provider says. Total: what is unknown or unreadable is a value, and there is at least one.
    fn parse(&self, verified: &Verified) -> Vec<Parsed>;

    /// A part of the mail that a request tells of, as its URLs name it: there wherever the event has a URL, but where the
    /// content is fetched from the provider. The stored request is the only copy of it. Total.
    fn content(&self, _request: &Request, _part: Part) -> Option<Content> {
        None
    }

    /// The API that content is fetched from which the webhook only names.
    fn api(&self) -> Option<Api> {
        None
    }

    /// What to ask that API, which is at `base`, for first; nothing where the request holds all there is.
    fn to_fetch(&self, _request: &Request, _base: &str) -> Vec<Fetch> {
        Vec::new()
    }

    /// What an answer holds; none where it cannot be read. Total.
    fn fetched(&self, _base: &str, _gives: &Gives, _answer: &[u8]) -> Option<Vec<Fetched>> {
        None
    }

    /// Signs `body` as the provider would, for [`Proof::sign`].
    ///
    /// # Errors
    /// When the secret is not of the shape that [`Provider::key`] takes (SendGrid: its private half), or the body
    /// cannot carry a signature.
    fn sign(&self, _draft: Draft<'_>) -> Result<Signed, KeyError> {
        Err(KeyError::Unsigned { provider: self.name() })
    }

    /// Requests as it sends them, of each of its types and without a time that grows old.
    fn samples(&self) -> Samples;
}

/// One thing that a verified request says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parsed {
    /// One of the eleven.
    Event(Box<Found>),
    /// Understood, and none of the eleven.
    Unmapped {
        /// The provider's own type.
        kind: String,
    },
    /// Understood, and none of the eleven: the state that something is in, to be remembered. An event of the same entity
    /// ([`Found::state`]) happened only if it changed that.
    Snapshot {
        /// The provider's own type.
        kind: String,
        /// The state.
        state: State,
    },
    /// Not understood. Kept raw, to be read again by a later version.
    Unreadable {
        /// Why, in words that repeat nothing of the content.
        reason: String,
    },
}

/// An event, and what makes it the same event when the provider sends it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The provider's own id of the event, or a fingerprint of it: equal for copies, different for different events.
    pub identity: String,
    /// The provider told no time, so `created_at` is that of the receipt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untimed: bool,
    /// Where the provider tells a state and not its change: the event happened only if the state is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// What happened.
    pub event: Event,
}

/// Whether something held at a time: that a domain was verified, that a contact had opted out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What it is the state of: one name for one thing, at one source.
    pub entity: String,
    /// Whether it held.
    pub holds: bool,
    /// When: as the provider tells it, else the receipt.
    pub at: Timestamp,
}

/// A request to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The body, with or without a signature in it.
    pub body: &'a [u8],
    /// The secret, as text: what the config file holds, or for SendGrid the private key (base64 of PKCS#8 DER). Where no
    /// signature proves a source, `USER:PASSWORD` or `ID:SECRET`.
    pub secret: &'a str,
    /// The time to sign with.
    pub now: Timestamp,
    /// Random bytes, for message ids and tokens.
    pub nonce: [u8; 16],
}

/// A signed request.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The headers that the provider sends with it.
    pub headers: Headers,
    /// The body, signature and all.
    pub body: Bytes,
}
