//! A request as received, and the proof that its provider sent it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One request to a source's callback URL, byte for byte.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The source's name in the config file.
    pub source: Arc<str>,
    /// When it came in.
    pub received_at: Timestamp,
    /// Its headers.
    pub headers: Headers,
    /// Its body, as received: signatures cover bytes, not meaning.
    #[serde(skip)]
    pub body: Bytes,
}

/// Header fields in the order received, names in lower case. Clones share them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(Arc<Vec<(String, String)>>);

impl Headers {
    /// The first field of this name (lower case).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Adds a field.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        Arc::make_mut(&mut self.0).push((name.to_ascii_lowercase(), value.into()));
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The same without the fields that carry credentials, which are never stored.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        let is_kept = |(name, _): &&(String, String)| {
            !matches!(name.as_str(), "authorization" | "proxy-authorization" | "cookie")
        };
        if self.0.iter().all(|field| is_kept(&field)) {
            return self.clone();
        }
        Self(Arc::new(self.0.iter().filter(is_kept).cloned().collect()))
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(fields: T) -> Self {
        let field = |(name, value): (N, V)| (name.as_ref().to_ascii_lowercase(), value.into());
        Self(Arc::new(fields.into_iter().map(field).collect()))
    }
}

/// A request whose provider has been proven. Only this crate can make one, so what nobody has verified cannot be
/// parsed.
#[derive(Clone, Debug)]
pub struct Verified {
    request: Request,
    signed_at: Option<Timestamp>,
    guards: Vec<ReplayGuard>,
    decoded: Option<Value>,
    digest: Option<[u8; 32]>,
}

/// A signature that does not cover the body (Mailgun): its token may be used again only with the same content. A request
/// with the signatures of several keys has one for each: any of them alone would prove another body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayGuard {
    /// The token, hashed with the key that verified it: not with anything that the body or the URL says.
    pub token: [u8; 32],
    /// SHA-256 of the decoded fields, or of the body where it cannot be decoded.
    pub digest: [u8; 32],
}

impl Verified {
    pub(crate) fn new(request: Request, signed_at: impl Into<Option<Timestamp>>) -> Self {
        Self { request, signed_at: signed_at.into(), guards: Vec::new(), decoded: None, digest: None }
    }

    pub(crate) fn guarded(self, guards: Vec<ReplayGuard>, decoded: Option<Value>) -> Self {
        Self { guards, decoded, ..self }
    }

    pub(crate) fn told(self, digest: Option<[u8; 32]>) -> Self {
        Self { digest, ..self }
    }

    /// A request that was verified when it was stored, read back to be parsed again. Its signature is long stale.
    pub fn restored(request: Request) -> Self {
        Self { request, signed_at: None, guards: Vec::new(), decoded: None, digest: None }
    }

    /// What was received.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Takes the request out, to be stored.
    pub fn into_request(self) -> Request {
        self.request
    }

    /// When the provider signed it; absent where the proof does not tell, and on a restored request.
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.signed_at
    }

    /// What must be remembered before anything is stored, where the signature does not cover the body.
    pub fn guards(&self) -> &[ReplayGuard] {
        &self.guards
    }

    /// SHA-256 of what it says, but for the proof, where the same may come in other bytes: a form that was composed anew has
    /// another boundary.
    pub fn digest(&self) -> Option<&[u8; 32]> {
        self.digest.as_ref()
    }

    /// The decoded body, where verifying had to decode it, and could.
    pub(crate) fn decoded(&self) -> Option<&Value> {
        self.decoded.as_ref()
    }
}
