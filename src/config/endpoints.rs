//! `[[endpoints]]`: who is told of what, and how.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use super::checks::within;
use super::file::Endpoint;
use super::sources::NAME_LEN_MAX;
use super::{ConfigError, EndpointEntry};
use crate::domain::endpoint::EndpointSettings;
use crate::domain::given::Given;
use crate::domain::header::is_reserved;
use crate::domain::id::EndpointId;
use crate::domain::rate::Rate;
use crate::domain::secret::{SecretError, SigningSecret};
use crate::domain::source::Source;
use crate::domain::target::{self, Networks, TargetError};

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
        check_id(&place, &id)?;
        check_url(&place, &endpoint.url, networks)?;
        check_sources(&place, &endpoint.sources, sources)?;
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

    /// What a rule of the domain says, remedy and all.
    fn told(&self, field: &str, error: &impl std::error::Error) -> ConfigError {
        let text = error.to_string();
        let (problem, remedy) = text.rsplit_once("; ").unwrap_or((&text, "change it"));
        ConfigError::new(self.of(field), problem, remedy)
    }

    fn wrong<T>(&self, field: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Checked<T> {
        Err(ConfigError::new(self.of(field), problem, remedy))
    }
}

fn entry(place: &Place, endpoint: Endpoint, env: &Env) -> Checked<EndpointEntry> {
    within(&place.of("timeout_s"), endpoint.timeout_s, 1, EndpointSettings::TIMEOUT_S_MAX)?;
    within(&place.of("max_in_flight"), u64::from(endpoint.max_in_flight), 1, 10_000)?;
    if let Some(rate_limit) = endpoint.rate_limit {
        within(&place.of("rate_limit"), u64::from(rate_limit), 1, u64::from(Rate::PER_S_MAX))?;
    }
    let secrets = secrets(place, &endpoint, env)?;
    let given = Given {
        events: endpoint.events,
        format: endpoint.format,
        route: None,
        signatures: endpoint.signatures,
        signature_header: endpoint.signature_header,
        retry: endpoint.retry,
        headers: headers(place, endpoint.headers)?,
        secrets: &secrets,
    };
    let settled = given.settle().map_err(|error| place.told(error.field(), &error))?;
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
    };
    Ok(EndpointEntry { settings, secrets, left_out: settled.left_out })
}

fn check_id(place: &Place, id: &str) -> Checked<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !id.is_empty() && id.len() <= NAME_LEN_MAX && id.bytes().all(is_plain) {
        return Ok(());
    }
    let remedy = format!("use 1 to {NAME_LEN_MAX} letters, digits, `-`, `_` and `.`");
    place.wrong("id", format!("{id:?} is no id"), remedy)
}

/// What can be told of the URL without asking a name server. The addresses behind a name are checked when it is called.
fn check_url(place: &Place, url: &str, networks: &Networks) -> Checked<()> {
    target::check_url(url, networks).or_else(|error| {
        let remedy = match error {
            TargetError::Url => "write one such as `https://billing.example/hooks/email`",
            TargetError::Scheme => "use https, or allow the network",
            TargetError::Userinfo => "take it out: the signature is the proof",
            TargetError::Address(_) => "use a public address",
        };
        place.wrong("url", error.to_string(), remedy)
    })
}

fn check_sources(place: &Place, wanted: &[String], sources: &BTreeMap<String, Source>) -> Checked<()> {
    match wanted.iter().find(|name| !sources.contains_key(*name)) {
        None => Ok(()),
        Some(name) => {
            let known = sources.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let remedy = if known.is_empty() { "configure it".to_owned() } else { format!("use one of {known}") };
            place.wrong("sources", format!("there is no source `{name}`"), remedy)
        }
    }
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

/// Static headers, names in lower case.
fn headers(place: &Place, given: BTreeMap<String, String>) -> Checked<BTreeMap<String, String>> {
    let mut headers = BTreeMap::new();
    for (name, value) in given {
        let field = format!("headers.{name}");
        let Ok(known) = HeaderName::try_from(name.as_str()) else {
            return place.wrong(&field, "is no header name", "use letters, digits and `-`");
        };
        let name = known.as_str();
        if is_reserved(name) {
            return place.wrong(&field, "is set by Waypost or by HTTP itself", "use another name");
        }
        if HeaderValue::try_from(value.as_str()).is_err() {
            return place.wrong(&field, "holds a character that no header may hold", "keep to one line of text");
        }
        if headers.insert(name.to_owned(), value).is_some() {
            return place.wrong(&field, "is there twice", "keep one; case does not matter");
        }
    }
    Ok(headers)
}
