//! Any number of gateways on one Redis, 7.0 or newer.
//!
//! Everything is in one of four partitions, chosen by the mail; the keys of one share a hash tag, so that one script can
//! change them all or none; in a cluster they are in one slot. Below, `{wp:N}:` is left out.
//!
//! | key | what |
//! | --- | --- |
//! | `e:<event>` | the event: its stamp, then its JSON (nothing if it was erased); identity, record and retention in one |
//! | `k:<fingerprint>` | the event that had this fingerprint first |
//! | `feed` | a stream of ids and types; its ids are the server's microseconds, so they tell the order of commits. It and `e:` are read by others: `docs/redis-streams.md` is a contract |
//! | `f:<class>:<endpoint>` | a lane's deliveries that were never tried, in commit order: `<stamp><mail><event>` |
//! | `q:<class>:<endpoint>` | its others, by due time in microseconds |
//! | `b:<class>:<endpoint>` | mails of which one is in `q:` that was never tried: the event, `+` if others wait |
//! | `c:<class>:<mail>:<endpoint>` | a chain: those of one mail that wait for the one in `b:` |
//! | `lanes` | `<class><endpoint>` by earliest due time, or the end of its rest; ends of rests, below zero |
//! | `p:<endpoint>` | a row for each delivery that was begun and has not ended; it does not expire |
//! | `d:<event>` | a row for each delivery that has ended |
//! | `al:<endpoint>` | the log of its attempts: a stream of what rows do not hold of them; it expires with the last |
//! | `as:<endpoint>` | how many bytes that has, and when the last was recorded that was taken out since it had too many |
//! | `a:<event>` | which replays there are of it, and when each was made |
//! | `st:replays`, `rp:<replay>` | pending replays by when they were made: all, and those of one replay |
//! | `x:<replay>` | that it was canceled |
//! | `st:pending`, `i:<stamp>` | pending deliveries by when they were made, in pages |
//! | `st:<status>` | the others by when they ended |
//! | `states` | domains and contacts by the rank of their latest state; they do not expire |
//! | `sup:<hash>` | why an address is on the suppression list: reasons, and when and which event gave each first; it does not expire |
//! | `sups` | those hashes, in their order |
//! | `address_key` | the key of those hashes, led by what tells it from another |
//! | `w:<start of hash>` | where words lead: the rest of the hash of a recipient or of a mail's id, then the stamp of the event in `feed`; it does not expire, its members are swept |
//! | `ls` | what lanes remember |
//! | `gen` | the generation of the endpoint set |
//! | `barrier` | nothing; written before replicas are waited for |
//! | `-` | never there: scripts name it, so that none runs while its partition is on its way to another server |
//! | `announce` | a short stream that says that something falls due earlier than others think |
//! | `r:<request>`, `t:<token>` | raw requests (`!` and where the rest was, if it was erased) and Mailgun tokens, each by its own hash |
//! | `z:<request>` | that it was erased, and brings no event any more |
//! | `n:<request>`, `incomplete` | what of a request was not understood, and which there are, by when they were kept |
//! | `o:<event>` | of an event whose request was read again, the stamps of its first delivery and its last: it may expire before they are old |
//! | `claim:<hash>` | a request that came with an `Idempotency-Key`: what tells it from another, what is named after, what it made |
//! | `reprocessed` | the stamp of the last event that was committed when its request was read again |
//!
//! A delivery that nobody has tried costs its place in `f:` and one in `i:`, and is held back only when its turn comes while
//! another of its mail is under way. A stamp is the time of a commit in microseconds, one for each delivery. Where one in
//! `f:` was canceled, its stamp alone stays until it comes to the head.
//!
//! What a replay made goes by `<event>~<replay>` where others go by their event; its class is `l`.
//!
//! `endpoints`, `generation`, `numbered`, the audit log (`audit`, a stream), when API keys were last used (`keys_used`), the consumers of the feed (`consumers`), `blobs` (what tells the directory of large bodies from another), `gateways`, the jobs
//! (`j:<job>`, `jobs`, `jobs:active`) and what was counted at each source
//! (`tally:<source>`) and of each endpoint's deliveries (`cd:<day>:<endpoint>`) are in the first partition only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use redis::Cmd;
use tokio::sync::{Notify, OnceCell, Semaphore, watch as channel};
use tokio::task::JoinHandle;

use super::blobs::Blobs;
use super::{
    Committed, Due, Endpoints, Finished, LaneState, LeaseLost, Leased, Page, PageQuery, Result, Store, StoreError,
    StoredRequest, Want, place,
};
use crate::clock::Clock;
use crate::domain::address::Address;
use crate::domain::attempt_log;
use crate::domain::audit::Entry;
use crate::domain::delivery::{Delivery, Status};
use crate::domain::endpoint::Endpoint;
use crate::domain::id::{EndpointId, EventId, GatewayId, RequestId};
use crate::domain::link::LinkKey;
use crate::domain::ownership::Shards;
use crate::domain::plan::{Generation, Ingest, StoredEvent};
use crate::domain::redis_url::Redis;
use crate::domain::retention::Lifetimes;
use crate::domain::risk::Risk;
use crate::domain::suppression::{Reason, Suppressed, Suppression};
use crate::domain::tally::{Tallies, Tally};

mod access;
mod anew;
mod attempts;
mod barrier;
mod call;
mod check;
mod chunks;
mod counts;
mod dial;
mod endpoints;
mod erase;
mod feed;
mod find;
mod gather;
mod ingest;
mod keys;
mod lease;
mod link;
mod look;
mod queue;
mod raw;
mod read;
mod recent;
mod replay;
mod requests;
mod route;
mod rows;
mod scripts;
mod search;
mod server;
mod suppressed;
mod suppression;
mod sweep;
mod tally;
mod watch;

use gather::Gather;
use link::Link;
use suppression::AddressKeys;

/// So many large bodies are compressed and sent at once: the server takes them one after the other.
const PACKING_MAX: usize = 2;

/// A store on Redis. Must be made within a Tokio runtime.
pub struct RedisStore {
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
    lifetimes: Lifetimes,
    address_keys: Arc<AddressKeys>,
    /// How many bytes the log of one endpoint's attempts may hold.
    attempt_log_bytes: Arc<AtomicU64>,
    blobs: Option<Arc<Blobs>>,
    /// Set once it is known to be the one of this store.
    is_place_known: OnceCell<()>,
    /// Of large bodies that are on their way in chunks.
    packing: Semaphore,
    units: Gather<ingest::Planned, i64>,
    finishes: Gather<queue::Finishing, i64>,
    credits: Mutex<lease::Credits>,
    recent: Mutex<recent::Recent>,
    work: Arc<Notify>,
    /// Changes when there may be more in the feed.
    fed: Arc<channel::Sender<()>>,
    watcher: JoinHandle<()>,
    sweeper: JoinHandle<()>,
}

impl RedisStore {
    /// Connects, and checks that the server keeps what it is given. A server that is down now is no
    /// error: calls answer [`StoreError::Unavailable`] until it is up. It is checked at each connection; while it would
    /// lose data, it takes no ingest and is not ready, and both answer [`StoreError::Refused`].
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a server does not prove who it is, or one of its settings would lose data and the risk is
    /// not accepted.
    pub async fn connect(
        redis: &Redis,
        clock: Arc<dyn Clock>,
        lifetimes: Lifetimes,
        accept_risk: &[Risk],
    ) -> Result<Self> {
        let link = Arc::new(Link::new(redis, Arc::clone(&clock), accept_risk)?);
        match link.check().await {
            Ok(()) => {}
            Err(error @ StoreError::Refused(_)) => return Err(error),
            Err(error) => tracing::warn!(%error, "Redis is not up yet; its settings are checked when it is"),
        }
        let (work, fed) = (Arc::new(Notify::new()), Arc::new(channel::Sender::new(())));
        let (committing, recording) = (Arc::new(link.kept()), Arc::clone(&link));
        let attempt_log_bytes = Arc::new(AtomicU64::new(attempt_log::BYTES_DEFAULT));
        let log_bytes = Arc::clone(&attempt_log_bytes);
        let address_keys = Arc::new(AddressKeys::default());
        let keys = Arc::clone(&address_keys);
        let units = Gather::start(move |planned| {
            let (link, keys) = (Arc::clone(&committing), Arc::clone(&keys));
            async move { ingest::commit(&link, &keys, lifetimes, planned).await }
        });
        let finishes = Gather::start(move |finished| {
            let (link, log_bytes) = (Arc::clone(&recording), log_bytes.load(Ordering::Relaxed));
            async move { queue::record(&link, lifetimes, log_bytes, finished).await }
        });
        let watcher = watch::start(Arc::clone(&link), Arc::clone(&work), Arc::clone(&fed));
        let sweeper = sweep::start(Arc::clone(&link), lifetimes.events)?;
        Ok(Self {
            link,
            clock,
            lifetimes,
            address_keys,
            attempt_log_bytes,
            blobs: None,
            is_place_known: OnceCell::new(),
            packing: Semaphore::new(PACKING_MAX),
            units,
            finishes,
            credits: Mutex::default(),
            recent: Mutex::default(),
            work,
            fed,
            watcher,
            sweeper,
        })
    }
}

impl RedisStore {
    /// The same that keeps large bodies in files. Whoever else works on it is to have the same directory.
    #[must_use]
    pub fn with_blobs(mut self, blobs: Blobs) -> Self {
        self.blobs = Some(Arc::new(blobs));
        self
    }

    /// The same whose logs of attempts hold so many bytes for each endpoint.
    #[must_use]
    pub fn with_attempt_log(self, bytes: u64) -> Self {
        self.attempt_log_bytes.store(bytes, Ordering::Relaxed);
        self
    }

    /// Holds the directory of large bodies against the one that the store began with; asked once.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when it is another.
    pub async fn check_place(&self) -> Result<()> {
        let check = async || {
            let mut cmd = Cmd::new();
            let key = keys::Partition::FIRST.key("blobs");
            match &self.blobs {
                Some(blobs) => cmd.arg("SET").arg(key).arg(blobs.id()).arg("NX").arg("GET"),
                None => cmd.arg("GET").arg(key),
            };
            match (&self.blobs, self.link.kept().send::<Option<String>>(cmd).await?) {
                (_, None) => Ok(()),
                (Some(blobs), Some(known)) => blobs.check(&known),
                (None, Some(known)) => place::check(None, &known),
            }
        };
        self.is_place_known.get_or_try_init(check).await.copied()
    }

    fn recent(&self) -> MutexGuard<'_, recent::Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.watcher.abort();
        self.sweeper.abort();
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn ingest_all(&self, ingests: Vec<Ingest>) -> Vec<Result<Committed>> {
        let len = ingests.len();
        let checked = async {
            self.link.check().await?;
            self.check_place().await?;
            let answers = ingest::ingest_all(self, ingests).await;
            // Again, for the connection may have broken and led to another server meanwhile.
            self.link.check().await?;
            Ok(answers)
        };
        checked.await.unwrap_or_else(|error| vec![Err(error); len])
    }

    async fn due(&self, shards: Shards) -> Result<Due> {
        queue::due(self, shards).await
    }

    async fn lease(&self, wants: &[Want]) -> Result<Leased> {
        lease::lease(self, wants).await
    }

    async fn finish(&self, finished: Vec<Finished>) -> Result<Vec<LeaseLost>> {
        queue::finish(self, finished).await
    }

    async fn work(&self) {
        self.work.notified().await;
    }

    async fn heartbeat(&self, gateway: &GatewayId, ttl: Duration) -> Result<Vec<GatewayId>> {
        endpoints::heartbeat(&self.link, gateway, ttl).await
    }

    async fn leave(&self, gateway: &GatewayId) -> Result<()> {
        endpoints::leave(&self.link, gateway).await
    }

    async fn endpoints(&self) -> Result<Endpoints> {
        endpoints::endpoints(&self.link).await
    }

    async fn replace_endpoints(
        &self,
        base: Generation,
        changes: &[Endpoint],
        removed: &[EndpointId],
        entries: &[Entry],
    ) -> Result<Option<Generation>> {
        endpoints::change(&self.link, base, changes, removed, entries).await
    }

    async fn lane_states(&self, endpoints: &[EndpointId]) -> Result<Vec<(EndpointId, LaneState)>> {
        read::lane_states(&self.link, endpoints).await
    }

    async fn event(&self, id: &EventId) -> Result<Option<StoredEvent>> {
        read::event(&self.link, id).await
    }

    async fn suppressions(&self, address: &Address) -> Result<Vec<Suppression>> {
        suppression::suppressions(&self.link, &self.address_keys, address).await
    }

    async fn suppressed(&self, page: &PageQuery) -> Result<Page<Suppressed>> {
        suppressed::suppressed(&self.link, &self.address_keys, page).await
    }

    async fn suppress(&self, address: &Address, reason: Reason, at: Timestamp) -> Result<bool> {
        self.link.check().await?;
        suppression::suppress(&self.link, &self.address_keys, address, reason, at).await
    }

    async fn unsuppress(&self, address: &Address) -> Result<bool> {
        self.link.check().await?;
        suppression::unsuppress(&self.link, &self.address_keys, address).await
    }

    async fn link_key(&self) -> Result<LinkKey> {
        Ok(self.address_keys.get(&self.link).await?.link_key())
    }

    async fn request(&self, id: &RequestId) -> Result<Option<StoredRequest>> {
        raw::request(self, id).await
    }

    async fn request_len(&self, id: &RequestId) -> Result<Option<usize>> {
        raw::request_len(self, id).await
    }

    async fn deliveries_of(&self, event: &EventId) -> Result<Vec<Delivery>> {
        read::deliveries_of(&self.link, event).await
    }

    async fn deliveries(&self, status: Status, page: &PageQuery) -> Result<Page<Delivery>> {
        read::deliveries(&self.link, status, page).await
    }

    async fn count(&self, tallies: &Tallies) -> Result<()> {
        tally::count(&self.link, self.lifetimes, tallies).await
    }

    async fn tallies(&self, sources: Vec<String>) -> Result<Vec<Tally>> {
        tally::tallies(&self.link, &sources).await
    }

    async fn ready(&self) -> Result<()> {
        self.link.check().await?;
        self.check_place().await?;
        // A write, for a server that is full, or a replica, can still be read; and kept, for so is what comes in.
        let mut cmd = Cmd::new();
        cmd.arg("SET").arg(keys::Partition::FIRST.key("ready")).arg(1).arg("EX").arg(60);
        self.link.kept().send::<String>(cmd).await?;
        Ok(())
    }
}
