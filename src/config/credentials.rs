//! `logins` and `clients` of a source that is not proven by a signature.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use waypost_providers::{Client, KeyError, Login};

use super::ConfigError;
use super::secret::SecretSource;
use crate::domain::field::without_value;

pub(super) const LOGINS: &str = "logins";
pub(super) const CLIENTS: &str = "clients";

type Env = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of `user` and `password`")]
struct LoginEntry {
    user: String,
    password: SecretSource,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of `id` and `secret`")]
struct ClientEntry {
    id: String,
    secret: SecretSource,
}

pub(super) fn logins(place: &str, value: Option<Value>, env: &Env) -> Result<Vec<Login>, ConfigError> {
    let place = format!("{place}.{LOGINS}");
    let entries = list(&place, value, r#"`[{ user = "sendgrid", password = { env = "NAME" } }]`"#)?;
    let read = |(index, LoginEntry { user, password }): (usize, LoginEntry)| {
        let password = password.resolve(&format!("{place}[{index}].password"), env)?;
        Login::new(&user, password.expose()).map_err(|error| wrong(&place, index, &error))
    };
    entries.into_iter().enumerate().map(read).collect()
}

pub(super) fn clients(place: &str, value: Option<Value>, env: &Env) -> Result<Vec<Client>, ConfigError> {
    let place = format!("{place}.{CLIENTS}");
    let entries = list(&place, value, r#"`[{ id = "sendgrid", secret = { env = "NAME" } }]`"#)?;
    let read = |(index, ClientEntry { id, secret }): (usize, ClientEntry)| {
        let secret = secret.resolve(&format!("{place}[{index}].secret"), env)?;
        Client::new(&id, secret.expose()).map_err(|error| wrong(&place, index, &error))
    };
    entries.into_iter().enumerate().map(read).collect()
}

fn wrong(place: &str, index: usize, error: &KeyError) -> ConfigError {
    ConfigError::new(format!("{place}[{index}]"), error.to_string(), "`waypost key new` prints a good secret")
}

/// A list with something in it.
fn list<T: DeserializeOwned>(place: &str, value: Option<Value>, example: &str) -> Result<Vec<T>, ConfigError> {
    let remedy = format!("write a list, such as {example}");
    let Some(value) = value else { return Err(ConfigError::new(place, "is missing", remedy)) };
    let entries: Vec<T> = serde_path_to_error::deserialize(value).map_err(|error| {
        let at = error.path().to_string();
        let place = if at == "." { place.to_owned() } else { format!("{place}{at}") };
        ConfigError::new(place, without_value(error.inner()), remedy.clone())
    })?;
    if entries.is_empty() { Err(ConfigError::new(place, "is empty", remedy)) } else { Ok(entries) }
}
