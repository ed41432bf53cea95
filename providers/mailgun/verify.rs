//! Mailgun's signature (Mailgun, "Securing webhooks"): HMAC-SHA256, in hex, of timestamp and token put together. It sits
//! in the body, so the body is decoded before anything is proven: once, and no deeper than the JSON reader's 128 levels.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::verify::{check_fresh, unix_seconds};
use crate::{Key, KeyError, Keys, ReplayGuard, Request, Verified, VerifyError, Window, fields, identity};

pub(super) const SIGNING_KEYS: &str = "signing_keys";
pub(super) const PARENT_SIGNING_KEYS: &str = "parent_signing_keys";

/// A retry, for eight hours, carries the first attempt's signature: a short window would lose, after an outage, every
/// event of it.
const WINDOW: Window = Window { past: SignedDuration::from_hours(24), future: SignedDuration::from_mins(5) };

/// Tokens have 50 characters; longer ones may come.
const TOKEN_LEN_MAX: usize = 256;

pub(super) fn verify(request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
    let body = fields::json(&request.body).ok_or(VerifyError::Malformed("body"))?;
    let proof = match &body["signature"] {
        Value::Null => return Err(VerifyError::Missing("signature")),
        proof @ Value::Object(_) => proof,
        _ => return Err(VerifyError::Malformed("signature")),
    };
    // A string in every example; the documentation's table of types says integer.
    let timestamp = match &proof["timestamp"] {
        Value::Number(number) => number.to_string(),
        other => present(other, "signature.timestamp")?.to_owned(),
    };
    let signed_at = unix_seconds(&timestamp, "signature.timestamp")?;
    let token = present(&proof["token"], "signature.token")?;
    if token.len() > TOKEN_LEN_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(VerifyError::Malformed("signature.token"));
    }
    let key = signer(proof, keys, &[timestamp.as_bytes(), token.as_bytes()])?;
    // Last, so that "stale" is said of Mailgun's own requests only.
    check_fresh(signed_at, now, WINDOW)?;
    let token = Sha256::new().chain_update(key.id()).chain_update(token).finalize().into();
    let guard = ReplayGuard { token, digest: identity::digest(&body) };
    Ok(Verified::new(request, signed_at).guarded(guard, body))
}

/// The key that made either signature: the account's own, or for a subaccount the parent's.
fn signer<'a>(proof: &Value, keys: &'a Keys, parts: &[&[u8]]) -> Result<&'a Key, VerifyError> {
    let own = ("signature", "signature.signature", keys.of(SIGNING_KEYS));
    let parent = ("parent-signature", "signature.parent-signature", keys.of(PARENT_SIGNING_KEYS));
    let mut error = None;
    for (field, path, keys) in [own, parent] {
        if keys.is_empty() {
            continue;
        }
        match signature(&proof[field], path) {
            Ok(signature) => match keys.iter().find(|key| key.made(&signature, parts)) {
                Some(key) => return Ok(key),
                // One that could be checked decides what is said, for it alone may come right in a retry.
                None => error = Some(VerifyError::Mismatch),
            },
            Err(bad) => error = error.or(Some(bad)),
        }
    }
    Err(error.unwrap_or(VerifyError::Mismatch))
}

fn signature(value: &Value, path: &'static str) -> Result<[u8; 32], VerifyError> {
    let mut signature = [0; 32];
    hex::decode_to_slice(present(value, path)?, &mut signature).map_err(|_| VerifyError::Malformed(path))?;
    Ok(signature)
}

fn present<'a>(value: &'a Value, path: &'static str) -> Result<&'a str, VerifyError> {
    match value {
        Value::Null => Err(VerifyError::Missing(path)),
        Value::String(text) if text.is_empty() => Err(VerifyError::Missing(path)),
        Value::String(text) => Ok(text),
        _ => Err(VerifyError::Malformed(path)),
    }
}

/// The key's text is the key: nothing is decoded. Blanks around it come from copying.
pub(super) fn signing_key(text: &str) -> Result<&[u8], KeyError> {
    if text.is_empty() || text.trim() != text {
        return Err(KeyError::Shape("the HTTP webhook signing key as Mailgun shows it, without blanks around it"));
    }
    Ok(text.as_bytes())
}
