//! Proofs: keys, constant-time comparison, freshness, and what can be wrong.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::ParsedPublicKey;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// Why a request is not proven. Nothing in it repeats what the sender wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A field of the proof is not there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field of the proof does not have its shape.
    #[error("`{0}` is malformed")]
    Malformed(&'static str),
    /// It was signed too long ago, or in the future.
    #[error("signed {age_s} s before it arrived, outside the window")]
    Stale {
        /// Seconds from signature to arrival; negative when signed in the future.
        age_s: i64,
    },
    /// No configured key made this signature.
    #[error("no configured key made this signature")]
    Mismatch,
}

/// What to tell the caller whose request is not proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Try again: a key may be in rotation, a clock may be off.
    Retryable,
    /// The same to a provider that never tries again what the receiver calls the sender's fault.
    Unavailable,
    /// Do not try again: it can never succeed.
    Final,
}

/// How far a signature's time may be from the present.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// How old it may be.
    pub past: SignedDuration,
    /// How far in the future it may be.
    pub future: SignedDuration,
}

/// Holds a signature's time against the present, both sides bounded.
pub(crate) fn check_fresh(signed_at: Timestamp, now: Timestamp, window: Window) -> Result<(), VerifyError> {
    let age = now.duration_since(signed_at);
    if age <= window.past && age >= -window.future { Ok(()) } else { Err(VerifyError::Stale { age_s: age.as_secs() }) }
}

/// Unix seconds in plain digits, as signature headers carry them.
pub(crate) fn unix_seconds(text: &str, field: &'static str) -> Result<Timestamp, VerifyError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(VerifyError::Malformed(field));
    }
    let seconds = text.parse().map_err(|_| VerifyError::Malformed(field))?;
    Timestamp::from_second(seconds).map_err(|_| VerifyError::Malformed(field))
}

/// One key of a source.
#[derive(Clone)]
pub struct Key {
    /// First bytes of the key's SHA-256: tells keys apart without telling the key.
    id: [u8; 8],
    material: Material,
}

#[derive(Clone)]
enum Material {
    Hmac(Box<[u8]>),
    Ecdsa(std::sync::Arc<ParsedPublicKey>),
}

impl Key {
    /// A shared secret for HMAC-SHA256.
    pub(crate) fn hmac(secret: &[u8]) -> Self {
        Self { id: id_of(secret), material: Material::Hmac(secret.into()) }
    }

    /// A P-256 public key from its DER SubjectPublicKeyInfo; parsed once, for that is most of the cost of a check.
    pub(crate) fn ecdsa_p256(der: &[u8]) -> Option<Self> {
        let key = ParsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1, der).ok()?;
        Some(Self { id: id_of(der), material: Material::Ecdsa(std::sync::Arc::new(key)) })
    }

    /// Tells keys apart without telling the key.
    pub(crate) fn id(&self) -> &[u8; 8] {
        &self.id
    }

    /// Whether this shared secret made one of `signatures` over `parts` put together, compared in constant time. However
    /// many a header lists, the body is hashed once.
    pub(crate) fn made_any(&self, signatures: &[Vec<u8>], parts: &[&[u8]]) -> bool {
        let Material::Hmac(secret) = &self.material else { return false };
        let Some(mac) = mac(secret, parts) else { return false };
        signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    }

    /// Whether this shared secret made `signature` over `parts` put together, compared in constant time.
    pub(crate) fn made(&self, signature: &[u8], parts: &[&[u8]]) -> bool {
        let Material::Hmac(secret) = &self.material else { return false };
        mac(secret, parts).is_some_and(|mac| mac.verify_slice(signature).is_ok())
    }

    /// What this shared secret makes of `parts` put together.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> Vec<u8> {
        match &self.material {
            Material::Hmac(secret) => hmac_sha256(secret, parts),
            Material::Ecdsa(_) => Vec::new(),
        }
    }

    /// Whether the private half of this public key signed what has this digest. However many keys a source has, the
    /// body is hashed once.
    pub(crate) fn signed(&self, signature: &[u8], digest: &digest::Digest) -> bool {
        let Material::Ecdsa(key) = &self.material else { return false };
        key.verify_digest_sig(digest, signature).is_ok()
    }
}

/// SHA-256 of `parts` put together, for [`Key::signed`].
pub(crate) fn sha256(parts: &[&[u8]]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", hex::encode(self.id))
    }
}

/// HMAC-SHA256 over `parts` put together.
pub(crate) fn hmac_sha256(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    mac(secret, parts).map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default()
}

fn mac(secret: &[u8], parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac)
}

fn id_of(key: &[u8]) -> [u8; 8] {
    let mut id = [0; 8];
    id.copy_from_slice(&Sha256::digest(key)[..8]);
    id
}
