//! `api_key` of a source: with it the content of received mail is fetched that the webhook only names.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use waypost_providers::Provider;

use super::ConfigError;
use super::secret::SecretSource;
use crate::domain::endpoint_fields;
use crate::domain::field::without_value;
use crate::domain::source::Fetching;
use crate::domain::target::Networks;

/// The key to the provider's API.
pub(super) const API_KEY: &str = "api_key";
/// Where that API is, if not where it usually is.
pub(super) const API_URL: &str = "api_url";

type Env = BTreeMap<String, String>;

/// Reads both; none without a key.
pub(super) fn read(
    place: &str,
    provider: &dyn Provider,
    (key, url): (Option<Value>, Option<Value>),
    networks: &Networks,
    env: &Env,
) -> Result<Option<Arc<Fetching>>, ConfigError> {
    let name = match (&key, &url) {
        (None, None) => return Ok(None),
        (Some(_), _) => API_KEY,
        (None, Some(_)) => API_URL,
    };
    let place_of = |name: &str| format!("{place}.{name}");
    let Some(api) = provider.api() else {
        let problem = format!("unknown key for the provider `{}`, whose mail comes whole", provider.name());
        return Err(ConfigError::new(place_of(name), problem, "take it out"));
    };
    let Some(key) = key else {
        return Err(ConfigError::new(place_of(name), "is there without `api_key`", "add that, or take it out"));
    };
    let wrong = |error: &serde_json::Error| {
        ConfigError::new(
            place_of(API_KEY),
            without_value(error),
            r#"write text, { env = "NAME" } or { file = "PATH" }"#,
        )
    };
    let key: SecretSource = serde_json::from_value(key).map_err(|error| wrong(&error))?;
    let key = key.resolve(&place_of(API_KEY), env)?;
    let is_header = |byte: u8| byte.is_ascii_graphic();
    if key.expose().is_empty() || !key.expose().bytes().all(is_header) {
        let remedy = "give the key as the provider's dashboard shows it, without blanks";
        return Err(ConfigError::new(place_of(API_KEY), "is no API key", remedy));
    }
    let url = match &url {
        None => api.url.to_owned(),
        Some(url) => {
            let text = url.as_str().unwrap_or_default();
            endpoint_fields::check_url(text, networks)
                .map_err(|error| ConfigError::new(place_of(API_URL), error.problem, error.remedy))?;
            text.trim_end_matches('/').to_owned()
        }
    };
    Ok(Some(Arc::new(Fetching { key, url })))
}
