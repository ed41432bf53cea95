//! The signature of the signed Event Webhook (`sendgrid/sendgrid-go`, "helpers/eventwebhook"): ECDSA P-256 with SHA-256
//! over the timestamp header's text and, right behind it, the body: each byte of it, CRLF after each event included.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};

use crate::verify::{check_fresh, sha256, unix_seconds};
use crate::{Headers, Key, KeyError, Keys, Request, Verified, VerifyError, Window};

pub(crate) const PUBLIC_KEYS: &str = "public_keys";
pub(crate) const SIGNATURE: &str = "x-twilio-email-event-webhook-signature";
pub(crate) const TIMESTAMP: &str = "x-twilio-email-event-webhook-timestamp";

/// Twilio does not say whether a retry, up to 24 h after the event, is signed anew. A copy can do no harm: it is the
/// same events with the same identities.
pub(super) const WINDOW: Window = Window { past: SignedDuration::from_hours(25), future: SignedDuration::from_mins(5) };

pub(crate) fn verify(request: Request, keys: &Keys, now: Timestamp, window: Window) -> Result<Verified, VerifyError> {
    let signature = header(&request.headers, SIGNATURE)?;
    let timestamp = header(&request.headers, TIMESTAMP)?;
    let signature = STANDARD.decode(signature).map_err(|_| VerifyError::Malformed(SIGNATURE))?;
    let signed_at = unix_seconds(timestamp, TIMESTAMP)?;
    let digest = sha256(&[timestamp.as_bytes(), &request.body]);
    if !keys.of(PUBLIC_KEYS).iter().any(|key| key.signed(&signature, &digest)) {
        return Err(VerifyError::Mismatch);
    }
    // Last, so that "stale" is said of SendGrid's own requests only.
    check_fresh(signed_at, now, window)?;
    Ok(Verified::new(request, signed_at))
}

fn header<'a>(headers: &'a Headers, name: &'static str) -> Result<&'a str, VerifyError> {
    headers.get(name).filter(|value| !value.is_empty()).ok_or(VerifyError::Missing(name))
}

/// The dashboard's one line of base64, or the same as PEM.
pub(crate) fn public_key(text: &str) -> Result<Key, KeyError> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("-----"));
    let base64: String = lines.flat_map(str::split_whitespace).collect();
    STANDARD
        .decode(base64)
        .ok()
        .and_then(|der| Key::ecdsa_p256(&der))
        .ok_or(KeyError::Shape("the base64 of a P-256 public key (`MFkwEwYHKoZIzj0CAQ…`), or its PEM"))
}
