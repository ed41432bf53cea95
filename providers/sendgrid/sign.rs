//! Signs as SendGrid does.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::verify::{SIGNATURE, TIMESTAMP};
use crate::{Draft, Headers, KeyError, Signed};

/// The private key never leaves SendGrid: this takes one of ours, as the base64 of PKCS#8 DER.
///
/// An ECDSA signature has a random number in it, so two of one body differ. Both verify.
pub(crate) fn sign(draft: Draft<'_>) -> Result<Signed, KeyError> {
    const SHAPE: KeyError = KeyError::Shape("the base64 of a P-256 private key in PKCS#8");
    let der = STANDARD.decode(draft.secret).map_err(|_| SHAPE)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der).map_err(|_| SHAPE)?;
    let timestamp = draft.now.as_second().to_string();
    let signature = pair.sign(&SystemRandom::new(), &[timestamp.as_bytes(), draft.body].concat()).map_err(|_| SHAPE)?;
    let headers = Headers::from_iter([
        ("content-type", "application/json;charset=utf-8"),
        ("user-agent", "SendGrid Event API"),
        (TIMESTAMP, &timestamp),
        (SIGNATURE, &STANDARD.encode(signature)),
    ]);
    Ok(Signed { headers, body: Bytes::copy_from_slice(draft.body) })
}
