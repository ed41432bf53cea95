//! Postmark's webhooks of mail sent: Delivery, Bounce, SpamComplaint, Open, Click and SubscriptionChange.
//!
//! For users: Postmark signs nothing (`ActiveCampaign/postmark-skills`, "Webhook Security"), so put a login into the
//! webhook's URL, or into its basic auth. One event a request. Saving a webhook posts an example of each type, which has to
//! be answered `200`: start the gateway first. Each message stream has webhooks of its own; they may share a URL. The
//! tag of a mail becomes its one tag. Inbound mail is posted by another webhook, for a `postmark-inbound` source.
//!
//! Retries (the same, "Postmark Webhooks", 2026): after 1, 5, 10, 10, 10 and 15 minutes, on `5xx`, `408`, `429` and when
//! nobody answers. Any other `4xx` drops the event for good, and a type that keeps failing is paused until its webhook is
//! verified again. So a wrong login is answered `503`: it may be one that is being changed.
//!
//! Identity: of a bounce or a complaint its `ID`, which names a record of Postmark's Bounce API. Nothing else has an id of
//! its own: `MessageID` is one per mail (postmarkapp.com, "Email API"), so the others are told by their fingerprint: mail,
//! recipient, a time of seven decimals that no retry changes, link and stream. Not `X-PM-Webhook-Trace-Id`: it is the
//! same in all retries of one request, but nothing says that it is the same at two webhooks that tell of one event, and it
//! came in 2026.

use crate::samples::samples;
use crate::{Parsed, Provider, Refusal, Samples, Verified, VerifyError, Way};

mod parse;

pub(crate) struct Postmark;

impl Provider for Postmark {
    fn name(&self) -> &'static str {
        "postmark"
    }

    fn ways(&self) -> &'static [Way] {
        &[Way::Basic]
    }

    fn refusal(&self, _error: &VerifyError) -> Refusal {
        Refusal::Unavailable
    }

    fn parse(&self, verified: &Verified) -> Vec<Parsed> {
        vec![parse::parse(verified.request())]
    }

    fn samples(&self) -> Samples {
        samples!("postmark":
            "delivery", "bounce", "bounce-soft", "bounce-blocked", "bounce-smtp-api-error", "bounce-auto-responder",
            "spam-complaint", "open", "click", "subscription-change", "subscription-change-reactivated")
    }
}
