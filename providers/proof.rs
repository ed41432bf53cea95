//! The ways in which a source can prove itself, of which it has one: what is missing is never made up for by less.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;

use crate::form::content_type_of;
use crate::{Draft, Headers, KeyError, Keys, Provider, Request, Signed, Verified, VerifyError};

mod basic;
mod oauth;

pub use basic::Login;
pub use oauth::{Client, GrantError, TOKEN_TTL, grant};

const AUTHORIZATION: &str = "authorization";

/// A way to prove who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The provider's signature.
    Signature,
    /// A user and a password (RFC 7617). They prove who called, and nothing of what was said.
    Basic,
    /// A bearer token (RFC 6750), which the caller fetched with its client's secret. It proves as much.
    Oauth,
}

impl Way {
    /// All three, the strongest first.
    pub const ALL: [Self; 3] = [Self::Signature, Self::Basic, Self::Oauth];

    /// Its name in the config file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Basic => "basic",
            Self::Oauth => "oauth",
        }
    }
}

/// What the requests of one source are proven with.
#[derive(Clone, Debug)]
pub enum Proof {
    /// [`Way::Signature`].
    Signature(Keys),
    /// [`Way::Basic`], with any of these.
    Basic(Vec<Login>),
    /// [`Way::Oauth`], for any of these.
    Oauth(Vec<Client>),
}

impl Proof {
    /// Its way.
    pub fn way(&self) -> Way {
        match self {
            Self::Signature(_) => Way::Signature,
            Self::Basic(_) => Way::Basic,
            Self::Oauth(_) => Way::Oauth,
        }
    }

    /// Proves that the provider sent this request, now.
    ///
    /// # Errors
    /// When it cannot be proven in this way.
    pub fn verify(&self, provider: &dyn Provider, request: Request, now: Timestamp) -> Result<Verified, VerifyError> {
        match self {
            Self::Signature(keys) => provider.verify(request, keys, now),
            Self::Basic(logins) => basic::verify(request, logins),
            Self::Oauth(clients) => oauth::verify(request, clients, now),
        }
    }

    /// What the headers alone show of a request to this source, before its body has come. What is right so far may still
    /// fail.
    ///
    /// # Errors
    /// When it cannot be proven in this way, whatever its body is. Of a signature that is missing: when it was made is the
    /// caller's word until it is checked.
    pub fn precheck(
        &self,
        provider: &dyn Provider,
        source: &str,
        headers: &Headers,
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        match self {
            Self::Signature(_) => {
                let is_missing = |name: &&&str| headers.get(name).is_none_or(str::is_empty);
                provider.proof_headers().iter().find(is_missing).map_or(Ok(()), |name| Err(VerifyError::Missing(name)))
            }
            Self::Basic(logins) => basic::check(headers, logins),
            Self::Oauth(clients) => oauth::check(source, headers, clients, now),
        }
    }

    /// Makes `draft` a request that is proven so at the source of this name, for tests, `waypost send` and the demo.
    ///
    /// # Errors
    /// When its secret is of another shape, or no token is granted for it.
    pub fn sign(&self, provider: &dyn Provider, source: &str, draft: Draft<'_>) -> Result<Signed, KeyError> {
        let login = format!("Basic {}", STANDARD.encode(draft.secret));
        let authorization = match self {
            Self::Signature(_) => return provider.sign(draft),
            Self::Basic(_) => login,
            Self::Oauth(clients) => {
                let headers = [(AUTHORIZATION, login)].into_iter().collect();
                let token = grant(source, clients, &headers, b"grant_type=client_credentials", draft.now);
                format!("Bearer {}", token.map_err(|_| KeyError::Shape("`ID:SECRET` of one of its clients"))?)
            }
        };
        let headers =
            [("content-type", content_type_of(draft.body)), (AUTHORIZATION, authorization)].into_iter().collect();
        Ok(Signed { headers, body: Bytes::copy_from_slice(draft.body) })
    }
}

/// What follows the scheme in the one header for credentials.
fn credentials<'a>(headers: &'a Headers, scheme: &str) -> Result<&'a str, VerifyError> {
    let value = headers.get(AUTHORIZATION).ok_or(VerifyError::Missing(AUTHORIZATION))?;
    match value.trim().split_once(' ') {
        Some((given, credentials)) if given.eq_ignore_ascii_case(scheme) => Ok(credentials.trim_start()),
        _ => Err(VerifyError::Malformed(AUTHORIZATION)),
    }
}
