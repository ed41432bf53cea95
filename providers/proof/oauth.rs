//! OAuth 2.0, client credentials (RFC 6749, section 4.4): the provider fetches a token with its client's secret, and shows
//! it with each request.
//!
//! A token is the second it was made in and an HMAC of that, source and client, keyed by the client's secret. So nothing is
//! stored, and what one gateway gives all accept, also after a restart, until the client is taken out of the config.

use jiff::{SignedDuration, Timestamp};

use super::basic::{self, Login};
use super::{AUTHORIZATION, credentials};
use crate::verify::{check_fresh, unix_seconds};
use crate::{Headers, KeyError, Request, Verified, VerifyError, Window};

/// How long a token is good.
pub const TOKEN_TTL: SignedDuration = SignedDuration::from_hours(1);
/// The clocks of two gateways may differ by so much.
const WINDOW: Window = Window { past: TOKEN_TTL, future: SignedDuration::from_mins(5) };

/// Who may fetch tokens.
#[derive(Clone, Debug)]
pub struct Client {
    id: String,
    secret: crate::Key,
    login: Login,
}

impl Client {
    /// Of its id and secret.
    ///
    /// # Errors
    /// When the id cannot be told from the secret, or the secret is short.
    pub fn new(id: &str, secret: &str) -> Result<Self, KeyError> {
        let login = Login::new(id, secret).map_err(|_| {
            KeyError::Shape("an id of visible ASCII without `:`, and a secret of 16 characters or more")
        })?;
        Ok(Self { id: id.to_owned(), secret: crate::Key::hmac(secret.as_bytes()), login })
    }

    fn token(&self, source: &str, now: Timestamp) -> String {
        let made_at = now.as_second().to_string();
        let mac = self.secret.mac(&parts(source, &self.id, &made_at));
        format!("{made_at}.{}", hex::encode(mac))
    }
}

/// Neither a source's name nor a client's id has a zero byte, so no two read alike.
fn parts<'a>(source: &'a str, client: &'a str, made_at: &'a str) -> [&'a [u8]; 6] {
    [b"waypost token\0", source.as_bytes(), b"\0", client.as_bytes(), b"\0", made_at.as_bytes()]
}

pub(super) fn verify(request: Request, clients: &[Client], now: Timestamp) -> Result<Verified, VerifyError> {
    check(&request.source, &request.headers, clients, now).map(|()| Verified::new(request, None))
}

pub(super) fn check(source: &str, headers: &Headers, clients: &[Client], now: Timestamp) -> Result<(), VerifyError> {
    let token = credentials(headers, "bearer")?;
    let (made_at, mac) = token.split_once('.').ok_or(VerifyError::Malformed(AUTHORIZATION))?;
    let mac = hex::decode(mac).map_err(|_| VerifyError::Malformed(AUTHORIZATION))?;
    let made = |client: &Client| client.secret.made(&mac, &parts(source, &client.id, made_at));
    if !clients.iter().any(made) {
        return Err(VerifyError::Mismatch);
    }
    check_fresh(unix_seconds(made_at, AUTHORIZATION)?, now, WINDOW)
}

/// Why no token is given, in the words of RFC 6749, section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// A parameter is missing, or there twice.
    #[error("invalid_request")]
    InvalidRequest,
    /// Tokens are given for client credentials only.
    #[error("unsupported_grant_type")]
    UnsupportedGrantType,
    /// No client has this id and secret.
    #[error("invalid_client")]
    InvalidClient,
}

/// A token of this source for the client that asks: with Basic authentication, or `client_id` and `client_secret` in the
/// form.
///
/// # Errors
/// What is wrong with the request.
pub fn grant(
    source: &str,
    clients: &[Client],
    headers: &Headers,
    body: &[u8],
    now: Timestamp,
) -> Result<String, GrantError> {
    let field = |wanted: &str| {
        let mut values = form_urlencoded::parse(body).filter(|(name, _)| name == wanted).map(|(_, value)| value);
        let value = values.next();
        if values.next().is_some() { Err(GrantError::InvalidRequest) } else { Ok(value) }
    };
    match field("grant_type")?.as_deref() {
        Some("client_credentials") => {}
        Some(_) => return Err(GrantError::UnsupportedGrantType),
        None => return Err(GrantError::InvalidRequest),
    }
    let in_form = field("client_id")?.zip(field("client_secret")?);
    let given = match (headers.get(AUTHORIZATION), in_form) {
        (Some(_), Some(_)) => return Err(GrantError::InvalidRequest),
        (Some(_), None) => {
            let given = basic::given(headers).map_err(|_| GrantError::InvalidClient)?;
            // The RFC has both url-encoded in the header; not every client does so.
            vec![decoded(&given), given]
        }
        (None, Some((id, secret))) => vec![format!("{id}:{secret}").into_bytes()],
        (None, None) => return Err(GrantError::InvalidClient),
    };
    let client = clients.iter().find(|client| given.iter().any(|given| client.login.is(given)));
    client.map(|client| client.token(source, now)).ok_or(GrantError::InvalidClient)
}

/// What an url-encoded text stands for.
fn decoded(text: &[u8]) -> Vec<u8> {
    let value = [b"=", text].concat();
    form_urlencoded::parse(&value).next().map(|(_, value)| value.into_owned().into_bytes()).unwrap_or_default()
}
