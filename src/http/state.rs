//! What every handler shares.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use waypost_providers::Provider;
use waypost_providers::event::BounceClass;

use super::auth::Access;
use super::batches::Batches;
use super::body::{Size, WINDOW};
use super::feed::Tail;
use super::large::LargeMails;
use super::problem::Problem;
use super::rejecting::Rejecting;
use super::share::Shares;
use super::sources::Counting;
use super::throttle::Throttle;
use crate::clock::Clock;
use crate::domain::access::AccessKey;
use crate::domain::link::LinkSettings;
use crate::domain::source::Source;
use crate::domain::target::Networks;
use crate::endpoints::EndpointCache;
use crate::metrics::Metrics;
use crate::sources::CurrentSources;
use crate::store::Store;

/// The most bytes of mails' content, and of the requests that it is read from, that are held in memory at once: one mail of
/// the largest size. Of their own, so that who reads slowly is in the way of readers only.
pub(super) const CONTENT_BUDGET_BYTES: usize = 128 << 20;

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
    /// The same at a source of inbound mail.
    pub mail_bytes_max: usize,
    /// All bodies held in memory at once, in bytes.
    pub body_budget_bytes: usize,
    /// How long a whole body may take.
    pub body_timeout: Duration,
    /// The same at a source of inbound mail.
    pub mail_timeout: Duration,
    /// Provider requests worked on at once, and those that the API reads again.
    pub requests_in_flight_max: usize,
}

impl Limits {
    /// Of a body at a source, and of all bodies there together. One source leaves room for the others, but has it for the
    /// largest of its own.
    pub(super) fn of(&self, provider: &dyn Provider) -> (Size, usize) {
        let (bytes_max, within) = match provider.receives_mail() {
            true => (self.mail_bytes_max, self.mail_timeout),
            false => (self.body_bytes_max, self.body_timeout),
        };
        let size = Size { bytes_max, within, window: WINDOW };
        (size, (self.body_budget_bytes / 2).max(size.bytes_max))
    }
}

#[cfg(test)]
impl Limits {
    /// Nothing at all.
    pub(super) const NONE: Self = Self {
        body_bytes_max: 0,
        mail_bytes_max: 0,
        body_budget_bytes: 0,
        body_timeout: Duration::ZERO,
        mail_timeout: Duration::ZERO,
        requests_in_flight_max: 0,
    };
}

/// What every handler shares.
pub struct Gateway {
    pub(super) sources: CurrentSources,
    pub(super) access: Access,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) endpoints: Arc<EndpointCache>,
    pub(super) limits: Limits,
    /// Bounces of these classes suppress.
    pub(super) suppress_on: Vec<BounceClass>,
    /// That may be called though they are private.
    pub(super) networks: Networks,
    /// How links to the content of received mail are made.
    pub(super) links: LinkSettings,
    /// Bytes of content that may yet be held.
    pub(super) content_budget: Arc<Semaphore>,
    /// Bytes of bodies that may yet be held.
    pub(super) body_budget: Arc<Semaphore>,
    /// What each source holds of them.
    pub(super) shares: Shares,
    /// What reads large mails.
    pub(super) large_mails: LargeMails,
    /// Of the store, for large batches.
    pub(super) batches: Batches,
    /// Of lines about requests that are to come again.
    pub(super) refusals: Throttle,
    /// Of requests that prove nothing, by source.
    pub(super) rejecting: Rejecting,
    /// What comes in at the end of the feed, for those who wait for it.
    pub(super) feed: Tail,
    /// What came in at the sources.
    pub(super) counting: Counting,
    /// What this process counts.
    pub(super) metrics: Arc<Metrics>,
    in_flight: Semaphore,
    draining: AtomicBool,
}

impl Gateway {
    /// A gateway without sources and API keys.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, endpoints: Arc<EndpointCache>, limits: Limits) -> Self {
        let batches = Batches::new(store.large_at_once());
        Self {
            sources: CurrentSources::default(),
            access: Access::default(),
            store,
            clock,
            endpoints,
            limits,
            suppress_on: Vec::new(),
            networks: Networks::default(),
            links: LinkSettings::default(),
            content_budget: Arc::new(Semaphore::new(CONTENT_BUDGET_BYTES)),
            body_budget: Arc::new(Semaphore::new(limits.body_budget_bytes.min(Semaphore::MAX_PERMITS))),
            shares: Shares::default(),
            large_mails: LargeMails::start(),
            batches,
            refusals: Throttle::default(),
            rejecting: Rejecting::default(),
            feed: Tail::default(),
            counting: Counting::default(),
            metrics: Arc::default(),
            in_flight: Semaphore::new(limits.requests_in_flight_max.min(Semaphore::MAX_PERMITS)),
            draining: AtomicBool::new(false),
        }
    }

    /// The same with these sources.
    #[must_use]
    pub fn with_sources(self, sources: CurrentSources) -> Self {
        Self { sources, ..self }
    }

    /// The same with these API keys.
    #[must_use]
    pub fn with_api_keys(mut self, api_keys: Vec<AccessKey>) -> Self {
        self.access.keys = api_keys;
        self
    }

    /// The same that believes these proxies when they tell whom they call for.
    #[must_use]
    pub fn with_trusted_proxies(mut self, trusted_proxies: Networks) -> Self {
        self.access.trusted_proxies = trusted_proxies;
        self
    }

    /// The same whose bounces of these classes suppress; complaints and global unsubscribes do in any case.
    #[must_use]
    pub fn with_suppress_on(self, suppress_on: Vec<BounceClass>) -> Self {
        Self { suppress_on, ..self }
    }

    /// The same that lets webhooks into these networks.
    #[must_use]
    pub fn with_networks(self, networks: Networks) -> Self {
        Self { networks, ..self }
    }

    /// The same that counts here.
    #[must_use]
    pub fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// The same that makes links so.
    #[must_use]
    pub fn with_links(self, links: LinkSettings) -> Self {
        Self { links, ..self }
    }

    /// From now on: no new provider requests, and not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        // Whoever waits is to turn to another gateway.
        self.feed.wake();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// The source of this name.
    pub(super) fn source(&self, name: &str) -> Option<Source> {
        self.sources.all().get(name).cloned()
    }

    /// A place among the requests worked on; given back when the permit is dropped. Also for what was begun before the
    /// draining.
    pub(super) fn admit(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.in_flight.try_acquire().map_err(|_| Problem::Overloaded)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("limits", &self.limits).finish_non_exhaustive()
    }
}
