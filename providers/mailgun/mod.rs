//! Mailgun's webhooks: the JSON ones, since 2018, and the forms before them.
//!
//! For users: the key is the account's "HTTP webhook signing key", not an API key; a subaccount's webhooks are also signed
//! with the parent account's. One event a request. Mailgun takes `200` for success and `406` for "never again", and
//! resends on anything else for about eight hours, except perhaps "delivered".
//!
//! The signature covers a timestamp and a token, not the body: the [`crate::ReplayGuard`] stops a captured one from
//! bringing in another body.
//!
//! Identity: `id` with the whole second of the event, for Mailgun promises unique ids within a day only. Not the token:
//! one event posted to several URLs has several. A form has no `id`, and is told by its fingerprint.

use jiff::Timestamp;

use crate::samples::samples;
use crate::{
    Draft, Key, KeyError, KeyField, Keys, Parsed, Provider, Refusal, Request, Samples, Signed, Verified, VerifyError,
};

mod legacy;
mod parse;
pub(crate) mod sign;
pub(crate) mod verify;

pub(crate) struct Mailgun;

impl Provider for Mailgun {
    fn name(&self) -> &'static str {
        "mailgun"
    }

    fn key_fields(&self) -> &'static [KeyField] {
        &[
            KeyField {
                name: verify::SIGNING_KEYS,
                help: "the account's HTTP webhook signing key, from the API security page of Mailgun's dashboard",
            },
            KeyField {
                name: verify::PARENT_SIGNING_KEYS,
                help: "the primary account's HTTP webhook signing key, where the source is a subaccount",
            },
        ]
    }

    fn key(&self, _field: &str, text: &str) -> Result<Key, KeyError> {
        Ok(Key::hmac(verify::signing_key(text)?))
    }

    fn verify(&self, request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
        verify::verify(request, keys, now)
    }

    /// What is not even shaped like a signature never verifies, and `406` saves seven useless retries. Not so a wrong key
    /// or a late arrival: the key may be in rotation.
    fn refusal(&self, error: &VerifyError) -> Refusal {
        match error {
            VerifyError::Missing(_) | VerifyError::Malformed(_) => Refusal::Final,
            VerifyError::Stale { .. } | VerifyError::Mismatch => Refusal::Retryable,
        }
    }

    fn parse(&self, verified: &Verified) -> Vec<Parsed> {
        vec![parse::parse(verified)]
    }

    fn sign(&self, draft: Draft<'_>) -> Result<Signed, KeyError> {
        sign::sign(draft)
    }

    fn samples(&self) -> Samples {
        samples!("mailgun":
            "accepted", "delivered", "failed-temporary", "failed-permanent", "failed-suppress-bounce",
            "opened", "clicked", "complained", "unsubscribed", "rejected", "stored")
    }
}
