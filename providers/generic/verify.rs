//! The signature of the seed documents 001, 002 and 004: HMAC-SHA256 of the body, in hex. It has no time in it, so the
//! event's own bounds how long a copy is good: no longer than its identity is remembered, by which a copy is known.

use jiff::{SignedDuration, Timestamp};

use crate::verify::check_fresh;
use crate::{KeyError, Keys, Request, Verified, VerifyError, Window, fields};

pub(super) const SIGNING_SECRETS: &str = "signing_secrets";
pub(super) const SIGNATURE: &str = "x-webhook-signature";

const SECRET_LEN_MIN: usize = 16;
/// How far a sender's clock may be ahead.
const FUTURE: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn verify(request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
    let signature =
        request.headers.get(SIGNATURE).filter(|value| !value.is_empty()).ok_or(VerifyError::Missing(SIGNATURE))?;
    let signature = hex::decode(signature.strip_prefix("sha256=").unwrap_or(signature))
        .map_err(|_| VerifyError::Malformed(SIGNATURE))?;
    if !keys.of(SIGNING_SECRETS).iter().any(|key| key.made(&signature, &[&request.body])) {
        return Err(VerifyError::Mismatch);
    }
    let body = fields::json(&request.body);
    if let Some(at) = body.as_ref().and_then(|body| fields::rfc3339(&body["timestamp"])) {
        // Remembered from receipt, which may come that much before the event's own time.
        check_fresh(at, now, Window { past: keys.remembered() - FUTURE, future: FUTURE })?;
    }
    Ok(Verified::new(request, None).guarded(Vec::new(), body))
}

/// The secret's text is the key: nothing is decoded.
pub(super) fn secret(text: &str) -> Result<&[u8], KeyError> {
    if text.chars().count() < SECRET_LEN_MIN || text.trim() != text {
        return Err(KeyError::Shape("a text of 16 characters or more, without blanks around it"));
    }
    Ok(text.as_bytes())
}
