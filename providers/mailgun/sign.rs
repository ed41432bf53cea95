//! Signs as Mailgun does: the signature is a part of the body.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};

use super::verify::signing_key;
use crate::verify::hmac_sha256;
use crate::{Draft, Headers, KeyError, Signed};

/// Gives the body a new `signature`, in place of one that it has. All else in it stays as it is written.
pub(super) fn sign(draft: Draft<'_>) -> Result<Signed, KeyError> {
    const SHAPE: KeyError = KeyError::Body("a JSON object");
    let mut body: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(draft.body).map_err(|_| SHAPE)?;
    let timestamp = draft.now.as_second().to_string();
    // 50 characters, as Mailgun's are.
    let mut token = hex::encode(Sha256::digest(draft.nonce));
    token.truncate(50);
    let signature = hex::encode(hmac_sha256(signing_key(draft.secret)?, &[timestamp.as_bytes(), token.as_bytes()]));
    let signature = json!({ "timestamp": timestamp, "token": token, "signature": signature });
    body.insert("signature".into(), to_raw_value(&signature).map_err(|_| SHAPE)?);
    let body = serde_json::to_vec(&body).map_err(|_| SHAPE)?;
    let headers = Headers::from_iter([("content-type", "application/json"), ("user-agent", "mailgun/treq-20.9.0")]);
    Ok(Signed { headers, body: Bytes::from(body) })
}
