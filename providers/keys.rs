//! The keys of a source, by their names in the config file.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::{Key, Provider};

/// One kind of key that a source takes.
#[derive(Clone, Copy, Debug)]
pub struct KeyField {
    /// Its name in the config file, such as `signing_secrets`.
    pub name: &'static str,
    /// What it is and where the provider shows it, for error messages and docs.
    pub help: &'static str,
}

/// Why a key cannot be used. Never repeats the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is no such key.
    #[error("not a key of this kind: expected {0}")]
    Shape(&'static str),
    /// The provider has no keys of this name.
    #[error("unknown key; {provider} takes {known}")]
    Unknown {
        /// The provider's name.
        provider: &'static str,
        /// The names it takes.
        known: String,
    },
    /// A source without a key proves nothing.
    #[error("{provider} needs at least one of {known}")]
    None {
        /// The provider's name.
        provider: &'static str,
        /// The names it takes.
        known: String,
    },
    /// The provider has no signatures.
    #[error("{provider} signs nothing")]
    Unsigned {
        /// The provider's name.
        provider: &'static str,
    },
    /// The body cannot carry this provider's signature.
    #[error("the body cannot be signed: expected {0}")]
    Body(&'static str),
}

/// For how long whoever does not tell remembers identities.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// All keys of one source. At least one.
#[derive(Clone, Debug)]
pub struct Keys {
    by_field: BTreeMap<&'static str, Vec<Key>>,
    remembered: SignedDuration,
}

impl Keys {
    /// Reads a source's keys from their texts.
    ///
    /// # Errors
    /// The field concerned (empty when there is no key at all), and what is wrong with it.
    pub fn read(provider: &dyn Provider, texts: &BTreeMap<String, Vec<String>>) -> Result<Self, (String, KeyError)> {
        let known = || {
            let names: Vec<_> = provider.key_fields().iter().map(|field| format!("`{}`", field.name)).collect();
            names.join(", ")
        };
        let mut by_field = BTreeMap::<_, Vec<_>>::new();
        for (name, texts) in texts {
            let Some(field) = provider.key_fields().iter().find(|field| field.name == name) else {
                return Err((name.clone(), KeyError::Unknown { provider: provider.name(), known: known() }));
            };
            for text in texts {
                let key = provider.key(field.name, text).map_err(|error| (name.clone(), error))?;
                by_field.entry(field.name).or_default().push(key);
            }
        }
        if by_field.is_empty() {
            return Err((String::new(), KeyError::None { provider: provider.name(), known: known() }));
        }
        Ok(Self { by_field, remembered: REMEMBERED })
    }

    /// The same for a receiver that remembers identities for so long from receipt, instead of 30 days. No copy of an older
    /// event is taken where the signature has no time in it (`generic`).
    #[must_use]
    pub fn remembering(self, remembered: SignedDuration) -> Self {
        Self { remembered, ..self }
    }

    /// How long identities are remembered.
    pub(crate) fn remembered(&self) -> SignedDuration {
        self.remembered
    }

    /// The keys of this name.
    pub(crate) fn of(&self, field: &str) -> &[Key] {
        self.by_field.get(field).map_or(&[], Vec::as_slice)
    }
}
