//! SendGrid's Inbound Parse: mail that came in, one a request, as a multipart form.
//!
//! For users: attach a webhook security policy with a signature to the parse setting and copy its verification key; without
//! one, put a login into the webhook's URL (`verify = "basic"`). A mail may have 30 MB. Tell a `sendgrid` source of mail sent,
//! not this one.
//!
//! Retries (support.sendgrid.com, "Inbound Parse Webhook"): for 72 hours on `5xx`; on a `4xx`, a `3xx` or a name that is not
//! found, the mail is dropped at once and nobody is told. So what is not proven is answered `503`.
//!
//! The signature is that of the Event Webhook (`twilio/ai`, "twilio-sendgrid-inbound-parse"), over the body as it came.
//! What SendGrid checked (`SPF`, `dkim`, `spam_score`, `spam_report`, `sender_ip`, `envelope`) stands in fields of its own,
//! which no header of the mail can become. Its text can: SendGrid parts all forms at the same boundary. So where a field says
//! two things neither is told, and `truncated` names it; but `spam_score` of a source without the spam check may be anyone's.
//!
//! Identity: Message-ID and envelope, for SendGrid has no id of its own; without a Message-ID, a hash of the fields. There is
//! no time in it but the sender's `Date`, so an event's is that of receipt.

use jiff::Timestamp;

use crate::samples::samples;
use crate::sendgrid::verify::{PUBLIC_KEYS, SIGNATURE, TIMESTAMP, public_key};
use crate::{
    Content, Draft, Key, KeyError, KeyField, Keys, Parsed, Part, Provider, Refusal, Request, Samples, Signed, Verified,
    VerifyError, Way,
};

mod parse;
mod sign;
mod verify;

pub(crate) struct Inbound;

impl Provider for Inbound {
    fn name(&self) -> &'static str {
        "sendgrid-inbound"
    }

    fn key_fields(&self) -> &'static [KeyField] {
        &[KeyField {
            name: PUBLIC_KEYS,
            help: "the verification key, `MFkw…`, of the security policy that the parse setting has",
        }]
    }

    fn ways(&self) -> &'static [Way] {
        &[Way::Signature, Way::Basic]
    }

    fn key(&self, _field: &str, text: &str) -> Result<Key, KeyError> {
        public_key(text)
    }

    fn proof_headers(&self) -> &'static [&'static str] {
        &[SIGNATURE, TIMESTAMP]
    }

    fn verify(&self, request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
        verify::verify(request, keys, now)
    }

    fn receives_mail(&self) -> bool {
        true
    }

    fn refusal(&self, _error: &VerifyError) -> Refusal {
        Refusal::Unavailable
    }

    fn parse(&self, verified: &Verified) -> Vec<Parsed> {
        parse::parse(verified.request())
    }

    fn content(&self, request: &Request, part: Part) -> Option<Content> {
        parse::content(request, part)
    }

    fn sign(&self, draft: Draft<'_>) -> Result<Signed, KeyError> {
        sign::sign(draft)
    }

    fn samples(&self) -> Samples {
        samples!("sendgrid-inbound": "parsed", "parsed-attachments", "raw")
    }
}
