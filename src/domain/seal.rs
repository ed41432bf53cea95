//! Sealing: what the store keeps of a secret is AES-256-GCM under a master key, which the store never holds.
//!
//! A sealed value names its master key, so that several can be live while they are rotated, and is bound to its place:
//! moved to another endpoint, or to another use, it does not open.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::id::{EndpointId, hash};

/// Bytes of a master key.
pub const KEY_LEN: usize = 32;

/// What makes two sealings differ. Drawn at random for each: of 96 bits, a key seals billions before two are the same.
pub type SealNonce = [u8; NONCE_LEN];

/// What leads the bytes that a value is bound to; another algorithm will have another.
const SCHEME: &[u8] = b"waypost aes-256-gcm 1";

/// One master key. Printing it for debugging prints its id alone.
#[derive(Clone)]
pub struct MasterKey {
    id: Arc<str>,
    key: Arc<LessSafeKey>,
}

/// A text that is no master key. The message does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the padded standard alphabet.
    #[error("is no base64")]
    Base64,
    /// Too few or too many bytes.
    #[error("holds {0} bytes, not {KEY_LEN}")]
    Length(usize),
}

impl MasterKey {
    /// A key from the base64 of its 32 bytes.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn read(id: &str, base64: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD.decode(base64).map_err(|_| KeyError::Base64)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| KeyError::Length(bytes.len()))?;
        Ok(Self { id: id.into(), key: LessSafeKey::new(key).into() })
    }

    /// What sealed values call it.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The master keys at hand: the first seals, all open. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct MasterKeys(Arc<[MasterKey]>);

impl MasterKeys {
    /// The key that seals.
    pub fn first(&self) -> Option<&MasterKey> {
        self.0.first()
    }

    /// The ids of all, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(MasterKey::id)
    }

    /// The same keys, and last this one.
    #[must_use]
    pub fn with(&self, last: MasterKey) -> Self {
        self.0.iter().cloned().chain([last]).collect()
    }
}

impl FromIterator<MasterKey> for MasterKeys {
    fn from_iter<I: IntoIterator<Item = MasterKey>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

/// Where a sealed value belongs, and what it is good for.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A secret that signs what this endpoint gets.
    Secret(&'a EndpointId),
    /// The value of this static header of this endpoint.
    Header(&'a EndpointId, &'a str),
}

impl Place<'_> {
    fn bound_to(&self, key: &str) -> [u8; 32] {
        match self {
            Self::Secret(endpoint) => hash(&[SCHEME, key.as_bytes(), b"secret", endpoint.as_str().as_bytes()]),
            Self::Header(endpoint, name) => {
                hash(&[SCHEME, key.as_bytes(), b"header", endpoint.as_str().as_bytes(), name.as_bytes()])
            }
        }
    }
}

/// A value that is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The id of the master key.
    pub key: Arc<str>,
    /// Base64 of the nonce, the encrypted value and the tag.
    data: String,
}

/// Why a sealed value does not open. The text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its master key is not at hand.
    #[error("it is sealed with the master key `{0}`, which is not in store.master_keys")]
    UnknownKey(Arc<str>),
    /// It was changed or moved, or another key has taken the id of the one that sealed it.
    #[error("the master key `{0}` does not open it: another key had this id, or what is stored was changed")]
    Wrong(Arc<str>),
}

impl OpenError {
    /// The id of the master key that the value names.
    pub fn key(&self) -> &str {
        match self {
            Self::UnknownKey(key) | Self::Wrong(key) => key,
        }
    }
}

/// Seals a text for its place. None of a text that is longer than the algorithm takes: 64 GiB.
pub fn seal(key: &MasterKey, place: Place<'_>, text: &str, nonce: SealNonce) -> Option<Sealed> {
    let mut bytes = text.as_bytes().to_vec();
    let bound_to = Aad::from(place.bound_to(&key.id));
    key.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound_to, &mut bytes).ok()?;
    Some(Sealed { key: Arc::clone(&key.id), data: STANDARD.encode([&nonce[..], &bytes].concat()) })
}

/// Opens what was sealed for this place.
///
/// # Errors
/// When its key is not at hand, or it is not what that key sealed for this place.
pub fn open(keys: &MasterKeys, place: Place<'_>, sealed: &Sealed) -> Result<String, OpenError> {
    let key = keys.0.iter().find(|key| key.id == sealed.key);
    let key = key.ok_or_else(|| OpenError::UnknownKey(Arc::clone(&sealed.key)))?;
    opened(key, place, &sealed.data).ok_or_else(|| OpenError::Wrong(Arc::clone(&sealed.key)))
}

fn opened(key: &MasterKey, place: Place<'_>, data: &str) -> Option<String> {
    let mut bytes = STANDARD.decode(data).ok()?;
    let (nonce, sealed) = bytes.split_first_chunk_mut()?;
    let bound_to = Aad::from(place.bound_to(&key.id));
    let text = key.key.open_in_place(Nonce::assume_unique_for_key(*nonce), bound_to, sealed).ok()?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: SealNonce = [7; NONCE_LEN];

    fn key(id: &str, byte: u8) -> MasterKey {
        MasterKey::read(id, &STANDARD.encode([byte; KEY_LEN])).unwrap()
    }

    fn keys(all: &[(&str, u8)]) -> MasterKeys {
        all.iter().map(|(id, byte)| key(id, *byte)).collect()
    }

    fn sealed(text: &str) -> Sealed {
        seal(&key("a", 1), Place::Secret(&"wh_1".into()), text, NONCE).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_wherever_that_stands() {
        for text in ["", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "sch\u{f6}n"] {
            let sealed = sealed(text);
            let json = serde_json::to_string(&sealed).unwrap();
            assert!(text.is_empty() || !json.contains(text), "{json}");
            let sealed = serde_json::from_str(&json).unwrap();
            for keys in [keys(&[("a", 1)]), keys(&[("b", 2), ("a", 1)])] {
                assert_eq!(open(&keys, Place::Secret(&"wh_1".into()), &sealed).unwrap(), text);
            }
        }
    }

    const VECTOR_BOUND_TO: &str = "35635ab1f9db03ebff54e2b6eb3ac1ac1e8193097f570f483c4b5a07079f05c9";
    const VECTOR: &str = "BwcHBwcHBwcHBwcH+puZwWzx/MdSyz1Cnocsk9bb1a4OPl8dM2t/7bxdPZ8ASI7jkqprNL+hw/YWBwji7ocH3fcy";

    /// What another program makes of it: Node's `crypto`, `createCipheriv("aes-256-gcm", …)`, with the same bytes.
    #[test]
    fn it_is_plain_aes_256_gcm() {
        let sealed = sealed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let bound_to = Place::Secret(&"wh_1".into()).bound_to("a");
        assert_eq!(hex::encode(bound_to), VECTOR_BOUND_TO);
        assert_eq!(sealed.data, VECTOR);
    }

    #[test]
    fn a_changed_byte_anywhere_does_not_open() {
        let place = "wh_1".into();
        let sealed = sealed("a secret of some length");
        let bytes = STANDARD.decode(&sealed.data).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = Sealed { data: STANDARD.encode(changed), ..sealed.clone() };
            let opened = open(&keys(&[("a", 1)]), Place::Secret(&place), &changed);
            assert_eq!(opened, Err(OpenError::Wrong("a".into())), "byte {at}");
        }
        for data in ["", "AAAA", "no base64!", &sealed.data[..20]] {
            let cut = Sealed { data: data.into(), ..sealed.clone() };
            assert_eq!(open(&keys(&[("a", 1)]), Place::Secret(&place), &cut), Err(OpenError::Wrong("a".into())));
        }
    }

    #[test]
    fn a_value_opens_in_its_own_place_only() {
        let (one, two, keys) = ("wh_1".into(), "wh_2".into(), keys(&[("a", 1)]));
        let (secret, first) = (sealed("text"), key("a", 1));
        assert!(open(&keys, Place::Secret(&two), &secret).is_err());
        assert!(open(&keys, Place::Header(&one, "secret"), &secret).is_err());
        let header = seal(&first, Place::Header(&one, "x-a"), "text", NONCE).unwrap();
        assert_eq!(open(&keys, Place::Header(&one, "x-a"), &header).unwrap(), "text");
        assert!(open(&keys, Place::Header(&one, "x-b"), &header).is_err());
        assert!(open(&keys, Place::Header(&two, "x-a"), &header).is_err());
    }

    #[test]
    fn another_key_is_told_from_one_that_is_missing() {
        let (place, sealed) = ("wh_1".into(), sealed("text"));
        let told = |keys| open(&keys, Place::Secret(&place), &sealed).unwrap_err().to_string();
        assert!(told(keys(&[("a", 2)])).starts_with("the master key `a` does not open it"));
        assert!(told(keys(&[("b", 1)])).contains("the master key `a`, which is not in store.master_keys"));
        // The id is bound too: a value cannot be said to be another key's.
        let renamed = Sealed { key: "b".into(), ..sealed.clone() };
        assert!(open(&keys(&[("b", 1)]), Place::Secret(&place), &renamed).is_err());
    }

    #[test]
    fn a_key_is_the_base64_of_32_bytes_and_is_never_shown() {
        let read = |text: &str| MasterKey::read("a", text).map(|key| format!("{key:?}"));
        assert_eq!(read(&STANDARD.encode([1; 32])).unwrap(), r#"MasterKey { id: "a", .. }"#);
        assert_eq!(read(&STANDARD.encode([1; 31])), Err(KeyError::Length(31)));
        assert_eq!(read("hunter2!"), Err(KeyError::Base64));
        assert!(!KeyError::Base64.to_string().contains("hunter2"));
    }
}
