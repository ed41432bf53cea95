//! Signs as a sender of such events does.

use bytes::Bytes;

use super::verify::{SIGNATURE, secret};
use crate::verify::hmac_sha256;
use crate::{Draft, Headers, KeyError, Signed};

pub(super) fn sign(draft: Draft<'_>) -> Result<Signed, KeyError> {
    let signature = hex::encode(hmac_sha256(secret(draft.secret)?, &[draft.body]));
    let headers = Headers::from_iter([
        ("content-type", "application/json"),
        ("user-agent", "generic/1.0"),
        (SIGNATURE, &signature),
    ]);
    Ok(Signed { headers, body: Bytes::copy_from_slice(draft.body) })
}
