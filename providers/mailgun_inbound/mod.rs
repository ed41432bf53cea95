//! Mailgun's routes: mail that came in, which `forward()` and `store(notify=…)` post as a form.
//!
//! For users: the keys are those of a `mailgun` source. A URL that ends in `mime` gets the mail as it was sent. `store()` names
//! attachments and leaves them with Mailgun for three days. Tell a `mailgun` source of mail sent, not this one.
//!
//! Retries and answers are those of the webhooks: `406` to what is not even shaped like a signature, for Mailgun then stops;
//! to what is not proven otherwise, or cannot be taken apart, `503`, as of all inbound mail.
//!
//! A sender's header fields become fields of the form, under their own names. So of the fields that Mailgun writes behind
//! them (`timestamp`, `token`, `signature`, `message-headers`, the bodies) the last counts, of those that not every mail has
//! only one that stands there beside those of the header, and of those before them (`recipient`, `sender`) the first; an
//! attachment has to be a file. Names and values of the header are read from
//! `message-headers`, and results of SPF, DKIM and the spam filter only from above the topmost `Received`, which Mailgun
//! has put there: whatever a sender has written is below.
//!
//! Identity: Message-ID, recipient and sender, for several routes may match one mail, each with a token of its own; without a
//! Message-ID, a hash of the fields but the signature's. The time is that of the signature.

use jiff::Timestamp;

use crate::mailgun::Mailgun;
use crate::samples::samples;
use crate::{
    Api, Auth, Content, Draft, Fetch, Fetched, Gives, Key, KeyError, KeyField, Keys, Parsed, Part, Provider, Refusal,
    Request, Samples, Signed, Verified, VerifyError,
};

mod attachments;
mod fetch;
mod parse;
mod sign;
mod verify;

pub(crate) struct Inbound;

impl Provider for Inbound {
    fn name(&self) -> &'static str {
        "mailgun-inbound"
    }

    fn key_fields(&self) -> &'static [KeyField] {
        Mailgun.key_fields()
    }

    fn key(&self, field: &str, text: &str) -> Result<Key, KeyError> {
        Mailgun.key(field, text)
    }

    fn verify(&self, request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
        verify::verify(request, keys, now)
    }

    fn receives_mail(&self) -> bool {
        true
    }

    fn refusal(&self, error: &VerifyError) -> Refusal {
        match Mailgun.refusal(error) {
            Refusal::Final if *error != verify::UNREAD => Refusal::Final,
            _ => Refusal::Unavailable,
        }
    }

    fn parse(&self, verified: &Verified) -> Vec<Parsed> {
        vec![parse::parse(verified)]
    }

    fn content(&self, request: &Request, part: Part) -> Option<Content> {
        parse::content(request, part)
    }

    fn api(&self) -> Option<Api> {
        Some(Api { url: "https://api.mailgun.net", auth: Auth::Basic("api") })
    }

    fn to_fetch(&self, request: &Request, base: &str) -> Vec<Fetch> {
        fetch::first(request, base)
    }

    fn fetched(&self, _base: &str, gives: &Gives, answer: &[u8]) -> Option<Vec<Fetched>> {
        fetch::read(gives, answer)
    }

    fn sign(&self, draft: Draft<'_>) -> Result<Signed, KeyError> {
        sign::sign(draft)
    }

    fn samples(&self) -> Samples {
        samples!("mailgun-inbound": "forward", "forward-attachments", "mime", "store")
    }
}
