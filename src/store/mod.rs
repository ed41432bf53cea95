//! The store: dedupe, records and queue in one, so that the life of an event is three commits.
//!
//! One contract, two engines ([`embedded`], [`redis`]), one contract test (`tests/it/contract`) run on both.
//!
//! # The contract
//!
//! **The unit of commit is one event**: its identity, its deliveries, its state, whom it suppresses and its place in the
//! feed, in one partition, all or none. The units of one request are independent and idempotent, so a provider's resend
//! completes what a crash left.
//!
//! **A copy is known by its identity, else by its fingerprint.** What a provider sends again under another id of its own is
//! a repeat, or is kept and marked with the event that was first, as the plan says for its kind. That is decided in the
//! commit, so of two that come together one is first.
//!
//! **A state is reported when it comes to hold.** Of what the provider tells as snapshots, the latest is remembered for
//! good, and an event that a snapshot tells exists only if it holds and the latest until then did not. That is decided in
//! the commit, by the time that the provider tells; so snapshots may come late, twice and at once.
//!
//! **Two key spaces, never mixed.** Requests (what was received) are content-addressed and dedupe raw copies only;
//! events (what it meant) are addressed by identity.
//!
//! **Everything is remembered for its lifetime** ([`Lifetimes`](crate::domain::retention::Lifetimes)), counted by the
//! store's clock from the commit. That is later than the receipt by what a commit takes: less than a second while anybody
//! waits for it; a call whose caller gave up may still commit when its turn comes. A repeat does not begin it anew. A
//! request lives as long as its events where a later version may find more in it, or it brought a mail.
//! What comes of a request that is reprocessed lives from its receipt on, by the clock of the gateway that received it.
//! A delivery that is pending when its event expires stays pending, and listed; it is leased without its event, to be
//! ended as failed, and is then listed for another lifetime.
//!
//! **Acknowledged is durable.** A call returns when what it changed would survive the kill of this process, and what
//! more the engine promises. A repeat waits for the same barrier as the first. Nothing is visible before it is durable.
//! The exceptions need not wait for a sync: [`Store::lease`], [`Store::finish`], and what is only counted. Where the power
//! fails, a lease that is forgotten falls due again, and a delivery whose finish is forgotten is made again: its attempt, its
//! wait before the next and what its lane remembered are forgotten with it.
//!
//! **Fan-out is against a generation.** A plan carries the generation of the endpoint set it was made with; a commit
//! that finds another answers [`Ingested::Stale`] and changes no event. A change of endpoints raises the generation
//! everywhere before it answers. So no event can miss an endpoint that already exists.
//!
//! **An event suppresses in its own commit.** Whom a new event puts on the suppression list is there when it is; a
//! repeat, and an event that is none since its condition does not hold, put nobody there. Of each reason the earliest
//! event stays, in whichever order they come, and nothing there expires. An address is kept as its hash, under a key that
//! the store makes once.
//!
//! **An event is found by whom and what mail it is about.** Its place in the index is there when it is, and of no more use
//! when it has gone: whoever is led to nothing, or to something else, passes it over. Words are kept as hashes under the
//! key of the suppression list.
//!
//! **An operational event is an event that no request brought**, as a sample is. It is committed and delivered like any
//! other, and is in neither the feed nor the lists of events; what looks through the feed does not find it.
//!
//! **A change of endpoints is told by its own commit** in the audit log ([`access`]), where every other change that somebody
//! makes is told before it.
//!
//! **A lease is a due time moved forward, with a token.** There is no sweeper and no list of what is being processed:
//! what a crashed worker held falls due again by itself. The store's clock counts (Redis: the server's), callers
//! hand in delays and never instants, so a gateway whose clock is off changes nothing. A lease that was lost (it fell
//! due and was taken again, or its delivery ended) cannot finish: it is reported, and changes nothing.
//!
//! **The attempt number is the store's.** A lease counts as begun when it is taken; one that was begun and never
//! finished is visible as `begun` exceeding the attempts listed.
//!
//! **Order.** Deliveries of one mail, one class and one endpoint form a chain in commit order. Only its head can be
//! leased; the next becomes due when the head's first attempt is finished or the head ends without one. Replays are a
//! class of their own, so that they never hold back a live delivery of the same mail.
//!
//! **A pass costs what is due.** [`Store::due`] reads one index of lanes by earliest due time, kept by the same
//! commits, and a poll that finds nothing costs next to nothing.
//!
//! **What was erased is known and not told.** A request or an event that named a person who was erased keeps its place, its
//! id and its lifetime, so a copy of it is a repeat; nobody is given it, and nothing is made of it: no reprocessing and no
//! replay.
//!
//! **A large body is in a file** ([`blobs`]), always with the embedded engine and if told so with Redis. It is there
//! before what refers to it.
//!
//! **Nothing is set up only at start.** A missing key, script or whole dataset is made again on use.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use self::access::Access;
use crate::domain::address::Address;
use crate::domain::audit::Entry;
use crate::domain::delivery::{Delivery, Status};
use crate::domain::endpoint::Endpoint;
use crate::domain::id::{EndpointId, EventId, GatewayId, RequestId};
use crate::domain::link::LinkKey;
use crate::domain::ownership::Shards;
use crate::domain::plan::{Generation, Ingest, StoredEvent};
use crate::domain::search::Search;
use crate::domain::suppression::{Reason, Suppressed, Suppression};
use crate::domain::tally::{Tallies, Tally};

pub mod access;
mod attempts;
pub mod blobs;
mod counts;
pub mod embedded;
mod erasures;
mod feed;
mod model;
mod place;
pub mod redis;
mod replays;
mod requests;
mod searches;

pub use attempts::*;
pub use counts::*;
pub use erasures::*;
pub use feed::*;
pub use model::*;
pub use replays::*;
pub use requests::*;
pub use searches::*;

/// What a store can be asked. See the module for the contract.
#[async_trait]
pub trait Store: Replays + Requests + Attempts + Counts + Searches + Feed + Access + Erasures {
    /// Remembers a Mailgun token (a forgery ends here, nothing stored), stores the raw request, then remembers states
    /// and commits each event with what belongs to it. `200` may be answered when this returns [`Committed::Stored`].
    ///
    /// Several come in order, and each has an answer of its own, in its place: whatever is wrong with one changes
    /// nothing for the others. They are answered together, when the last of them is.
    async fn ingest_all(&self, ingests: Vec<Ingest>) -> Vec<Result<Committed>>;

    /// The same for one, summed up.
    async fn ingest(&self, ingest: Ingest) -> Result<Ingested> {
        let answer = self.ingest_all(vec![ingest]).await.pop();
        answer.unwrap_or_else(|| Err(StoreError::Unavailable("it answered nothing".into()))).map(Ingested::from)
    }

    /// The lanes of these shards that have something due now, and how long until another one has. At most
    /// [`DUE_LEN_MAX`] lanes, the longest due first; a lane that was asked to rest (see [`Want::rest`]) is not among
    /// them while it rests, and counts as due when its rest ends.
    async fn due(&self, shards: Shards) -> Result<Due>;

    /// Takes due deliveries from the lanes asked for, at most so many of each, the urgent class first but with a
    /// quarter of each lane's places kept for the other; and replays with what those leave, and one place in
    /// [`Owed::PART`](crate::domain::delivery::Owed::PART), but no more than were asked for. Each falls due again after its hold. The generation is answered
    /// also when nothing is taken, or nothing was asked for. What has been due for less than [`LEASE_LAG_MAX`] may be left.
    async fn lease(&self, wants: &[Want]) -> Result<Leased>;

    /// Records attempts and what follows each. A lease that was lost is reported, and changes nothing; the others of
    /// the call are recorded all the same.
    async fn finish(&self, finished: Vec<Finished>) -> Result<Vec<LeaseLost>>;

    /// Resolves when there may be new work since the last call: an ingest or a finish here or on another gateway.
    /// May resolve without there being any.
    async fn work(&self);

    /// Says that this gateway is alive for `ttl` more, and tells which are, itself among them.
    async fn heartbeat(&self, gateway: &GatewayId, ttl: Duration) -> Result<Vec<GatewayId>>;

    /// Says that this gateway serves no more lanes, so that others take them at once.
    async fn leave(&self, gateway: &GatewayId) -> Result<()>;

    /// The endpoint set and its generation.
    async fn endpoints(&self) -> Result<Endpoints>;

    /// Adds and replaces endpoints and removes others, if the set still has the generation `base`. Answers the new
    /// generation, or none if somebody else was first. What is pending for an endpoint that was removed stays so until
    /// whoever leases it ends it; what its lane remembered is forgotten. The entries are added to the audit log by the same
    /// commit; of very many, the first before it.
    async fn replace_endpoints(
        &self,
        base: Generation,
        changes: &[Endpoint],
        removed: &[EndpointId],
        entries: &[Entry],
    ) -> Result<Option<Generation>>;

    /// The same where nothing is removed, and nothing told.
    async fn change_endpoints(&self, base: Generation, changes: &[Endpoint]) -> Result<Option<Generation>> {
        self.replace_endpoints(base, changes, &[], &[]).await
    }

    /// What the lanes of these endpoints remember; a healthy lane has nothing to remember.
    async fn lane_states(&self, endpoints: &[EndpointId]) -> Result<Vec<(EndpointId, LaneState)>>;

    /// One event.
    async fn event(&self, id: &EventId) -> Result<Option<StoredEvent>>;

    /// Events, latest commit first, but for operational ones.
    ///
    /// # Errors
    /// As of every list: [`StoreError::BadCursor`] for a cursor that this list never handed out.
    async fn events(&self, page: &PageQuery) -> Result<Page<StoredEvent>> {
        let Searched { items, next } = self.search(&Search::default(), page).await?;
        Ok(Page { items, next: next.map(|(cursor, _)| cursor) })
    }

    /// Why an address is on the suppression list: of each reason the earliest event, the earliest first. None where it is
    /// not on it.
    async fn suppressions(&self, address: &Address) -> Result<Vec<Suppression>>;

    /// All that is on the suppression list, in the order of the hashes of their addresses: whatever changes meanwhile, a
    /// reader that goes through the pages meets each that stays exactly once.
    async fn suppressed(&self, page: &PageQuery) -> Result<Page<Suppressed>>;

    /// Puts an address on the list by hand. What is there for the reason stays; answers whether there was nothing.
    async fn suppress(&self, address: &Address, reason: Reason, at: Timestamp) -> Result<bool>;

    /// Takes an address off the list, whatever it was there for; answers whether it was there. An event that is new puts
    /// it there again, a repeat does not. After an error it may be there for some reasons and no longer for others.
    async fn unsuppress(&self, address: &Address) -> Result<bool>;

    /// The key that links are signed with: the same for all gateways on it, from the first call on.
    async fn link_key(&self) -> Result<LinkKey>;

    /// One request as it was received.
    async fn request(&self, id: &RequestId) -> Result<Option<StoredRequest>>;

    /// How many bytes the body of a request has, if that is kept; the body itself is not read, unless it is small.
    async fn request_len(&self, id: &RequestId) -> Result<Option<usize>>;

    /// The deliveries of one event, in the order of its endpoints; then its replays, in the order they were made.
    async fn deliveries_of(&self, event: &EventId) -> Result<Vec<Delivery>>;

    /// Deliveries in one status: those that have ended by when they did, the pending ones by when their event was
    /// committed, the latest first (a replay beside its event, or by when it was made). Reads a bounded number of rows, so a page may hold fewer than asked for and still
    /// not be the last.
    async fn deliveries(&self, status: Status, page: &PageQuery) -> Result<Page<Delivery>>;

    /// Adds to what was counted at each source; need not wait for a sync. After an error it may have been added or not.
    async fn count(&self, tallies: &Tallies) -> Result<()>;

    /// What was counted at these sources, in order.
    async fn tallies(&self, sources: Vec<String>) -> Result<Vec<Tally>>;

    /// Whether it can take work now.
    async fn ready(&self) -> Result<()>;

    /// How many bytes of large requests it is best asked for at once: with less it waits for them, with more they would
    /// wait for it longer than their callers do.
    fn large_at_once(&self) -> u32 {
        2 << 20
    }
}

/// Random bytes of the system.
///
/// # Errors
/// When the system gives none.
pub fn random<const LEN: usize>() -> Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    filled.map_err(|_| StoreError::Unavailable("the system gives no random bytes".into()))?;
    Ok(bytes)
}
