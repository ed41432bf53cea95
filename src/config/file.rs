//! The config file, key by key. Defaults are in `config/default.toml`, and for what can be there several times, here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::secret::SecretSource;
use crate::domain::access::Scope;
use crate::domain::endpoint::{EndpointSettings, Scheme};
use crate::domain::format::Format;
use crate::domain::risk::Risk;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) server: Server,
    pub(super) api: Api,
    pub(super) store: Store,
    pub(super) retention: Retention,
    /// By name; each has `provider`, `verify` and the keys that its provider takes.
    pub(super) sources: BTreeMap<String, Map<String, Value>>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) suppression: Suppression,
    pub(super) delivery: Delivery,
}

/// How requests come in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Where the API is instead, if not there too.
    #[serde(default)]
    pub admin_listen: Option<SocketAddr>,
    /// Networks of proxies that are believed when they tell whom they call for.
    pub trusted_proxies: Vec<String>,
    /// The largest request body taken.
    pub body_bytes_max: usize,
    /// The largest request body taken at a source of inbound mail.
    pub mail_bytes_max: usize,
    /// Bytes of all request bodies held in memory at once.
    pub body_budget_bytes: usize,
    /// Seconds for a whole request body to arrive.
    pub body_timeout_s: u64,
    /// The same at a source of inbound mail.
    pub mail_timeout_s: u64,
    /// Provider requests worked on at once, and those that the API reads again.
    pub requests_in_flight_max: usize,
    /// Seconds that work under way gets when the process is told to stop.
    pub drain_s: u64,
    /// What this gateway is called by from outside; links to the content of received mail begin with it.
    #[serde(default)]
    pub public_url: Option<String>,
    /// Hours that such a link is good for.
    pub link_ttl_hours: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Api {
    pub(super) keys: Vec<ApiKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of `name`, `key` and `scopes`")]
pub(super) struct ApiKey {
    pub(super) name: String,
    pub(super) key: SecretSource,
    pub(super) scopes: Vec<Scope>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) url: SecretSource,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) durability: Durability,
    pub(super) blobs: Option<PathBuf>,
    pub(super) accept_risk: Vec<Risk>,
    pub(super) master_keys: Vec<MasterKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of `replicas` and `wait_aof`")]
pub(super) struct Durability {
    #[serde(default)]
    pub(super) replicas: u64,
    #[serde(default)]
    pub(super) wait_aof: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of `id` and `key`")]
pub(super) struct MasterKey {
    pub(super) id: String,
    pub(super) key: SecretSource,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retention {
    pub(super) events_days: u64,
    pub(super) requests_days: u64,
    pub(super) tokens_hours: u64,
    pub(super) attempt_log_bytes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    pub(super) id: String,
    pub(super) url: String,
    /// When absent, what the names in `events` tell.
    pub(super) format: Option<Format>,
    #[serde(default)]
    pub(super) events: Vec<String>,
    #[serde(default)]
    pub(super) sources: Vec<String>,
    #[serde(default)]
    pub(super) tags: Vec<String>,
    pub(super) secret: Option<SecretSource>,
    #[serde(default)]
    pub(super) secrets: Vec<SecretSource>,
    /// When absent, the format's.
    pub(super) signatures: Option<Vec<Scheme>>,
    pub(super) signature_header: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// When absent, the format's.
    pub(super) retry: Option<Vec<u64>>,
    #[serde(default = "EndpointSettings::timeout_s_default")]
    pub(super) timeout_s: u64,
    #[serde(default = "EndpointSettings::max_in_flight_default")]
    pub(super) max_in_flight: u32,
    pub(super) rate_limit: Option<u32>,
    pub(super) description: Option<String>,
    #[serde(default = "EndpointSettings::active_default")]
    pub(super) active: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suppression {
    pub(super) on: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delivery {
    pub(super) allow_networks: Vec<String>,
    pub(super) in_flight_max: usize,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) proxy: Option<SecretSource>,
}
