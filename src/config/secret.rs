//! Where a secret's text comes from: the file itself, an environment variable or another file.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::ConfigError;
use crate::domain::secret::Secret;

/// Text, `{ env = "NAME" }` or `{ file = "PATH" }`.
pub(super) enum SecretSource {
    Text(Secret),
    Env(String),
    File(String),
}

impl SecretSource {
    /// The text. `place` is the key, for the error.
    pub(super) fn resolve(&self, place: &str, env: &BTreeMap<String, String>) -> Result<Secret, ConfigError> {
        let wrong = |problem: String, remedy: &str| Err(ConfigError::new(place, problem, remedy));
        let secret = match self {
            Self::Text(secret) => secret.clone(),
            Self::Env(name) => match env.get(name) {
                Some(text) => Secret::from(text.as_str()),
                None => return wrong(format!("the environment variable `{name}` is not set"), "set it"),
            },
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Secret::from(without_newline(&text)),
                Err(error) => {
                    return wrong(format!("`{path}` cannot be read: {error}"), "name a file that this user can read");
                }
            },
        };
        if secret.expose().is_empty() { wrong("is empty".into(), "give it the secret's text") } else { Ok(secret) }
    }
}

/// Without the newline that editors leave at the end.
fn without_newline(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

const EXPECTED: &str = r#"text, { env = "NAME" } or { file = "PATH" }"#;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SecretSource, E> {
        Ok(SecretSource::Text(text.into()))
    }

    // A number without quotes may be a secret; serde's own message would repeat it.
    fn visit_i64<E: Error>(self, _: i64) -> Result<SecretSource, E> {
        Err(E::custom(format!("a number, expected {EXPECTED}")))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<SecretSource, E> {
        self.visit_i64(0)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<SecretSource, E> {
        self.visit_i64(0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
        let Some((key, value)) = map.next_entry::<String, String>()? else {
            return Err(A::Error::custom(format!("an empty table, expected {EXPECTED}")));
        };
        let source = match key.as_str() {
            "env" => SecretSource::Env(value),
            "file" => SecretSource::File(value),
            other => return Err(A::Error::unknown_field(other, &["env", "file"])),
        };
        match map.next_key::<String>()? {
            None => Ok(source),
            Some(_) => Err(A::Error::custom("there are both `env` and `file`, or more; keep one of the two")),
        }
    }
}
