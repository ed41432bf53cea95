//! The keys of a source, by their names in the config file.

use std::collections::BTreeMap;

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
    /// The body cannot carry this provider's signature.
    #[error("the body cannot be signed: expected {0}")]
    Body(&'static str),
}

/// All keys of one source. At least one.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeMap<&'static str, Vec<Key>>);

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
        let mut keys = Self::default();
        for (name, texts) in texts {
            let Some(field) = provider.key_fields().iter().find(|field| field.name == name) else {
                return Err((name.clone(), KeyError::Unknown { provider: provider.name(), known: known() }));
            };
            for text in texts {
                let key = provider.key(field.name, text).map_err(|error| (name.clone(), error))?;
                keys.0.entry(field.name).or_default().push(key);
            }
        }
        if keys.0.is_empty() {
            return Err((String::new(), KeyError::None { provider: provider.name(), known: known() }));
        }
        Ok(keys)
    }

    /// The keys of this name.
    pub(crate) fn of(&self, field: &str) -> &[Key] {
        self.0.get(field).map_or(&[], Vec::as_slice)
    }
}
