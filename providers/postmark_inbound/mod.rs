//! Postmark's inbound webhook: mail that came in.
//!
//! For users: Postmark signs nothing, so put a login into the webhook's URL. One mail a request, with its attachments in it,
//! which may be 35 MB together (postmarkapp.com, "Attachment and Email Size Limits") and a third more as base64: raise
//! `server.mail_bytes_max` for that. Tell a `postmark` source of mail sent, not this one.
//!
//! Retries (the same, "Understanding Inbound Webhook Retries"): ten in ten and a half hours, on all but `200`, and none
//! after `403`; what is not taken then can be sent again by hand. Every failure is answered `503`, as of all inbound mail.
//!
//! Identity: `MessageID`, which is Postmark's own of a mail taken in, the same in each retry. It is not the mail's
//! Message-ID, which is among `Headers`, and which two recipients' copies share.
//!
//! There is no time in it but the sender's `Date`, so an event's is that of receipt. Nor is there a sender of the
//! envelope: `Return-Path`, among the headers, may be the sender's own word. Postmark writes what it checked above what
//! the sender wrote: the first header of each name counts. The mail as it was sent comes with it if the server's settings
//! say "Include raw email content".

use crate::samples::samples;
use crate::{Content, Parsed, Part, Provider, Refusal, Request, Samples, Verified, VerifyError, Way};

mod parse;

pub(crate) struct Inbound;

impl Provider for Inbound {
    fn name(&self) -> &'static str {
        "postmark-inbound"
    }

    fn ways(&self) -> &'static [Way] {
        &[Way::Basic]
    }

    fn receives_mail(&self) -> bool {
        true
    }

    fn refusal(&self, _error: &VerifyError) -> Refusal {
        Refusal::Unavailable
    }

    fn parse(&self, verified: &Verified) -> Vec<Parsed> {
        vec![parse::parse(verified.request())]
    }

    fn content(&self, request: &Request, part: Part) -> Option<Content> {
        parse::content(request, part)
    }

    fn samples(&self) -> Samples {
        samples!("postmark-inbound": "inbound", "inbound-attachments")
    }
}
