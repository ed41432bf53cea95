//! The signature of the Event Webhook, in another window.

use jiff::{SignedDuration, Timestamp};

use crate::sendgrid::verify;
use crate::{Keys, Request, Verified, VerifyError, Window};

/// Twilio does not say whether a retry, up to 72 h after the mail, is signed anew. A copy can do no harm: it is the same mail.
const WINDOW: Window = Window { past: SignedDuration::from_hours(80), future: SignedDuration::from_mins(5) };

pub(super) fn verify(request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
    verify::verify(request, keys, now, WINDOW)
}
