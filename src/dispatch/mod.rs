//! Serves lanes: leases what is due, posts it, records what came of it.
//!
//! Jobs are worked at here too: a bulk replay by the owner of its lane.
//!
//! `lease` -> render and sign (pure) -> `post` (the only network call, nothing locked) -> decide (pure) -> `finish`.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::id::GatewayId;
use crate::domain::link::LinkSettings;
use crate::store::Store;

mod attempt;
pub mod client;
mod connector;
mod counting;
mod disable;
mod erase;
mod fetch;
mod gather;
mod jobs;
mod lane;
mod lanes;
mod pass;
mod reprocess;
pub mod room;
mod run;
mod split;
#[cfg(test)]
mod tests;

use waypost_providers::event::BounceClass;

use crate::endpoints::EndpointCache;
use crate::metrics::Metrics;
use crate::sources::CurrentSources;
use client::{Client, Egress};
use counting::Counting;
use gather::{Gatherer, Recorder};
use lanes::Lanes;
use pass::Passes;
use room::Room;

/// How the dispatcher works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Attempts under way at once, over all endpoints.
    pub max_in_flight: usize,
    /// How long attempts under way may go on after a stop.
    pub drain: Duration,
    /// How endpoints are reached.
    pub egress: Egress,
    /// Who reads what is reprocessed.
    pub sources: CurrentSources,
    /// What of it suppresses: bounces of these classes.
    pub suppress_on: Vec<BounceClass>,
    /// How links to the content of received mail are made.
    pub links: LinkSettings,
    /// Where what is done is counted.
    pub metrics: Arc<Metrics>,
}

/// Serves the lanes that this gateway owns. See [`Dispatcher::run`].
pub struct Dispatcher {
    shared: Arc<Shared>,
    passes: Passes,
    gateway: GatewayId,
    drain: Duration,
}

/// What every attempt needs.
struct Shared {
    store: Arc<dyn Store>,
    endpoints: Arc<EndpointCache>,
    clock: Arc<dyn Clock>,
    sources: CurrentSources,
    suppress_on: Vec<BounceClass>,
    links: LinkSettings,
    client: Client,
    /// For the content of mail that is fetched.
    room: Room,
    lanes: Arc<Lanes>,
    gatherer: Gatherer,
    counting: Counting,
    metrics: Arc<Metrics>,
}

impl Dispatcher {
    /// A dispatcher of this gateway. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        store: Arc<dyn Store>,
        endpoints: Arc<EndpointCache>,
        clock: Arc<dyn Clock>,
        gateway: GatewayId,
        settings: Settings,
    ) -> Result<Self, rustls::Error> {
        let (counting, metrics) = (Counting::default(), settings.metrics);
        let recorder = Recorder {
            store: Arc::clone(&store),
            endpoints: Arc::clone(&endpoints),
            clock: Arc::clone(&clock),
            counting: counting.clone(),
            metrics: Arc::clone(&metrics),
        };
        let shared = Arc::new(Shared {
            gatherer: Gatherer::start(recorder),
            counting,
            metrics,
            client: Client::new(settings.egress, Arc::clone(&clock))?,
            room: Room::for_one_of(fetch::BYTES_MAX),
            lanes: Lanes::new(settings.max_in_flight),
            store,
            endpoints,
            clock,
            sources: settings.sources,
            suppress_on: settings.suppress_on,
            links: settings.links,
        });
        Ok(Self { passes: Passes::new(Arc::clone(&shared)), shared, gateway, drain: settings.drain })
    }
}

/// How long to wait after so many failures in a row, from 1: 100 ms, doubling to 5 s.
fn backoff(failures: u32) -> Duration {
    Duration::from_millis(100 << failures.saturating_sub(1).min(6)).min(Duration::from_secs(5))
}
