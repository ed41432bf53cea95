//! Resend.
//!
//! For users: each webhook has its own signing secret (`whsec_…`), shown on its page in the dashboard; two webhooks with
//! one URL sign with two secrets, and a source takes several. One event a request. Resend resends for 27 h and longer by
//! hand, each time signed anew; an endpoint that keeps failing is disabled, so an unknown type is never refused.
//! `email.received` tells of a mail without its text, which is fetched with an API key. `domain.*` and `contact.*` tell all
//! of a domain or contact whenever anything of it has changed; only `contact.topics.updated` tells what has.
//!
//! Identity: the `svix-id` header. It is the same on each attempt and on a replay by hand, and not in the body;
//! `email_id` is one per mail, not one per event.

use jiff::Timestamp;

use crate::samples::samples;
use crate::{
    Api, Auth, Draft, Fetch, Fetched, Gives, Key, KeyError, KeyField, Keys, Parsed, Provider, Request, Samples, Signed,
    Verified, VerifyError,
};

mod fetch;
mod parse;
mod sign;
mod verify;

pub(crate) struct Resend;

impl Provider for Resend {
    fn name(&self) -> &'static str {
        "resend"
    }

    fn key_fields(&self) -> &'static [KeyField] {
        &[KeyField {
            name: verify::SIGNING_SECRETS,
            help: "the webhook's signing secret, `whsec_…`, from its page in Resend's dashboard",
        }]
    }

    fn key(&self, _field: &str, text: &str) -> Result<Key, KeyError> {
        Ok(Key::hmac(&verify::secret(text)?))
    }

    fn proof_headers(&self) -> &'static [&'static str] {
        &[verify::ID, verify::TIMESTAMP, verify::SIGNATURE]
    }

    fn verify(&self, request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
        verify::verify(request, keys, now)
    }

    fn parse(&self, verified: &Verified) -> Vec<Parsed> {
        vec![parse::parse(verified.request())]
    }

    fn api(&self) -> Option<Api> {
        Some(Api { url: "https://api.resend.com", auth: Auth::Bearer })
    }

    fn to_fetch(&self, request: &Request, base: &str) -> Vec<Fetch> {
        fetch::first(request, base)
    }

    fn fetched(&self, base: &str, gives: &Gives, answer: &[u8]) -> Option<Vec<Fetched>> {
        fetch::read(base, gives, answer)
    }

    fn sign(&self, draft: Draft<'_>) -> Result<Signed, KeyError> {
        sign::sign(draft)
    }

    fn samples(&self) -> Samples {
        samples!("resend":
            "email.sent", "email.delivered", "email.opened", "email.clicked", "email.bounced",
            "email.complained", "email.suppressed", "email.received", "contact.topics.updated",
            "email.scheduled")
    }
}
