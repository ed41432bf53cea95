//! One process, a directory on disk, what comes in synced before it is acknowledged.
//!
//! One thread writes. It takes what has gathered in its channel, decides every call in order, and commits the whole to
//! its `log` with one sync; nobody is answered before. Leases and what came of them are committed first and not waited
//! for, or what is due would wait for what comes in; the next sync is theirs too, or one soon after: the writer waits no
//! longer than a tenth of a second. Where lanes are behind, they are committed while others are synced, too (`open`).
//! After the loss of power such a delivery is made again, as after a crash between the receiver's answer and the commit.
//! What is committed is seen from memory (`layers`) until it is given to the engine (`apply`), in bulk and in the
//! background: the engine then never keeps a commit waiting, and a row that lives for milliseconds never gets there.
//!
//! What the writer derives from the rows (what is due, the chains) is its own (others are told which lanes are due, after
//! each commit), and is thrown away with the engine when a commit fails; whatever an engine reads when it is opened is
//! first written anew and synced, for a failed sync may leave it in memory only.
//!
//! Rows are few and in the order they come in, since what is written at random places costs the most. An event and a
//! request are kept under their number, and their ids lead there, written in bulk, as do the words that events are found
//! by; what expires together is one entry; and a delivery has no row of its own until it is begun. Large bodies are
//! [files](super::blobs).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot};

use self::anew::Anew;
use self::batch::{Call, decide};
use self::core::Change;
use self::ids::Kind;
use self::ingest::{Arrival, Kept};
use self::lease::{Event, Taken};
use self::read::View;
use self::rows::{encode, micros};
use self::writer::{Shared, Writer};
use super::blobs::{BLOB_LEN_MIN, Blobs};
use super::{
    Committed, Due, Endpoints, Finished, LaneState, LeaseLost, Leased, Page, PageQuery, Result, Store, StoreError,
    StoredRequest, Want,
};
use crate::clock::Clock;
use crate::domain::address::{Address, AddressKey};
use crate::domain::audit::Entry;
use crate::domain::delivery::{Delivery, Status};
use crate::domain::endpoint::Endpoint;
use crate::domain::id::{EndpointId, EventId, GatewayId, RequestId};
use crate::domain::link::LinkKey;
use crate::domain::ownership::Shards;
use crate::domain::plan::{Generation, Ingest, StoredEvent};
use crate::domain::retention::Lifetimes;
use crate::domain::suppression::{Reason, Suppressed, Suppression};
use crate::domain::tally::{Tallies, Tally};

mod access;
mod address_key;
mod anew;
mod apply;
mod attempts;
mod background;
mod batch;
mod bulk;
mod core;
mod counts;
mod delivery;
mod erase;
mod feed;
mod filter;
mod ids;
mod index;
mod ingest;
mod jobs;
mod journal;
mod key_file;
mod layers;
mod lease;
mod log;
mod merge;
mod open;
mod range;
mod read;
mod ready;
mod recent;
mod replay;
mod requests;
mod rows;
mod search;
mod secret_file;
mod space;
mod spaces;
mod suppression;
mod sweep;
mod syncer;
mod tally;
#[cfg(test)]
mod tests;
mod tree;
mod txn;
mod words;
mod writer;

pub use self::key_file::KeyFile;

/// Where in its directory large bodies are.
const BLOBS_NAME: &str = "blobs";
/// How many calls may wait for the writer before callers wait to ask.
const CALLS_MAX: usize = 4_096;

/// The embedded engine. Dropped, it closes the directory.
pub struct Embedded {
    calls: Option<mpsc::Sender<Call>>,
    writer: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    lifetimes: Lifetimes,
    address_key: AddressKey,
    blobs: Arc<Blobs>,
    anew: Anew,
    /// Which gateways live, until when.
    gateways: Mutex<BTreeMap<GatewayId, Duration>>,
}

impl Embedded {
    /// Opens the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// When another process has it open, or it cannot be read and written.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>, lifetimes: Lifetimes) -> Result<Self> {
        Self::open_with(dir, &dir.join(BLOBS_NAME), clock, lifetimes)
    }

    /// The same with another place for large bodies than its own.
    ///
    /// # Errors
    /// Also when that cannot be made, or is not the place that the store began with.
    pub fn open_with(dir: &Path, blobs: &Path, clock: Arc<dyn Clock>, lifetimes: Lifetimes) -> Result<Self> {
        let shared = Arc::new(Shared::new());
        let writer = Writer::open(dir.to_owned(), Arc::clone(&clock), lifetimes, Arc::clone(&shared))?;
        let address_key = address_key::open(dir, &*shared.spaces()?)?;
        let blobs = Arc::new(Blobs::open(blobs, Arc::clone(&clock))?);
        blobs.check(&shared.spaces()?.blobs(blobs.id())?)?;
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run(receiver));
        let thread = thread.map_err(|error| StoreError::Unavailable(format!("no thread to write with: {error}")))?;
        let (calls, writer, gateways) = (Some(calls), Some(thread), Mutex::default());
        let anew = Anew::new(Arc::clone(&shared));
        Ok(Self { calls, writer, shared, clock, lifetimes, address_key, blobs, anew, gateways })
    }

    /// The same whose logs of attempts hold so many bytes for each endpoint.
    #[must_use]
    pub fn with_attempt_log(self, bytes: u64) -> Self {
        self.shared.attempt_log_bytes.store(bytes, Ordering::Relaxed);
        self
    }

    /// Keeps a large body, before anything refers to it.
    async fn keep_body(&self, ingest: &Ingest) -> Result<Kept> {
        let Some(raw) = ingest.raw.as_ref().filter(|raw| raw.request.body.len() > BLOB_LEN_MIN) else {
            return Ok(Kept::Here);
        };
        let id = raw.id.clone();
        let known = self.read(move |view| Ok((view.place(Kind::Request, id.bits())?, view.blob_of(&id)))).await?;
        if let (Some(_), blob) = known {
            // What cannot be read needs no file.
            if let Ok(Some(blob)) = blob {
                self.blobs.settle(self, raw.id.clone(), raw.request.body.clone(), blob).await;
            }
            return Ok(Kept::There);
        }
        let life = ingest.request_life(&self.lifetimes);
        Ok(Kept::File(self.blobs.keep(raw.id.clone(), raw.request.body.clone(), life).await?))
    }

    async fn arrive(&self, ingest: Ingest) -> Result<Arrival> {
        let kept = self.keep_body(&ingest).await?;
        Arrival::new(ingest, kept, &self.address_key)
    }

    /// Asks the writer, and waits for its commit.
    async fn ask<T>(&self, call: impl FnOnce(oneshot::Sender<Result<T>>) -> Call) -> Result<T> {
        let gone = || StoreError::Unavailable("its writer has stopped, or gave up the batch this was in".into());
        let (answer, answered) = oneshot::channel();
        let calls = self.calls.as_ref().ok_or_else(gone)?;
        calls.send(call(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Reads on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(&self, read: impl FnOnce(&View<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        let spaces = self.shared.spaces()?;
        let now = micros(self.clock.now());
        let read = tokio::task::spawn_blocking(move || read(&View::new(&spaces, now))).await;
        read.map_err(|error| StoreError::Unavailable(format!("a read was given up: {error}")))?
    }

    fn gateways(&self) -> MutexGuard<'_, BTreeMap<GatewayId, Duration>> {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.calls.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer had stopped");
        }
    }
}

/// Gives each lease its event.
fn fill(
    leased: &mut Leased,
    events: Vec<Event>,
    mut read: impl FnMut(u64) -> Result<Option<Arc<StoredEvent>>>,
) -> Result<()> {
    for (lease, event) in leased.leases.iter_mut().zip(events) {
        let event = match event {
            Event::Expired => Ok(None),
            Event::Here(event) => Ok(Some(event)),
            Event::Stored(seq) => read(seq),
        };
        lease.event = match event {
            // One unreadable event must not hold back the others: it is as if it had expired.
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(event.id = %lease.event_id, %error, "a stored event cannot be read");
                None
            }
            event => event?,
        };
    }
    Ok(())
}

#[async_trait]
impl Store for Embedded {
    async fn ingest_all(&self, ingests: Vec<Ingest>) -> Vec<Result<Committed>> {
        let mut arrivals = Vec::with_capacity(ingests.len());
        for ingest in ingests {
            arrivals.push(self.arrive(ingest).await);
        }
        let len = arrivals.len();
        let answers = self.ask(|answer| Call::Ingest(arrivals, answer)).await;
        answers.unwrap_or_else(|error| vec![Err(error); len])
    }

    async fn due(&self, shards: Shards) -> Result<Due> {
        self.shared.spaces()?;
        let now = micros(self.clock.now());
        Ok(self.shared.ready().due(shards, now))
    }

    async fn lease(&self, wants: &[Want]) -> Result<Leased> {
        let Taken { mut leased, mut events } = self.ask(|answer| Call::Lease(wants.to_vec(), answer)).await?;
        let since = self.shared.read_last.look(&mut events);
        if events.iter().all(|event| !matches!(event, Event::Stored(_))) {
            fill(&mut leased, events, |_| Ok(None))?;
            return Ok(leased);
        }
        let to = Arc::clone(&self.shared);
        self.read(move |view| {
            // Of this call, too: it may ask for many lanes.
            let mut several = FxHashMap::<u64, Arc<StoredEvent>>::default();
            let read = |seq| {
                if let Some(read) = several.get(&seq) {
                    return Ok(Some(Arc::clone(read)));
                }
                let Some((event, places)) = view.event_and_places(seq)? else { return Ok(None) };
                let event = Arc::new(event);
                if places > 1 {
                    several.insert(seq, Arc::clone(&event));
                }
                Ok(Some(event))
            };
            fill(&mut leased, events, read)?;
            to.read_last.add(several, since);
            Ok(leased)
        })
        .await
    }

    async fn finish(&self, finished: Vec<Finished>) -> Result<Vec<LeaseLost>> {
        self.ask(|answer| Call::Finish(finished, answer)).await
    }

    async fn work(&self) {
        self.shared.work.notified().await;
    }

    async fn heartbeat(&self, gateway: &GatewayId, ttl: Duration) -> Result<Vec<GatewayId>> {
        self.ask(Call::Ready).await?;
        let now = self.clock.elapsed();
        let mut gateways = self.gateways();
        gateways.insert(gateway.clone(), now.saturating_add(ttl));
        gateways.retain(|other, until| other == gateway || *until > now);
        Ok(gateways.keys().cloned().collect())
    }

    async fn leave(&self, gateway: &GatewayId) -> Result<()> {
        self.gateways().remove(gateway);
        Ok(())
    }

    async fn endpoints(&self) -> Result<Endpoints> {
        self.read(|view| view.endpoints()).await
    }

    async fn replace_endpoints(
        &self,
        base: Generation,
        changes: &[Endpoint],
        removed: &[EndpointId],
        entries: &[Entry],
    ) -> Result<Option<Generation>> {
        // Here, for the writer has others to serve.
        let rows = changes.iter().map(|change| Ok((change.id.clone(), encode(change)?.into())));
        let numbered = changes.iter().map(|change| change.number).max().unwrap_or_default();
        let (changes, removed, entries) = (rows.collect::<Result<_>>()?, removed.to_vec(), entries.to_vec());
        let change = Change { base, changes, numbered, removed, entries };
        self.ask(|answer| Call::Change(change, answer)).await
    }

    async fn lane_states(&self, endpoints: &[EndpointId]) -> Result<Vec<(EndpointId, LaneState)>> {
        let endpoints = endpoints.to_vec();
        self.read(|view| view.lane_states(endpoints)).await
    }

    async fn event(&self, id: &EventId) -> Result<Option<StoredEvent>> {
        let id = id.clone();
        self.read(move |view| view.event(&id)).await
    }

    async fn suppressions(&self, address: &Address) -> Result<Vec<Suppression>> {
        let hash = self.address_key.hash(address);
        self.read(move |view| view.suppressions(&hash)).await
    }

    async fn suppressed(&self, page: &PageQuery) -> Result<Page<Suppressed>> {
        let (page, key) = (page.clone(), self.address_key.clone());
        self.read(move |view| view.suppressed(&page, &key)).await
    }

    async fn suppress(&self, address: &Address, reason: Reason, at: Timestamp) -> Result<bool> {
        let hash = self.address_key.hash(address);
        self.ask(|answer| decide(answer, move |_, txn, _| suppression::put_by_hand(txn, &hash, reason, at))).await
    }

    async fn unsuppress(&self, address: &Address) -> Result<bool> {
        let hash = self.address_key.hash(address);
        self.ask(|answer| decide(answer, move |_, txn, _| suppression::remove(txn, &hash))).await
    }

    async fn link_key(&self) -> Result<LinkKey> {
        Ok(self.address_key.link_key())
    }

    async fn request(&self, id: &RequestId) -> Result<Option<StoredRequest>> {
        let (id, blobs) = (id.clone(), Arc::clone(&self.blobs));
        self.read(move |view| view.request(&id, &blobs)).await
    }

    async fn request_len(&self, id: &RequestId) -> Result<Option<usize>> {
        let id = id.clone();
        self.read(move |view| view.request_len(&id)).await
    }

    async fn deliveries_of(&self, event: &EventId) -> Result<Vec<Delivery>> {
        let event = event.clone();
        self.read(move |view| view.deliveries_of(&event)).await
    }

    async fn deliveries(&self, status: Status, page: &PageQuery) -> Result<Page<Delivery>> {
        let page = page.clone();
        self.read(move |view| view.deliveries(status, &page)).await
    }

    async fn count(&self, tallies: &Tallies) -> Result<()> {
        let tallies = tallies.clone();
        self.ask(|answer| decide(answer, move |_, txn, now| tally::add(txn, tallies, now))).await
    }

    async fn tallies(&self, sources: Vec<String>) -> Result<Vec<Tally>> {
        self.read(move |view| sources.iter().map(|source| view.tally(source)).collect()).await
    }

    async fn ready(&self) -> Result<()> {
        self.ask(Call::Ready).await
    }

    /// With 2 MiB all of them waited together for one commit, and a fifth of two CPUs stood still.
    fn large_at_once(&self) -> u32 {
        6 << 20
    }
}
