//! Signs as Mailgun does: the signature is a part of the body.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};

use super::verify::signing_key;
use crate::form::FIELDS_MAX;
use crate::verify::hmac_sha256;
use crate::{Draft, Headers, KeyError, Signed};

pub(crate) const SHAPE: KeyError = KeyError::Body("a JSON object, or the fields of a form");

/// Gives the body a new signature: a JSON object in place of one that it has, a form behind all other fields, where it
/// counts. All else in it stays as it is written.
pub(crate) fn sign(draft: Draft<'_>) -> Result<Signed, KeyError> {
    let proof = proof(draft)?;
    let (content_type, body) = if is_form(draft.body) {
        let proof = proof.map(|(name, value)| format!("&{name}={value}")).concat();
        ("application/x-www-form-urlencoded", [draft.body, proof.as_bytes()].concat())
    } else {
        ("application/json", in_json(draft.body, &proof)?)
    };
    let headers = Headers::from_iter([("content-type", content_type), ("user-agent", "mailgun/treq-20.9.0")]);
    Ok(Signed { headers, body: Bytes::from(body) })
}

/// The fields of a signature.
pub(crate) fn proof(draft: Draft<'_>) -> Result<[(&'static str, String); 3], KeyError> {
    let timestamp = draft.now.as_second().to_string();
    // 50 characters, as Mailgun's are.
    let mut token = hex::encode(Sha256::digest(draft.nonce));
    token.truncate(50);
    let signature = hex::encode(hmac_sha256(signing_key(draft.secret)?, &[timestamp.as_bytes(), token.as_bytes()]));
    Ok([("timestamp", timestamp), ("token", token), ("signature", signature)])
}

/// Whether it begins with the name of a field, as no JSON object does, and has room for three more.
fn is_form(body: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let name = body.split(|byte| *byte == b'=').next().unwrap_or_default();
    name.len() < body.len() && name.iter().all(is_plain) && form_urlencoded::parse(body).count() <= FIELDS_MAX - 3
}

fn in_json(body: &[u8], proof: &[(&'static str, String); 3]) -> Result<Vec<u8>, KeyError> {
    let mut body: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).map_err(|_| SHAPE)?;
    let [timestamp, token, signature] = proof.each_ref().map(|(_, value)| value);
    let proof = json!({ "timestamp": timestamp, "token": token, "signature": signature });
    body.insert("signature".into(), to_raw_value(&proof).map_err(|_| SHAPE)?);
    serde_json::to_vec(&body).map_err(|_| SHAPE)
}
