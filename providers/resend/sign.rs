//! Signs as Resend does, through Svix.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::verify::{ID, SIGNATURE, TIMESTAMP, secret};
use crate::verify::hmac_sha256;
use crate::{Draft, Headers, KeyError, Signed};

pub(super) fn sign(draft: Draft<'_>) -> Result<Signed, KeyError> {
    let id = format!("msg_{}", hex::encode(draft.nonce));
    let timestamp = draft.now.as_second().to_string();
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", draft.body];
    let signature = format!("v1,{}", STANDARD.encode(hmac_sha256(&secret(draft.secret)?, &parts)));
    let headers = Headers::from_iter([
        ("content-type", "application/json"),
        ("user-agent", "Svix-Webhooks/1.84.0 (sender-9YMgn; +https://www.svix.com/http-sender/)"),
        (ID, &id),
        (TIMESTAMP, &timestamp),
        (SIGNATURE, &signature),
    ]);
    Ok(Signed { headers, body: Bytes::copy_from_slice(draft.body) })
}
