//! SendGrid's Event Webhook.
//!
//! For users: turn on "Signed Event Webhook" and copy the verification key; each Event Webhook has its own, and turning
//! signing off and on makes a new one, so a source takes several. Events come in batches, posted every 30 s or 768 kB,
//! and again for 24 h on any answer but 2xx; a batch is taken whole. Categories become `tags`, custom arguments `metadata`.
//! There is no subject and no sender in it. Instead of signing, SendGrid can fetch a token and show it (OAuth), or send the
//! user and password of its URL; neither proves what it posts with them.
//!
//! Identity: `sg_event_id`. It names the event itself, not the attempt to post it. Some unsubscribes lack it; those are
//! told by their fingerprint.

use jiff::Timestamp;

use crate::samples::samples;
use crate::{
    Draft, Key, KeyError, KeyField, Keys, Parsed, Provider, Request, Samples, Signed, Verified, VerifyError, Way,
};

mod parse;
pub(crate) mod sign;
pub(crate) mod verify;

pub(crate) struct SendGrid;

impl Provider for SendGrid {
    fn name(&self) -> &'static str {
        "sendgrid"
    }

    fn key_fields(&self) -> &'static [KeyField] {
        &[KeyField {
            name: verify::PUBLIC_KEYS,
            help: "the verification key of the signed Event Webhook, `MFkw…`, from its page in SendGrid's dashboard",
        }]
    }

    fn ways(&self) -> &'static [Way] {
        &Way::ALL
    }

    fn key(&self, _field: &str, text: &str) -> Result<Key, KeyError> {
        verify::public_key(text)
    }

    fn proof_headers(&self) -> &'static [&'static str] {
        &[verify::SIGNATURE, verify::TIMESTAMP]
    }

    fn verify(&self, request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
        verify::verify(request, keys, now, verify::WINDOW)
    }

    fn parse(&self, verified: &Verified) -> Vec<Parsed> {
        parse::parse(verified.request())
    }

    fn sign(&self, draft: Draft<'_>) -> Result<Signed, KeyError> {
        sign::sign(draft)
    }

    fn samples(&self) -> Samples {
        samples!("sendgrid":
            "processed", "delivered", "deferred", "bounce", "bounce-blocked", "dropped", "open",
            "click", "spamreport", "unsubscribe", "group_resubscribe")
    }
}
