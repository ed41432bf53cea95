//! Texts that no log and no error may repeat, and what a secret to sign with must be.

use std::fmt;
use std::sync::Arc;

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

/// What an endpoint's requests are signed with. Never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSecret {
    text: Secret,
    key: Option<Key>,
}

/// What the base64 of a secret holds.
#[derive(Clone, PartialEq, Eq)]
struct Key(Arc<[u8]>);

/// A secret that cannot be signed with. The text does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Base64 of too few or too many bytes.
    #[error("a secret of `whsec_` and base64 must hold 24 to 64 bytes; this one holds {0}")]
    KeyLength(usize),
    /// Too short a text.
    #[error("a secret must be `whsec_` and base64 of 24 to 64 bytes, or a text of 16 characters or more")]
    TooShort,
}

impl SigningSecret {
    /// Characters that a text secret has at least.
    pub const TEXT_LEN_MIN: usize = 16;

    /// Reads a secret. `whsec_` and strict base64 (the padded standard alphabet) is a key of 24 to 64 bytes; anything
    /// else is a text of 16 characters or more, which signs only the schemes that are keyed by text.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let key = text.strip_prefix(KEY_PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok());
        match &key {
            Some(key) if !KEY_BYTES.contains(&key.len()) => return Err(SecretError::KeyLength(key.len())),
            None if text.chars().count() < Self::TEXT_LEN_MIN => return Err(SecretError::TooShort),
            _ => {}
        }
        Ok(Self { text: text.into(), key: key.map(|key| Key(key.into())) })
    }

    /// Its text, for the schemes that are keyed by text.
    pub fn text(&self) -> &str {
        self.text.expose()
    }

    /// The bytes of its base64, for the schemes that are keyed by bytes; none if it is a text.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|Key(bytes)| bytes.as_ref())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
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
    fn a_secret_is_never_repeated() {
        let error = SigningSecret::parse("hunter2hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let printed = format!("{:?}", SigningSecret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap());
        assert!(!printed.contains("C2FV") && !printed.contains("11"), "{printed}");
    }
}
