//! Texts that no log and no error may repeat, and what a secret to sign with must be.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A secret's text. Printing it for debugging prints none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The text itself: to sign with, never to show.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What leads a secret whose key is base64.
const KEY_PREFIX: &str = "whsec_";
/// Bytes that a base64 key may have.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// What leads the private half of an Ed25519 key (Standard Webhooks, "Signature scheme").
const PRIVATE_PREFIX: &str = "whsk_";
/// What leads the public half.
const PUBLIC_PREFIX: &str = "whpk_";
/// Bytes of the seed that an Ed25519 key is made of. Some write the public key right behind it (RFC 8032 libraries, NaCl).
const SEED_LEN: usize = 32;

/// What an endpoint's requests are signed with. Never shown.
#[derive(Clone, Debug)]
pub struct SigningSecret {
    text: Secret,
    holds: Holds,
    /// Of the text and of the key, made once: that is hashing, too. Not before they are used, for they are large.
    macs: [OnceLock<Arc<hmac::Key>>; 2],
}

/// What a secret's text holds.
#[derive(Clone)]
enum Holds {
    Text,
    Key(Arc<[u8]>),
    Pair(Arc<Ed25519KeyPair>),
}

/// A secret that cannot be signed with. The text does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Base64 of too few or too many bytes.
    #[error("a secret of `whsec_` and base64 must hold 24 to 64 bytes; this one holds {0}")]
    KeyLength(usize),
    /// Too short a text.
    #[error("a secret must be `whsec_` and base64 of 24 to 64 bytes, or a text of 16 characters or more")]
    TooShort,
    /// No Ed25519 key, though it begins as one.
    #[error("a private key must be `whsk_` and base64 of its 32-byte seed, or of the seed and the public key of it")]
    PrivateKey,
    /// The half that receivers have.
    #[error("a public key (`whpk_`) signs nothing; give the private key (`whsk_`)")]
    PublicKey,
}

impl SigningSecret {
    /// Characters that a text secret has at least.
    pub const TEXT_LEN_MIN: usize = 16;

    /// Reads a secret. `whsec_` and strict base64 (the padded standard alphabet) is a key of 24 to 64 bytes, `whsk_` and
    /// strict base64 the private half of an Ed25519 key; anything else is a text of 16 characters or more, which signs
    /// only the schemes that are keyed by text.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let holds = if let Some(encoded) = text.strip_prefix(PRIVATE_PREFIX) {
            Holds::Pair(Arc::new(pair(encoded).ok_or(SecretError::PrivateKey)?))
        } else if text.starts_with(PUBLIC_PREFIX) {
            return Err(SecretError::PublicKey);
        } else {
            match text.strip_prefix(KEY_PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok()) {
                Some(key) if !KEY_BYTES.contains(&key.len()) => return Err(SecretError::KeyLength(key.len())),
                None if text.chars().count() < Self::TEXT_LEN_MIN => return Err(SecretError::TooShort),
                Some(key) => Holds::Key(key.into()),
                None => Holds::Text,
            }
        };
        Ok(Self::of(text, holds))
    }

    fn of(text: &str, holds: Holds) -> Self {
        Self { text: text.into(), holds, macs: Default::default() }
    }

    /// A secret of these random bytes: `whsec_` and their base64.
    pub fn generated(random: [u8; 24]) -> Self {
        let text = format!("{KEY_PREFIX}{}", STANDARD.encode(random));
        Self::of(&text, Holds::Key(random.into()))
    }

    /// Its text as given.
    pub fn text(&self) -> &str {
        self.text.expose()
    }

    /// Its text, if it is a secret that both sides have.
    pub fn shared(&self) -> Option<&str> {
        if matches!(self.holds, Holds::Pair(_)) { None } else { Some(self.text()) }
    }

    /// What signs `drin`, `hex` and `sha256`: they are keyed by [`SigningSecret::shared`].
    pub fn shared_mac(&self) -> Option<&hmac::Key> {
        self.shared().map(|text| mac(&self.macs[0], text.as_bytes()))
    }

    /// The bytes of its base64. None if it is a text or a private key.
    pub fn key(&self) -> Option<&[u8]> {
        if let Holds::Key(bytes) = &self.holds { Some(bytes) } else { None }
    }

    /// What signs `standard` and `svix`: they are keyed by [`SigningSecret::key`].
    pub fn key_mac(&self) -> Option<&hmac::Key> {
        self.key().map(|key| mac(&self.macs[1], key))
    }

    /// The key that signs `ed25519`.
    pub fn private(&self) -> Option<&Ed25519KeyPair> {
        if let Holds::Pair(pair) = &self.holds { Some(pair) } else { None }
    }

    /// What the receiver of `ed25519` verifies with: `whpk_` and base64. It may be shown.
    pub fn public_key(&self) -> Option<String> {
        self.private().map(|pair| format!("{PUBLIC_PREFIX}{}", STANDARD.encode(pair.public_key())))
    }
}

impl PartialEq for SigningSecret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SigningSecret {}

fn mac<'a>(made: &'a OnceLock<Arc<hmac::Key>>, key: &[u8]) -> &'a hmac::Key {
    made.get_or_init(|| Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
}

fn pair(encoded: &str) -> Option<Ed25519KeyPair> {
    let bytes = STANDARD.decode(encoded).ok()?;
    let (seed, public) = bytes.split_at_checked(SEED_LEN)?;
    let read = if public.is_empty() {
        Ed25519KeyPair::from_seed_unchecked(seed)
    } else {
        Ed25519KeyPair::from_seed_and_public_key(seed, public)
    };
    read.ok()
}

impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holds(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_24_to_64_bytes_and_a_text_16_characters() {
        let key = |bytes: usize| SigningSecret::parse(&format!("whsec_{}", STANDARD.encode(vec![7; bytes])));
        for (bytes, is_good) in [(23, false), (24, true), (64, true), (65, false)] {
            let expected = if is_good { Ok(Some(bytes)) } else { Err(SecretError::KeyLength(bytes)) };
            assert_eq!(key(bytes).map(|secret| secret.key().map(<[u8]>::len)), expected);
        }
        assert_eq!(SigningSecret::parse("fifteen letters"), Err(SecretError::TooShort));
        for text in ["sixteen letters!", "whsec_your_secret_key_here"] {
            let secret = SigningSecret::parse(text).unwrap();
            assert_eq!((secret.text(), secret.key()), (text, None));
        }
    }

    #[test]
    fn a_generated_secret_reads_as_itself() {
        let secret = SigningSecret::generated([255; 24]);
        assert_eq!(secret.text(), "whsec_////////////////////////////////");
        assert_eq!(SigningSecret::parse(secret.text()), Ok(secret));
    }

    #[test]
    fn a_secret_is_never_repeated() {
        let error = SigningSecret::parse("hunter2hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let printed = format!("{:?}", SigningSecret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap());
        assert!(!printed.contains("C2FV") && !printed.contains("11"), "{printed}");
    }

    /// The first key of the Go library of Standard Webhooks' own tests.
    const SEED: &str = "V0VCSE9PS0FTWU1NRVRSSUNURVNUUFJJVkFURUtFWTE=";

    #[test]
    fn a_private_key_is_its_seed_with_or_without_the_public_key_behind_it() {
        let short = SigningSecret::parse(&format!("whsk_{SEED}")).unwrap();
        let public = short.public_key().unwrap();
        let mut both = STANDARD.decode(SEED).unwrap();
        both.extend(STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap());
        let long = |bytes: &[u8]| SigningSecret::parse(&format!("whsk_{}", STANDARD.encode(bytes)));
        assert_eq!(both.len(), 64);
        assert_eq!(long(&both).unwrap().public_key().unwrap(), public);
        assert_eq!((short.key(), short.shared()), (None, None));
        both[63] ^= 1;
        for wrong in [&both[..], &both[..31], &both[..33]] {
            assert_eq!(long(wrong), Err(SecretError::PrivateKey));
        }
        assert_eq!(SigningSecret::parse("whsk_your_private_key_here"), Err(SecretError::PrivateKey));
        assert_eq!(SigningSecret::parse(&public), Err(SecretError::PublicKey));
        let printed = format!("{short:?}");
        assert!(!printed.contains("V0VC") && !printed.contains(&public), "{printed}");
    }
}
