//! The ways in which a source can prove itself, of which it has one: what is missing is never made up for by less.

use jiff::Timestamp;

use crate::{Headers, Keys, Provider, Request, Verified, VerifyError};

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
}

/// What follows the scheme in the one header for credentials.
fn credentials<'a>(headers: &'a Headers, scheme: &str) -> Result<&'a str, VerifyError> {
    let value = headers.get(AUTHORIZATION).ok_or(VerifyError::Missing(AUTHORIZATION))?;
    match value.trim().split_once(' ') {
        Some((given, credentials)) if given.eq_ignore_ascii_case(scheme) => Ok(credentials.trim_start()),
        _ => Err(VerifyError::Malformed(AUTHORIZATION)),
    }
}
