//! Mailgun's signature (Mailgun, "Securing webhooks"): HMAC-SHA256, in hex, of timestamp and token put together. It sits
//! in the body, so the body is decoded before anything is proven: once, and no deeper than the JSON reader's 128 levels. One that
//! cannot be decoded is read for its signature alone.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::legacy;
use crate::form::Form;
use crate::verify::{check_fresh, unix_seconds};
use crate::{Key, KeyError, Keys, ReplayGuard, Request, Verified, VerifyError, Window, fields, identity};

pub(super) const SIGNING_KEYS: &str = "signing_keys";
pub(super) const PARENT_SIGNING_KEYS: &str = "parent_signing_keys";

/// A retry, for eight hours, carries the first attempt's signature: a short window would lose, after an outage, every
/// event of it.
const WINDOW: Window = Window { past: SignedDuration::from_hours(24), future: SignedDuration::from_mins(5) };

/// Tokens have 50 characters; longer ones may come.
const TOKEN_LEN_MAX: usize = 256;

pub(crate) fn verify(request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
    let body = decoded(&request);
    let proof = match &body {
        Some(body) => body["signature"].clone(),
        None => proof_alone(&request.body).ok_or(VerifyError::Malformed("body"))?,
    };
    let (signed_at, guards) = proven(&proof, keys, now, || match &body {
        Some(body) => identity::digest(body),
        None => Sha256::new().chain_update(b"raw").chain_update(&request.body).finalize().into(),
    })?;
    Ok(Verified::new(request, signed_at).guarded(guards, body))
}

/// When this was signed, and what must be remembered of it, once it is proven. `digest` is of all that was said with it.
pub(crate) fn proven(
    proof: &Value,
    keys: &Keys,
    now: Timestamp,
    digest: impl FnOnce() -> [u8; 32],
) -> Result<(Timestamp, Vec<ReplayGuard>), VerifyError> {
    match proof {
        Value::Null => return Err(VerifyError::Missing("signature")),
        Value::Object(_) => {}
        _ => return Err(VerifyError::Malformed("signature")),
    }
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
    let signers = signers(proof, keys, &[timestamp.as_bytes(), token.as_bytes()])?;
    // Last, so that "stale" is said of Mailgun's own requests only.
    check_fresh(signed_at, now, WINDOW)?;
    let digest = digest();
    let token = |key: &Key| Sha256::new().chain_update(key.id()).chain_update(token).finalize().into();
    Ok((signed_at, signers.into_iter().map(|key| ReplayGuard { token: token(key), digest }).collect()))
}

/// What a request says, in the shape of the JSON webhooks.
pub(crate) fn decoded(request: &Request) -> Option<Value> {
    let Some(form) = Form::read(request) else { return fields::json(&request.body) };
    let fields: Vec<_> = form.fields().iter().map(|field| (field.name.clone(), field.text().into_owned())).collect();
    Some(legacy::decoded(&fields))
}

/// `signature` of a body that cannot be decoded as a whole: such a body is kept too, if it is Mailgun's.
fn proof_alone(body: &[u8]) -> Option<Value> {
    let body = String::from_utf8_lossy(body);
    let body: BTreeMap<String, &RawValue> = serde_json::from_str(&body).ok()?;
    body.get("signature").map_or(Some(Value::Null), |proof| fields::value(proof.get()))
}

/// The keys that made the signatures of this request, once it is proven by the account's own or, for a subaccount, by the
/// parent's. All of them, whichever field it stands in: each signature could be sent again without the other, or in its
/// place.
fn signers<'a>(proof: &Value, keys: &'a Keys, parts: &[&[u8]]) -> Result<Vec<&'a Key>, VerifyError> {
    let own = (signature(&proof["signature"], "signature.signature"), keys.of(SIGNING_KEYS));
    let parent_signature = signature(&proof["parent-signature"], "signature.parent-signature");
    let parent = (parent_signature, keys.of(PARENT_SIGNING_KEYS));
    let (mut is_proven, mut error) = (false, None);
    for (signature, keys) in [&own, &parent] {
        match signature {
            _ if keys.is_empty() => {}
            Ok(signature) if keys.iter().any(|key| key.made(signature, parts)) => is_proven = true,
            // One that could be checked decides what is said, for it alone may come right in a retry.
            Ok(_) => error = Some(VerifyError::Mismatch),
            Err(bad) => error = error.or_else(|| Some(bad.clone())),
        }
    }
    if !is_proven {
        return Err(error.unwrap_or(VerifyError::Mismatch));
    }
    let made_any = |key: &&Key| [&own.0, &parent.0].into_iter().flatten().any(|made| key.made(made, parts));
    let mut signers: Vec<_> = own.1.iter().chain(parent.1).filter(made_any).collect();
    signers.sort_unstable_by_key(|key| *key.id());
    signers.dedup_by_key(|key| *key.id());
    Ok(signers)
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
