//! `api_key` of a source: with it the content of received mail is fetched that the webhook only names.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use waypost_providers::Provider;

use super::ConfigError;
use super::secret::SecretSource;
use crate::domain::endpoint_fields;
use crate::domain::field::{self, without_value};
use crate::domain::secret::Secret;
use crate::domain::source::Fetching;
use crate::domain::target::Networks;

/// The key to the provider's API.
const API_KEY: &str = "api_key";
/// Where that API is, if not where it usually is.
const API_URL: &str = "api_url";
/// Seconds that fetching one mail may take at a time.
const API_TIMEOUT_S: &str = "api_timeout_s";
/// The most of them. What a gateway that died had begun waits for so long.
const TIMEOUT_S_MAX: u64 = 600;

type Env = BTreeMap<String, String>;

/// Takes them out of a source's keys, and reads them; none without a key to the API.
pub(super) fn take(
    place: &str,
    provider: &dyn Provider,
    keys: &mut Map<String, Value>,
    networks: &Networks,
    env: &Env,
) -> Result<Option<Arc<Fetching>>, ConfigError> {
    let [key, url, timeout_s] = [API_KEY, API_URL, API_TIMEOUT_S].map(|name| Some((name, keys.remove(name)?)));
    let Some((name, _)) = key.as_ref().or(url.as_ref()).or(timeout_s.as_ref()) else { return Ok(None) };
    let place_of = |name: &str| format!("{place}.{name}");
    let Some(api) = provider.api() else {
        let problem = format!("unknown key for the provider `{}`, whose mail comes whole", provider.name());
        return Err(ConfigError::new(place_of(name), problem, "take it out"));
    };
    let Some((_, key)) = key else {
        return Err(ConfigError::new(place_of(name), "is there without `api_key`", "add that, or take it out"));
    };
    let key = read_key(&place_of(API_KEY), key, env)?;
    let url = url.map_or_else(|| Ok(api.url.to_owned()), |(_, url)| read_url(&place_of(API_URL), &url, networks))?;
    let timeout_s = match timeout_s {
        None => Fetching::TIMEOUT_S_DEFAULT,
        Some((_, given)) => read_timeout(&place_of(API_TIMEOUT_S), given)?,
    };
    Ok(Some(Arc::new(Fetching { key, url, timeout_s })))
}

fn read_key(place: &str, key: Value, env: &Env) -> Result<Secret, ConfigError> {
    let key: SecretSource = serde_json::from_value(key).map_err(|error| {
        ConfigError::new(place, without_value(&error), r#"write text, { env = "NAME" } or { file = "PATH" }"#)
    })?;
    let key = key.resolve(place, env)?;
    let is_header = |byte: u8| byte.is_ascii_graphic();
    if key.expose().is_empty() || !key.expose().bytes().all(is_header) {
        let remedy = "give the key as the provider's dashboard shows it, without blanks";
        return Err(ConfigError::new(place, "is no API key", remedy));
    }
    Ok(key)
}

fn read_url(place: &str, url: &Value, networks: &Networks) -> Result<String, ConfigError> {
    let text = url.as_str().unwrap_or_default();
    if text.contains(['?', '#']) {
        let remedy = "write it as \"https://api.resend.com\", without query and fragment";
        return Err(ConfigError::new(place, format!("`{text}` has more than an address and a path"), remedy));
    }
    endpoint_fields::check_url(text, networks).map_err(|error| ConfigError::new(place, error.problem, error.remedy))?;
    Ok(text.trim_end_matches('/').to_owned())
}

fn read_timeout(place: &str, given: Value) -> Result<u64, ConfigError> {
    let timeout_s = serde_json::from_value(given)
        .map_err(|error| ConfigError::new(place, without_value(&error), "write a number of seconds"))?;
    field::within(place, timeout_s, 1, TIMEOUT_S_MAX)
        .map_err(|error| ConfigError::new(place, error.problem, error.remedy))?;
    Ok(timeout_s)
}
