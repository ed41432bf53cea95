//! Any sender that posts `type`, `email_id`, `recipient` and `timestamp`, and signs the body.
//!
//! For users: choose a secret of 16 characters or more and sign the raw body with it: HMAC-SHA256, in hex, with or without
//! `sha256=`, in `X-Webhook-Signature`. One event a request. `type` is any word of [`crate::words`]. What Waypost itself
//! posts in its format `platform` is understood too.
//!
//! Identity: a mail is sent once, whether it is called `queued`, `sending`, `processing` or `sent`, so then it is `email_id`
//! and recipient. Else the event's own `id`, else the fingerprint; without a time, a hash of what the body says.

use jiff::Timestamp;

use crate::samples::samples;
use crate::{Draft, Key, KeyError, KeyField, Keys, Parsed, Provider, Request, Samples, Signed, Verified, VerifyError};

mod parse;
mod sign;
mod verify;

pub(crate) struct Generic;

impl Provider for Generic {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn key_fields(&self) -> &'static [KeyField] {
        &[KeyField {
            name: verify::SIGNING_SECRETS,
            help: "the secret that the sender signs with, a text of 16 characters or more",
        }]
    }

    fn key(&self, _field: &str, text: &str) -> Result<Key, KeyError> {
        Ok(Key::hmac(verify::secret(text)?))
    }

    fn proof_headers(&self) -> &'static [&'static str] {
        &[verify::SIGNATURE]
    }

    fn verify(&self, request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
        verify::verify(request, keys, now)
    }

    fn parse(&self, verified: &Verified) -> Vec<Parsed> {
        vec![parse::parse(verified)]
    }

    fn sign(&self, draft: Draft<'_>) -> Result<Signed, KeyError> {
        sign::sign(draft)
    }

    fn samples(&self) -> Samples {
        samples!("generic":
            "email.sent", "email.delivered", "email.delivery_delayed", "email.opened", "email.clicked",
            "email.bounced", "email.complained", "email.failed", "email.received", "domain.verified",
            "contact.unsubscribed")
    }
}
