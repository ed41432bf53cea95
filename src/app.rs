//! Wires everything: build, port, run until stopped.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::{Data, ThinData};
use actix_web::{App as Routes, HttpServer};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::{Settings, StoreUrl};
use crate::dispatch::client::Egress;
use crate::dispatch::{self, Dispatcher};
use crate::domain::id::GatewayId;
use crate::endpoints::EndpointCache;
use crate::http::gather::Gatherer;
use crate::http::routes::Door;
use crate::http::sources;
use crate::http::state::{Gateway, Limits};
use crate::keyring::{Keyring, random};
use crate::metrics::Metrics;
use crate::sources::CurrentSources;
use crate::store::blobs::Blobs;
use crate::store::embedded::{Embedded, KeyFile};
use crate::store::redis::RedisStore;
use crate::store::{Store, StoreError};

/// Why a gateway cannot be built. The text is for the operator.
pub type BuildError = Box<dyn std::error::Error + Send + Sync>;

/// How long the server waits for a request's head, and for an idle connection to speak.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the store gets at the end to add what was counted last.
const COUNTED_WITHIN: Duration = Duration::from_secs(1);
/// How long the store is asked for at start before the gateway serves without it, and heals later.
const STORE_AT_START: Duration = Duration::from_secs(5);

/// One gateway: an HTTP server and a dispatcher on one store.
pub struct App {
    /// One, or one for each [`Door`].
    servers: Vec<Server>,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    gateway: Data<Gateway>,
    dispatcher: Dispatcher,
    store: Arc<dyn Store>,
    reloader: Reloader,
    drain: Duration,
}

impl App {
    /// Opens the store, binds the port, and brings the config's endpoints to the store. A Redis that is down is no
    /// reason not to start: providers are answered `503` until it is back.
    ///
    /// # Errors
    /// When the store refuses, the port is taken, or a network of the config cannot be used.
    pub async fn build(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, BuildError> {
        let store = open(settings, &clock).await?;
        let cache = Arc::new(EndpointCache::default().with_keyring(keyring(settings)?));
        let sources = CurrentSources::default();
        sources.replace(settings.sources.clone());
        cache.replace_file(settings.endpoint_settings(), settings.endpoint_secrets(), clock.now(), || ()).await;
        match tokio::time::timeout(STORE_AT_START, cache.refresh(store.as_ref())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the store is not up yet; answering 503 until it is"),
            Err(_) => tracing::warn!("the store does not answer yet; answering 503 until it does"),
        }
        let id = GatewayId::random(random()?);
        let drain = settings.server.drain();
        let metrics = Arc::new(Metrics::of_process_since(clock.now()));
        let sending = dispatch::Settings {
            metrics: Arc::clone(&metrics),
            max_in_flight: settings.delivery.in_flight_max,
            drain,
            sources: sources.clone(),
            suppress_on: settings.suppress_on.clone(),
            links: settings.server.links(),
            egress: Egress {
                networks: settings.delivery.networks.clone(),
                authorities: settings.delivery.authorities.clone(),
                proxy: settings.delivery.proxy.clone(),
            },
        };
        let dispatcher = Dispatcher::new(Arc::clone(&store), Arc::clone(&cache), Arc::clone(&clock), id, sending)?;
        let limits = Limits {
            body_bytes_max: settings.server.body_bytes_max,
            mail_bytes_max: settings.server.mail_bytes_max,
            body_budget_bytes: settings.server.body_budget_bytes,
            body_timeout: settings.server.body_timeout(),
            mail_timeout: settings.server.mail_timeout(),
            requests_in_flight_max: settings.server.requests_in_flight_max,
        };
        let gateway = Gateway::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&cache), limits)
            .with_sources(sources.clone())
            .with_api_keys(settings.api_keys.clone())
            .with_trusted_proxies(settings.trusted_proxies.clone())
            .with_suppress_on(settings.suppress_on.clone())
            .with_networks(settings.delivery.networks.clone())
            .with_links(settings.server.links())
            .with_metrics(metrics);
        let gateway = Data::new(gateway);
        let door = if settings.server.admin_listen.is_some() { Door::Public } else { Door::Whole };
        let (server, address) = bind(("server.listen", settings.server.listen), door, &gateway, drain)?;
        let (mut servers, mut admin_address) = (vec![server], None);
        if let Some(listen) = settings.server.admin_listen {
            let (server, address) = bind(("server.admin_listen", listen), Door::Admin, &gateway, drain)?;
            servers.push(server);
            admin_address = Some(address);
        }
        let started = Arc::new(settings.without_what_reloads());
        let reloader = Reloader { started, sources, cache, store: Arc::clone(&store), clock };
        Ok(Self { servers, address, admin_address, gateway, dispatcher, store, reloader, drain })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the API is, if that is another address.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The store it works on.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// What takes a config that was read again.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Serves until `stop` resolves; then takes no new requests, finishes what is under way for as long as the config
    /// allows, and returns. What is not finished by then stays leased, and falls due again.
    ///
    /// # Errors
    /// When the server ends by itself.
    pub async fn run(self, stop: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
        let (stopping, stopped) = watch::channel(false);
        let (drained, counted) = watch::channel(false);
        let dispatching = tokio::spawn(self.dispatcher.run(stopped));
        let counting = tokio::spawn(sources::add_counts(self.gateway.clone(), counted));
        let handles: Vec<_> = self.servers.iter().map(Server::handle).collect();
        let serving: Vec<_> = self.servers.into_iter().map(tokio::spawn).collect();
        let result = stop.await;
        tracing::info!(drain_s = self.drain.as_secs(), "stopping");
        // New requests are answered 503 from here on, so that providers turn to another gateway.
        self.gateway.drain();
        let _ = stopping.send(true);
        let ends = async {
            join_all(handles.iter().map(|handle| handle.stop(true))).await;
            let _ = dispatching.await;
        };
        // The dispatcher bounds itself; this bounds a connection that never ends.
        let _ = tokio::time::timeout(self.drain + Duration::from_secs(2), ends).await;
        serving.iter().for_each(JoinHandle::abort);
        let _ = drained.send(true);
        let _ = tokio::time::timeout(COUNTED_WITHIN, counting).await;
        result
    }
}

/// Takes a config that was read again: sources, endpoints and their secrets. Everything else needs a restart.
#[derive(Clone)]
pub struct Reloader {
    /// What is in force until a restart.
    started: Arc<Settings>,
    sources: CurrentSources,
    cache: Arc<EndpointCache>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Reloader {
    /// Puts the sources and endpoints of `settings` in force, and warns of each other section that has changed.
    ///
    /// # Errors
    /// When the store is down; then the endpoints follow when it is back.
    pub async fn apply(&self, settings: &Settings) -> Result<(), BuildError> {
        for section in self.started.sections_that_differ(settings) {
            tracing::warn!(config.section = section, "changed in the config, and not in force until a restart");
        }
        let (endpoints, secrets) = (settings.endpoint_settings(), settings.endpoint_secrets());
        let sources = || self.sources.replace(settings.sources.clone());
        self.cache.replace_file(endpoints, secrets, self.clock.now(), sources).await;
        Ok(self.cache.refresh(self.store.as_ref()).await?)
    }
}

/// Opens the store of a config.
///
/// # Errors
/// When it refuses, or the directory of an embedded one is in use.
pub(crate) async fn open(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Store>, BuildError> {
    let (lifetimes, clock, blobs) = (settings.lifetimes, Arc::clone(clock), settings.store.blobs.as_deref());
    let log_bytes = settings.attempt_log_bytes;
    Ok(match (&settings.store.url, blobs) {
        (StoreUrl::Embedded(directory), None) => {
            Arc::new(Embedded::open(directory, clock, lifetimes)?.with_attempt_log(log_bytes))
        }
        (StoreUrl::Embedded(directory), Some(blobs)) => {
            Arc::new(Embedded::open_with(directory, blobs, clock, lifetimes)?.with_attempt_log(log_bytes))
        }
        (StoreUrl::Redis(redis), blobs) => {
            let store = RedisStore::connect(redis, Arc::clone(&clock), lifetimes, &settings.store.accept_risk).await?;
            let store = store.with_attempt_log(log_bytes);
            let store = match blobs {
                Some(blobs) => store.with_blobs(Blobs::open(blobs, clock)?),
                None => store,
            };
            match store.check_place().await {
                Err(error @ StoreError::Refused(_)) => return Err(error.into()),
                // It is down, and asked again when it is up.
                _ => Arc::new(store),
            }
        }
    })
}

/// The master keys of a config whose store is open.
///
/// # Errors
/// When the key file of an embedded store cannot be used.
pub(crate) fn keyring(settings: &Settings) -> Result<Keyring, BuildError> {
    let file = match &settings.store.url {
        StoreUrl::Embedded(directory) => Some(KeyFile::of(directory)),
        StoreUrl::Redis(_) => None,
    };
    Ok(Keyring::new(&settings.store.master_keys, file)?)
}

/// A server at the address that this setting names.
fn bind(
    (setting, listen): (&str, SocketAddr),
    door: Door,
    gateway: &Data<Gateway>,
    drain: Duration,
) -> Result<(Server, SocketAddr), BuildError> {
    let gateway = gateway.clone();
    // Called once on each worker.
    let routes = move || {
        let mut routes = Routes::new().app_data(gateway.clone());
        if door != Door::Admin {
            routes = routes.app_data(ThinData(Gatherer::start(&gateway)));
        }
        routes.configure(|app| door.configure(app))
    };
    let server = HttpServer::new(routes)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(drain.as_secs())
        .disable_signals()
        .bind(listen)
        .map_err(|error| format!("{setting}: cannot listen on {listen}: {error}; choose another address"))?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    Ok((server.run(), address))
}
