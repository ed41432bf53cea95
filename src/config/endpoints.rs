//! `[[endpoints]]`: who is told of what, and how.

use std::collections::BTreeMap;

use super::checks::check_id;
use super::file::Endpoint;
use super::{ConfigError, EndpointEntry};
use crate::domain::endpoint::EndpointSettings;
use crate::domain::endpoint_fields;
use crate::domain::field::FieldError;
use crate::domain::given::Given;
use crate::domain::id::EndpointId;
use crate::domain::secret::{SecretError, SigningSecret};
use crate::domain::source::{FETCH_PREFIX, Source};
use crate::domain::target::Networks;

type Env = BTreeMap<String, String>;
type Checked<T> = Result<T, ConfigError>;

/// Reads and checks all endpoints.
pub(super) fn read(
    endpoints: Vec<Endpoint>,
    sources: &BTreeMap<String, Source>,
    networks: &Networks,
    env: &Env,
) -> Checked<BTreeMap<EndpointId, EndpointEntry>> {
    let mut all = BTreeMap::new();
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        let place = Place { index };
        let id = endpoint.id.clone();
        check_id(&place.of("id"), &id)?;
        if id.starts_with(FETCH_PREFIX) {
            let problem = format!("`{id}` is what the fetching of a source's mail would be called");
            return place.wrong("id", problem, format!("choose one that does not begin with `{FETCH_PREFIX}`"));
        }
        place.hold(endpoint_fields::check_url(&endpoint.url, networks))?;
        place.hold(endpoint_fields::check_sources(&endpoint.sources, sources.keys()))?;
        if all.insert(EndpointId::from(id.as_str()), entry(&place, endpoint, env)?).is_some() {
            return place.wrong("id", format!("`{id}` is there twice"), "give each endpoint its own id");
        }
    }
    Ok(all)
}

/// Which endpoint an error is about.
struct Place {
    index: usize,
}

impl Place {
    fn of(&self, field: &str) -> String {
        format!("endpoints[{}].{field}", self.index)
    }

    fn wrong<T>(&self, field: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Checked<T> {
        Err(ConfigError::new(self.of(field), problem, remedy))
    }

    fn hold<T>(&self, checked: Result<T, FieldError>) -> Checked<T> {
        checked.or_else(|FieldError { field, problem, remedy }| self.wrong(&field, problem, remedy))
    }
}

fn entry(place: &Place, endpoint: Endpoint, env: &Env) -> Checked<EndpointEntry> {
    let Endpoint { timeout_s, max_in_flight, rate_limit, .. } = endpoint;
    let retry = endpoint.retry.as_deref().unwrap_or_default();
    place.hold(endpoint_fields::check_numbers(retry, timeout_s, max_in_flight, rate_limit))?;
    let secrets = secrets(place, &endpoint, env)?;
    let given = Given {
        events: endpoint.events,
        format: endpoint.format,
        route: None,
        signatures: endpoint.signatures,
        signature_header: endpoint.signature_header,
        retry: endpoint.retry,
        headers: place.hold(endpoint_fields::headers(endpoint.headers, |value| Some(value)))?,
        secrets: &secrets,
    };
    let settled = place.hold(given.settle().map_err(|error| FieldError::told(error.field(), &error)))?;
    let settings = EndpointSettings {
        events: settled.events,
        format: settled.format,
        signatures: settled.signatures,
        signature_header: settled.signature_header,
        headers: settled.headers,
        retry: settled.retry,
        url: endpoint.url,
        sources: endpoint.sources,
        tags: endpoint.tags,
        timeout_s: endpoint.timeout_s,
        max_in_flight: endpoint.max_in_flight,
        rate_limit: endpoint.rate_limit,
        description: endpoint.description,
        active: endpoint.active,
        fetches: false,
    };
    Ok(EndpointEntry { settings, secrets, left_out: settled.left_out })
}

fn secrets(place: &Place, endpoint: &Endpoint, env: &Env) -> Checked<Vec<SigningSecret>> {
    let (field, given) = match (&endpoint.secret, endpoint.secrets.as_slice()) {
        (Some(secret), []) => ("secret", vec![secret]),
        (None, []) => return place.wrong("secret", "is missing", "give `secret`, or `secrets = [new, old]`"),
        (None, many) => ("secrets", many.iter().collect()),
        (Some(_), _) => return place.wrong("secrets", "is there beside `secret`", "keep one of the two"),
    };
    let place_of = place.of(field);
    let read = given.into_iter().map(|secret| {
        let secret = secret.resolve(&place_of, env)?;
        SigningSecret::parse(secret.expose()).or_else(|error| wrong_secret(place, field, error))
    });
    let read = read.collect::<Checked<Vec<_>>>()?;
    let private = read.iter().filter(|secret| secret.private().is_some()).count();
    if private > 2 || read.len() - private > 2 {
        return place.wrong("secrets", "holds more than two of a kind", "keep [new, old]");
    }
    Ok(read)
}

fn wrong_secret<T>(place: &Place, field: &str, error: SecretError) -> Checked<T> {
    match error {
        SecretError::TooShort => {
            place.wrong(field, "is too short", format!("use {} or more characters", SigningSecret::TEXT_LEN_MIN))
        }
        SecretError::KeyLength(len) => {
            place.wrong(field, format!("its base64 decodes to {len} bytes"), "use whsec_ + base64 of 24 to 64")
        }
        SecretError::PrivateKey => place.wrong(
            field,
            "begins with whsk_ and is no private key",
            "use whsk_ + base64 of the 32-byte seed, or of the seed and its public key",
        ),
        SecretError::PublicKey => place.wrong(field, "is a public key", "give the private key (whsk_ + base64)"),
    }
}
