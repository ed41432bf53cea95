//! What must hold of the small sections.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use waypost_providers::event::BounceClass;

use super::ConfigError;
use super::file::{ApiKey, Retention, Server};
use crate::domain::access::AccessKey;
use crate::domain::audit::{CONFIG, GATEWAY};
use crate::domain::field::{self, FieldError};
use crate::domain::retention::Lifetimes;
use crate::domain::source::NAME_LEN_MAX;
use crate::domain::target::{BadNetwork, Networks};

const DAY_S: u64 = 24 * 3_600;
/// Nothing is promised for longer; it also keeps sums of times within their range.
const DAYS_MAX: u64 = 3_650;
/// Room for some attempts in each partition of a store.
const ATTEMPT_LOG_BYTES_MIN: u64 = 64 * 1024;
const ATTEMPT_LOG_BYTES_MAX: u64 = 1 << 40;
/// A Mailgun signature is good for 24 h and 5 min.
const TOKENS_HOURS_MIN: u64 = 25;
/// The most of whatever is counted.
pub(super) const COUNT_MAX: u64 = 1_000_000;
/// The most bytes of a body; it is held in memory whole.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// The most bytes of all bodies together.
const BODY_BUDGET_BYTES_MAX: u64 = 1 << 40;
/// The most seconds that anything at the door may take.
const SECONDS_MAX: u64 = 600;

type Env = BTreeMap<String, String>;

pub(super) fn server(server: &Server) -> Result<(), ConfigError> {
    within("server.body_bytes_max", server.body_bytes_max as u64, 1, BODY_BYTES_MAX)?;
    within("server.mail_bytes_max", server.mail_bytes_max as u64, 1, BODY_BYTES_MAX)?;
    within("server.body_budget_bytes", server.body_budget_bytes as u64, 1, BODY_BUDGET_BYTES_MAX)?;
    for (name, bytes) in [("body_bytes_max", server.body_bytes_max), ("mail_bytes_max", server.mail_bytes_max)] {
        if server.body_budget_bytes < bytes {
            let problem = format!(
                "{} is less than server.{name} ({bytes}), so a body of the largest size would never be taken",
                server.body_budget_bytes
            );
            let remedy = format!("use {bytes} or more, or lower server.{name}");
            return Err(ConfigError::new("server.body_budget_bytes", problem, remedy));
        }
    }
    admin_listen(server)?;
    within("server.body_timeout_s", server.body_timeout_s, 1, SECONDS_MAX)?;
    within("server.mail_timeout_s", server.mail_timeout_s, 1, SECONDS_MAX)?;
    within("server.requests_in_flight_max", server.requests_in_flight_max as u64, 1, COUNT_MAX)?;
    within("server.drain_s", server.drain_s, 0, SECONDS_MAX)?;
    within("server.link_ttl_hours", server.link_ttl_hours, 1, DAYS_MAX * 24)?;
    server.public_url.as_deref().map_or(Ok(()), public_url)
}

/// Two servers cannot have one port of one address.
fn admin_listen(server: &Server) -> Result<(), ConfigError> {
    let Some(admin) = server.admin_listen else { return Ok(()) };
    let (listen, is_all) = (server.listen, server.listen.ip().is_unspecified() || admin.ip().is_unspecified());
    if admin.port() == 0 || admin.port() != listen.port() || admin.ip() != listen.ip() && !is_all {
        return Ok(());
    }
    let problem = format!("{admin} is taken by server.listen, {listen}");
    let remedy = "choose another port, or leave it out to have the API at server.listen";
    Err(ConfigError::new("server.admin_listen", problem, remedy))
}

/// The proxies that are believed when they tell whom they call for.
pub(super) fn trusted_proxies(server: &Server) -> Result<Networks, ConfigError> {
    networks("server.trusted_proxies", &server.trusted_proxies)
}

/// A list of networks.
pub(super) fn networks(place: &str, texts: &[String]) -> Result<Networks, ConfigError> {
    Networks::parse(texts).map_err(|BadNetwork(text)| {
        let index = texts.iter().position(|network| *network == text).unwrap_or_default();
        let problem = format!("`{text}` is no network");
        let remedy = "write ADDRESS/PREFIX with no bit set after the prefix, such as `127.0.0.0/8`, or one address";
        ConfigError::new(format!("{place}[{index}]"), problem, remedy)
    })
}

/// Only what is put in front of a path without changing where it leads.
fn public_url(text: &str) -> Result<(), ConfigError> {
    let uri = text.parse::<http::Uri>().ok();
    let is_base = |uri: http::Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none()
    };
    if uri.is_some_and(is_base) && !text.contains(['@', '#']) {
        return Ok(());
    }
    let remedy = "write it as \"https://hooks.acme.example\", without login, query and fragment";
    Err(ConfigError::new("server.public_url", format!("`{text}` is no address of a gateway"), remedy))
}

pub(super) fn api_keys(keys: Vec<ApiKey>, env: &Env) -> Result<Vec<AccessKey>, ConfigError> {
    let mut names = BTreeSet::new();
    let mut read = Vec::with_capacity(keys.len());
    for (index, ApiKey { name, key, scopes }) in keys.into_iter().enumerate() {
        let place = |field: &str| format!("api.keys[{index}].{field}");
        if !names.insert(name.clone()) {
            return Err(ConfigError::new(place("name"), format!("`{name}` is there twice"), "give each its own name"));
        }
        if [CONFIG, GATEWAY].contains(&name.as_str()) {
            let problem = format!("`{name}` is what the audit log calls the gateway's own");
            return Err(ConfigError::new(place("name"), problem, "give it another name"));
        }
        if scopes.is_empty() {
            let remedy = "name one or more of `read`, `write`, `admin`";
            return Err(ConfigError::new(place("scopes"), "a key without a scope is good for nothing", remedy));
        }
        let text = key.resolve(&place("key"), env)?;
        let Some(key) = AccessKey::new(name, text.expose(), scopes) else {
            let remedy = format!("use {} or more random characters", AccessKey::LEN_MIN);
            return Err(ConfigError::new(place("key"), "is too short", remedy));
        };
        read.push(key);
    }
    Ok(read)
}

pub(super) fn lifetimes(retention: &Retention) -> Result<Lifetimes, ConfigError> {
    let Retention { events_days, requests_days, tokens_hours, attempt_log_bytes } = *retention;
    within("retention.events_days", events_days, 1, DAYS_MAX)?;
    within("retention.requests_days", requests_days, 1, DAYS_MAX)?;
    within("retention.tokens_hours", tokens_hours, TOKENS_HOURS_MIN, DAYS_MAX * 24)?;
    within("retention.attempt_log_bytes", attempt_log_bytes, ATTEMPT_LOG_BYTES_MIN, ATTEMPT_LOG_BYTES_MAX)?;
    if events_days < requests_days {
        return Err(ConfigError::new(
            "retention.events_days",
            format!("{events_days} is less than retention.requests_days, so a request would outlive its events"),
            format!("use {requests_days} or more"),
        ));
    }
    Ok(Lifetimes {
        events: Duration::from_secs(events_days * DAY_S),
        requests: Duration::from_secs(requests_days * DAY_S),
        tokens: Duration::from_secs(tokens_hours * 3_600),
    })
}

/// The classes of bounces that suppress.
pub(super) fn suppress_on(words: &[String]) -> Result<Vec<BounceClass>, ConfigError> {
    let read = |(index, word): (usize, &String)| {
        serde_json::from_value(word.as_str().into()).map_err(|_| {
            let remedy = "use `hard`, `soft`, `undetermined`, `blocked` or `suppressed`";
            ConfigError::new(format!("suppression.on[{index}]"), format!("`{word}` is no class of bounces"), remedy)
        })
    };
    words.iter().enumerate().map(read).collect()
}

/// The id of an endpoint or of a master key.
pub(super) fn check_id(place: &str, id: &str) -> Result<(), ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !id.is_empty() && id.len() <= NAME_LEN_MAX && id.bytes().all(is_plain) {
        return Ok(());
    }
    let remedy = format!("use 1 to {NAME_LEN_MAX} letters, digits, `-`, `_` and `.`");
    Err(ConfigError::new(place, format!("{id:?} is no id"), remedy))
}

/// Holds a number against its bounds.
pub(super) fn within(place: &str, value: u64, least: u64, most: u64) -> Result<(), ConfigError> {
    field::within(place, value, least, most)
        .map_err(|FieldError { field, problem, remedy }| ConfigError::new(field, problem, remedy))
}
