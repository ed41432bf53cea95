//! `[sources.NAME]`: a provider, how it proves itself, and that provider's own keys.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Map, Value};
use waypost_providers::{Keys, PROVIDERS, Provider};

use super::ConfigError;
use super::secret::SecretSource;
use crate::domain::field::without_value;
use crate::domain::retention::Lifetimes;
use crate::domain::source::{DEFAULT_SOURCE, Source};

/// The longest name that a source or an endpoint may have.
pub(super) const NAME_LEN_MAX: usize = 64;

/// The provider of the default source, unless told.
const GENERIC: &str = "generic";

type Env = BTreeMap<String, String>;

/// Reads and checks all sources.
pub(super) fn read(
    sources: BTreeMap<String, Map<String, Value>>,
    lifetimes: &Lifetimes,
    env: &Env,
) -> Result<BTreeMap<String, Source>, ConfigError> {
    let remembered = SignedDuration::try_from(lifetimes.events).unwrap_or(SignedDuration::MAX);
    let read = |(name, keys): (String, _)| {
        let source = source(&name, keys, remembered, env)?;
        Ok((name, source))
    };
    sources.into_iter().map(read).collect()
}

fn source(
    name: &str,
    mut keys: Map<String, Value>,
    remembered: SignedDuration,
    env: &Env,
) -> Result<Source, ConfigError> {
    let place = format!("sources.{name}");
    let in_url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > NAME_LEN_MAX || !name.bytes().all(in_url) {
        let remedy = format!("use 1 to {NAME_LEN_MAX} letters, digits, `-` and `_`");
        return Err(ConfigError::new(place, "the name cannot stand in a URL", remedy));
    }
    let provider = provider(name, keys.remove("provider"))?;
    check_verify(&place, keys.remove("verify"))?;
    let texts = texts(&place, provider, keys, env)?;
    let keys = Keys::read(provider, &texts).map_err(|(field, error)| {
        let place = if field.is_empty() { place } else { format!("{place}.{field}") };
        ConfigError::new(place, error.to_string(), help(provider))
    })?;
    Ok(Source { provider, keys: keys.remembering(remembered).into() })
}

fn provider(source: &str, value: Option<Value>) -> Result<&'static dyn Provider, ConfigError> {
    let value = value.or_else(|| (source == DEFAULT_SOURCE).then(|| GENERIC.into()));
    let known = || PROVIDERS.map(|provider| format!("`{}`", provider.name())).join(", ");
    let problem = match value {
        None => "is missing".to_owned(),
        Some(Value::String(name)) => match waypost_providers::by_name(&name) {
            Some(provider) => return Ok(provider),
            None => format!("there is no provider `{name}`"),
        },
        Some(_) => "is not a text".to_owned(),
    };
    Err(ConfigError::new(format!("sources.{source}.provider"), problem, format!("use one of {}", known())))
}

fn check_verify(place: &str, value: Option<Value>) -> Result<(), ConfigError> {
    match value {
        None => Ok(()),
        Some(Value::String(way)) if way == "signature" => Ok(()),
        Some(other) => {
            let problem = format!("there is no way {other}");
            Err(ConfigError::new(format!("{place}.verify"), problem, "use `signature`, or leave it out"))
        }
    }
}

/// The texts of the provider's keys. Names are checked before values, so that an unknown key is called unknown
/// whatever it holds.
fn texts(
    place: &str,
    provider: &dyn Provider,
    keys: Map<String, Value>,
    env: &Env,
) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
    let is_known = |name: &String| provider.key_fields().iter().any(|field| field.name == name);
    let mut texts = BTreeMap::new();
    for (name, value) in keys {
        let place = format!("{place}.{name}");
        if !is_known(&name) {
            let problem = format!("unknown key for the provider `{}`", provider.name());
            return Err(ConfigError::new(place, problem, help(provider)));
        }
        let secrets: Vec<SecretSource> = serde_path_to_error::deserialize(value).map_err(|error| {
            let at = error.path().to_string();
            let place = if at == "." { place.clone() } else { format!("{place}{at}") };
            ConfigError::new(place, without_value(error.inner()), r#"write a list, such as `[{ env = "NAME" }]`"#)
        })?;
        let resolve = |(index, secret): (usize, &SecretSource)| {
            secret.resolve(&format!("{place}[{index}]"), env).map(|secret| secret.expose().to_owned())
        };
        texts.insert(name, secrets.iter().enumerate().map(resolve).collect::<Result<_, _>>()?);
    }
    Ok(texts)
}

fn help(provider: &dyn Provider) -> String {
    let fields = provider.key_fields().iter().map(|field| format!("`{}` ({})", field.name, field.help));
    let fields: Vec<_> = fields.collect();
    format!("use {}", fields.join(" or "))
}
