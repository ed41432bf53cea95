//! Svix's signature (`docs.svix.com`, "Verifying manually"): HMAC-SHA256 of `{svix-id}.{svix-timestamp}.{body}`.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};

use crate::verify::{check_fresh, unix_seconds};
use crate::{Headers, KeyError, Keys, Request, Verified, VerifyError, Window};

pub(super) const SIGNING_SECRETS: &str = "signing_secrets";
pub(super) const ID: &str = "svix-id";
pub(super) const TIMESTAMP: &str = "svix-timestamp";
pub(super) const SIGNATURE: &str = "svix-signature";

/// Svix's own tolerance. Each attempt is signed anew, so it is safe across 27 h of retries.
const WINDOW: Window = Window { past: SignedDuration::from_mins(5), future: SignedDuration::from_mins(5) };

pub(super) fn verify(request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
    let id = header(&request.headers, ID)?;
    let timestamp = header(&request.headers, TIMESTAMP)?;
    let signatures = header(&request.headers, SIGNATURE)?;
    // The signed text is parted by dots: an id with one could be read as another id and timestamp.
    if id.contains('.') {
        return Err(VerifyError::Malformed(ID));
    }
    let signed_at = unix_seconds(timestamp, TIMESTAMP)?;
    let signatures = v1(signatures);
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &request.body];
    if !keys.of(SIGNING_SECRETS).iter().any(|key| key.made_any(&signatures, &parts)) {
        return Err(VerifyError::Mismatch);
    }
    // Last, so that "stale" is said of Resend's own requests only.
    check_fresh(signed_at, now, WINDOW)?;
    Ok(Verified::new(request, signed_at))
}

fn header<'a>(headers: &'a Headers, name: &'static str) -> Result<&'a str, VerifyError> {
    headers.get(name).filter(|value| !value.is_empty()).ok_or(VerifyError::Missing(name))
}

/// The signatures of version 1. While a secret is being rotated there are several; `v1a` is another scheme.
fn v1(header: &str) -> Vec<Vec<u8>> {
    header.split(' ').filter_map(|entry| STANDARD.decode(entry.strip_prefix("v1,")?).ok()).collect()
}

/// The key in a secret: strict base64 behind an optional `whsec_`, 24 to 64 bytes (Standard Webhooks).
pub(super) fn secret(text: &str) -> Result<Vec<u8>, KeyError> {
    STANDARD
        .decode(text.strip_prefix("whsec_").unwrap_or(text))
        .ok()
        .filter(|key| (24..=64).contains(&key.len()))
        .ok_or(KeyError::Shape("`whsec_` and the base64 of 24 to 64 bytes"))
}
