//! Recorded requests of each provider, and how to sign one anew.

use hyper::body::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use waypost_providers::{Draft, Headers, Provider};

use super::{Failure, nonce};

/// One provider's recordings: its source, and its cases by name.
pub(super) struct Recordings {
    /// The provider's name.
    pub(super) provider: &'static str,
    source: &'static str,
    cases: &'static [(&'static str, &'static [u8])],
}

macro_rules! recordings {
    ($provider:literal: $($case:literal),*) => {
        Recordings {
            provider: $provider,
            source: include_str!(concat!("../../fixtures/", $provider, "/source.toml")),
            cases: &[$(($case, include_bytes!(concat!("../../fixtures/", $provider, "/", $case, ".http")))),*],
        }
    };
}

/// What the demo posts, in order, and what `waypost send` knows by name.
pub(super) const RECORDINGS: [Recordings; 4] = [
    recordings!("resend": "email.sent", "email.delivered", "email.opened", "email.clicked", "email.bounced",
        "email.complained", "email.suppressed", "email.received", "contact.topics.updated", "email.scheduled"),
    recordings!("sendgrid": "processed", "delivered", "deferred", "bounce", "bounce-blocked", "dropped", "open",
        "click", "spamreport", "unsubscribe", "group_resubscribe"),
    recordings!("mailgun": "accepted", "delivered", "failed-temporary", "failed-permanent", "failed-suppress-bounce",
        "opened", "clicked", "complained", "unsubscribed", "rejected", "stored"),
    // Those without a time, which would soon be too old.
    recordings!("generic": "email.sent", "email.delivered", "email.delivery_delayed", "email.opened", "email.clicked",
        "email.bounced", "email.complained", "email.failed", "email.received", "domain.verified", "contact.unsubscribed"),
];

/// A recording's `source.toml`.
#[derive(Deserialize)]
pub(super) struct Source {
    /// What signs as the provider would.
    pub(super) secret: String,
    #[serde(flatten)]
    rest: toml::Table,
}

impl Source {
    /// The keys of a source that believes it.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, &toml::Value)> {
        self.rest.iter().filter(|(_, value)| value.is_array()).map(|(name, value)| (name.as_str(), value))
    }
}

impl Recordings {
    /// The recordings of this provider.
    pub(super) fn of(provider: &str) -> Option<&'static Self> {
        RECORDINGS.iter().find(|recordings| recordings.provider == provider)
    }

    /// The names of its cases, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.cases.iter().map(|(name, _)| *name)
    }

    /// The body of a case.
    pub(super) fn body(&self, name: &str) -> Option<&'static [u8]> {
        let (_, request) = self.cases.iter().find(|(known, _)| *known == name)?;
        let end = request.windows(4).position(|window| window == b"\r\n\r\n")?;
        Some(&request[end + 4..])
    }

    /// Its source.
    pub(super) fn source(&self) -> Result<Source, Failure> {
        Ok(toml::from_str(self.source)?)
    }
}

/// A request ready to be posted, signed now.
pub(super) fn signed(
    provider: &dyn Provider,
    url: &str,
    body: &[u8],
    secret: &str,
    now: Timestamp,
) -> Result<http::Request<Bytes>, Failure> {
    let signed = provider.sign(Draft { body, secret, now, nonce: nonce()? })?;
    Ok(request(url, &signed.headers, signed.body)?)
}

/// A request with these headers.
pub(super) fn request(url: &str, headers: &Headers, body: Bytes) -> http::Result<http::Request<Bytes>> {
    let blank = http::Request::post(url);
    headers.iter().fold(blank, |request, (name, value)| request.header(name, value)).body(body)
}
