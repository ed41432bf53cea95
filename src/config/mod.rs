//! Settings: `config/default.toml` (compiled in), then the file given with `--config`, then environment variables.
//!
//! Whatever is wrong is an error at start, which names the key, what is wrong with its value, and the remedy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use rustls::pki_types::CertificateDer;
use waypost_providers::event::BounceClass;

use crate::domain::access::AccessKey;
use crate::domain::endpoint::{EndpointSettings, Scheme};
use crate::domain::id::EndpointId;
use crate::domain::link::LinkSettings;
use crate::domain::proxy::Proxy;
use crate::domain::redis_url::Redis;
use crate::domain::retention::Lifetimes;
use crate::domain::risk::Risk;
use crate::domain::seal::MasterKeys;
use crate::domain::secret::SigningSecret;
use crate::domain::source::Source;
use crate::domain::target::Networks;

mod checks;
mod credentials;
mod delivery;
mod endpoints;
mod fetching;
mod file;
mod layers;
mod restart;
mod secret;
mod sources;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use delivery::authorities;
pub use file::Server;

/// Everything that the operator says, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How requests come in.
    pub server: Server,
    /// Who may use the API.
    pub api_keys: Vec<AccessKey>,
    /// Proxies that are believed when they tell whom they call for.
    pub trusted_proxies: Networks,
    /// Where things are kept.
    pub store: StoreSettings,
    /// For how long.
    pub lifetimes: Lifetimes,
    /// How many bytes the log of one endpoint's attempts may hold.
    pub attempt_log_bytes: u64,
    /// Who calls in, by the name in the callback URL.
    pub sources: BTreeMap<String, Source>,
    /// Who is told.
    pub endpoints: BTreeMap<EndpointId, EndpointEntry>,
    /// Bounces of these classes put addresses on the suppression list.
    pub suppress_on: Vec<BounceClass>,
    /// How requests go out.
    pub delivery: DeliverySettings,
}

/// How requests go out.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// Attempts under way at once, over all endpoints.
    pub in_flight_max: usize,
    /// Networks that may be called though they are private, also over plain `http`.
    pub networks: Networks,
    /// Certificate authorities that are trusted beside the public ones.
    pub authorities: Vec<CertificateDer<'static>>,
    /// What all requests go through.
    pub proxy: Option<Proxy>,
}

/// Where things are kept.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The engine and its place.
    pub url: StoreUrl,
    /// The directory for large bodies. When absent, an embedded store has its own, and Redis holds them itself.
    pub blobs: Option<PathBuf>,
    /// Settings of a Redis that lose data, and are accepted all the same.
    pub accept_risk: Vec<Risk>,
    /// What seals and opens the secrets that the store holds; the first seals. A Redis that is given none takes none.
    pub master_keys: MasterKeys,
}

/// The engine and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A directory of this process.
    Embedded(PathBuf),
    /// A Redis.
    Redis(Box<Redis>),
}

/// One endpoint of the config file.
#[derive(Clone, Debug)]
pub struct EndpointEntry {
    /// How it is to be served.
    pub settings: EndpointSettings,
    /// What its requests are signed with, newest first. At least one.
    pub secrets: Vec<SigningSecret>,
    /// The schemes that it would have if its secrets were good for them.
    pub left_out: Vec<Scheme>,
}

/// What is wrong with the config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}; {remedy}")]
pub struct ConfigError {
    /// The key, such as `endpoints[0].url`, or the file.
    pub place: String,
    /// What is wrong with it. Never repeats a secret.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl ConfigError {
    fn new(place: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into(), remedy: remedy.into() }
    }
}

impl Settings {
    /// Reads and checks the config. `env` is the environment, for `WAYPOST__SECTION__KEY` and `{ env = "NAME" }`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let env = env.collect();
        let file = layers::read(path, &env)?;
        checks::server(&file.server)?;
        let delivery = delivery::read(&file.delivery, &env)?;
        let lifetimes = checks::lifetimes(&file.retention)?;
        let sources = sources::read(file.sources, &lifetimes, &delivery.networks, &env)?;
        let endpoints = endpoints::read(file.endpoints, &sources, &delivery.networks, &env)?;
        Ok(Self {
            trusted_proxies: checks::trusted_proxies(&file.server)?,
            server: file.server,
            api_keys: checks::api_keys(file.api.keys, &env)?,
            store: store::read(file.store, &env)?,
            lifetimes,
            attempt_log_bytes: file.retention.attempt_log_bytes,
            sources,
            endpoints,
            suppress_on: checks::suppress_on(&file.suppression.on)?,
            delivery,
        })
    }

    /// The same with the environment of this process.
    ///
    /// # Errors
    /// The first thing that is wrong; also a `WAYPOST__SECTION__KEY` that is not UTF-8.
    pub fn load_here(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load(path, layers::environment(std::env::vars_os())?.into_iter())
    }

    /// The endpoints as the store keeps them: without their signing secrets. Those that fetch a source's mail are among
    /// them.
    pub fn endpoint_settings(&self) -> BTreeMap<EndpointId, EndpointSettings> {
        let fetching = self.sources.iter().filter_map(|(name, source)| source.fetching.as_ref()?.endpoint(name));
        self.endpoints.iter().map(|(id, entry)| (id.clone(), entry.settings.clone())).chain(fetching).collect()
    }

    /// The secrets of the endpoints, newest first.
    pub fn endpoint_secrets(&self) -> BTreeMap<EndpointId, Vec<SigningSecret>> {
        self.endpoints.iter().map(|(id, entry)| (id.clone(), entry.secrets.clone())).collect()
    }
}

impl Server {
    /// How long a whole request body may take.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_s)
    }

    /// The same at a source of inbound mail.
    pub fn mail_timeout(&self) -> Duration {
        Duration::from_secs(self.mail_timeout_s)
    }

    /// How links to the content of received mail are made.
    pub fn links(&self) -> LinkSettings {
        let public_url = self.public_url.as_deref().unwrap_or_default().trim_end_matches('/').to_owned();
        LinkSettings { public_url, ttl: SignedDuration::from_hours(i64::try_from(self.link_ttl_hours).unwrap_or(1)) }
    }

    /// How long work under way gets when the process is told to stop.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_s)
    }
}
