//! `[sources.NAME]`: a provider, how it proves itself, and that provider's own keys.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Map, Value};
use waypost_providers::{Keys, PROVIDERS, Proof, Provider, Way};

use super::credentials::{self, CLIENTS, LOGINS};
use super::secret::SecretSource;
use super::{ConfigError, fetching};
use crate::domain::field::without_value;
use crate::domain::retention::Lifetimes;
use crate::domain::source::{DEFAULT_SOURCE, NAME_LEN_MAX, Source, is_name};
use crate::domain::target::Networks;

/// The provider of the default source, unless told.
const GENERIC: &str = "generic";

type Env = BTreeMap<String, String>;

/// Reads and checks all sources.
pub(super) fn read(
    sources: BTreeMap<String, Map<String, Value>>,
    lifetimes: &Lifetimes,
    networks: &Networks,
    env: &Env,
) -> Result<BTreeMap<String, Source>, ConfigError> {
    let remembered = SignedDuration::try_from(lifetimes.events).unwrap_or(SignedDuration::MAX);
    let read = |(name, keys): (String, _)| {
        let source = source(&name, keys, remembered, networks, env)?;
        Ok((name, source))
    };
    sources.into_iter().map(read).collect()
}

fn source(
    name: &str,
    mut keys: Map<String, Value>,
    remembered: SignedDuration,
    networks: &Networks,
    env: &Env,
) -> Result<Source, ConfigError> {
    let place = format!("sources.{name}");
    if !is_name(name) {
        let remedy = format!("use 1 to {NAME_LEN_MAX} letters, digits, `-` and `_`");
        return Err(ConfigError::new(place, "the name cannot stand in a URL", remedy));
    }
    let provider = provider(name, keys.remove("provider"))?;
    let way = way(&place, provider, keys.remove("verify"))?;
    let fetching = fetching::take(&place, provider, &mut keys, networks, env)?;
    check_names(&place, provider, way, &keys)?;
    let proof = match way {
        Way::Signature => Proof::Signature(signature_keys(&place, provider, keys, env)?.remembering(remembered)),
        Way::Basic => Proof::Basic(credentials::logins(&place, keys.remove(LOGINS), env)?),
        Way::Oauth => Proof::Oauth(credentials::clients(&place, keys.remove(CLIENTS), env)?),
    };
    Ok(Source { provider, proof: proof.into(), fetching })
}

fn provider(source: &str, value: Option<Value>) -> Result<&'static dyn Provider, ConfigError> {
    let value = value.or_else(|| (source == DEFAULT_SOURCE).then(|| GENERIC.into()));
    let known = || PROVIDERS.iter().map(|provider| format!("`{}`", provider.name())).collect::<Vec<_>>().join(", ");
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

fn way(place: &str, provider: &dyn Provider, value: Option<Value>) -> Result<Way, ConfigError> {
    let ways = provider.ways();
    // A weaker way is never taken unless it is asked for.
    let value = value.unwrap_or_else(|| Way::Signature.as_str().into());
    if let Some(way) = ways.iter().find(|way| value == way.as_str()) {
        return Ok(*way);
    }
    let problem = match Way::ALL.iter().find(|way| value == way.as_str()) {
        Some(way) => format!("{} is not proven by `{}`", provider.name(), way.as_str()),
        None => format!("there is no way {value}"),
    };
    let known: Vec<_> = ways.iter().map(|way| format!("`{}`", way.as_str())).collect();
    let or_none = if ways.contains(&Way::Signature) { ", or leave it out" } else { "" };
    let remedy = format!("use {}{or_none}", known.join(" or "));
    Err(ConfigError::new(format!("{place}.verify"), problem, remedy))
}

/// What a source that is proven in this way has besides.
fn names(provider: &dyn Provider, way: Way) -> Vec<&'static str> {
    match way {
        Way::Signature => provider.key_fields().iter().map(|field| field.name).collect(),
        Way::Basic => vec![LOGINS],
        Way::Oauth => vec![CLIENTS],
    }
}

/// Names are checked before values, so that an unknown key is called unknown whatever it holds. A key of another way is
/// an error too: it would do nothing.
fn check_names(place: &str, provider: &dyn Provider, way: Way, keys: &Map<String, Value>) -> Result<(), ConfigError> {
    let takes = |way: Way, name: &str| names(provider, way).contains(&name);
    let Some(name) = keys.keys().find(|name| !takes(way, name)) else { return Ok(()) };
    let (problem, remedy) = match provider.ways().iter().find(|way| takes(**way, name)) {
        Some(other) => (
            format!("is not for `verify = \"{}\"`", way.as_str()),
            format!("take it out, or set `verify = \"{}\"`", other.as_str()),
        ),
        None => (
            format!("unknown key for the provider `{}`", provider.name()),
            match way {
                Way::Signature => help(provider),
                Way::Basic | Way::Oauth => format!("use `{}`", names(provider, way).concat()),
            },
        ),
    };
    Err(ConfigError::new(format!("{place}.{name}"), problem, remedy))
}

fn signature_keys(
    place: &str,
    provider: &dyn Provider,
    keys: Map<String, Value>,
    env: &Env,
) -> Result<Keys, ConfigError> {
    let texts = texts(place, keys, env)?;
    Keys::read(provider, &texts).map_err(|(field, error)| {
        let place = if field.is_empty() { place.to_owned() } else { format!("{place}.{field}") };
        ConfigError::new(place, error.to_string(), help(provider))
    })
}

/// The texts of the provider's keys.
fn texts(place: &str, keys: Map<String, Value>, env: &Env) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
    let mut texts = BTreeMap::new();
    for (name, value) in keys {
        let place = format!("{place}.{name}");
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
