//! Puts the layers on top of one another and reads the sum.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, FileFormat};

use super::ConfigError;
use super::file::File;
use crate::domain::field::without_value;

/// The first layer: every key with its default.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// What leads the name of an environment variable that sets a key.
const ENV_PREFIX: &str = "WAYPOST__";

/// Reads the defaults, the file and the environment, each over the one before.
pub(super) fn read(path: Option<&Path>, env: &BTreeMap<String, String>) -> Result<File, ConfigError> {
    let mut layers = Config::builder().add_source(config::File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(path) = path {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::new(&place, format!("cannot be read: {error}"), "give --config a file that exists")
        })?;
        // Read alone first, so that an error of syntax is told of this file.
        let source = config::File::from_str(&text, FileFormat::Toml);
        let alone = Config::builder().add_source(source).build();
        layers = layers.add_source(alone.map_err(|error| ConfigError::new(&place, told(&error), "correct the TOML"))?);
    }
    for (name, value) in env {
        if let Some(key) = name.strip_prefix(ENV_PREFIX) {
            layers = with_variable(layers, name, key, value)?;
        }
    }
    let sum = layers.build().map_err(|error| unreadable("config", &error))?;
    let sum: serde_json::Value = sum.try_deserialize().map_err(|error| unreadable("config", &error))?;
    serde_path_to_error::deserialize(sum).map_err(|error| {
        let place = error.path().to_string();
        let place = if place == "." { "config".to_owned() } else { place };
        ConfigError::new(place, without_value(error.inner()), "config/default.toml shows every key with its default")
    })
}

/// The variables that a config can be made of. One that is not UTF-8 is somebody else's, unless its name says that it
/// sets a key.
pub(super) fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut known = BTreeMap::new();
    for (name, value) in variables {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => drop(known.insert(name, value)),
            (Ok(name), Err(_)) if name.starts_with(ENV_PREFIX) => {
                return Err(ConfigError::new(name, "is not UTF-8", "set it to a text, or leave it out"));
            }
            _ => {}
        }
    }
    Ok(known)
}

/// `WAYPOST__SECTION__KEY`: a number, `true` or `false`, a list or table in TOML, or else text.
fn with_variable(
    layers: ConfigBuilder<DefaultState>,
    name: &str,
    key: &str,
    value: &str,
) -> Result<ConfigBuilder<DefaultState>, ConfigError> {
    let key = key.to_lowercase().replace("__", ".");
    layers.set_override(key, typed(value)).map_err(|error| {
        ConfigError::new(name, told(&error), "name the variable WAYPOST__SECTION__KEY, after a key of the config file")
    })
}

fn typed(text: &str) -> config::Value {
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    let is_toml = matches!(text, "true" | "false") || text.starts_with(['[', '{']);
    let toml = config::File::from_str(&format!("value = {text}"), FileFormat::Toml);
    let read = || Config::builder().add_source(toml).build().ok()?.get::<config::Value>("value").ok();
    is_toml.then(read).flatten().unwrap_or_else(|| text.into())
}

fn unreadable(place: &str, error: &config::ConfigError) -> ConfigError {
    ConfigError::new(place, told(error), "config/default.toml shows every key with its default")
}

/// An error of the TOML reader without the lines that it quotes, for those may hold a secret.
fn told(error: &config::ConfigError) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains('|')).collect();
    lines.join(": ")
}
