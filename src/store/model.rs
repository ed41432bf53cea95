//! What goes into a store and comes out of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use waypost_providers::Request;

use crate::domain::breaker::Breaker;
use crate::domain::delivery::{Attempt, Class, EndReason, Status};
use crate::domain::endpoint::Endpoint;
use crate::domain::id::{EndpointId, EventId, MailKey, ReplayId, RequestId};
use crate::domain::plan::{Generation, StoredEvent};

/// The most lanes that one look at what is due returns.
pub const DUE_LEN_MAX: usize = 1_000;
/// What has been due for less than this may be left by a lease for the next one: a lane that always has more is taken from
/// as it was seen a moment ago.
pub const LEASE_LAG_MAX: Duration = Duration::from_millis(10);

/// The result of a store call.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a store call failed. The text is for the log; it holds no payload and no credentials.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or cannot write now. Try again.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It holds what no version of Waypost writes.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
    /// It must not be used as it is set up; only an operator can change that.
    #[error("the store is refused: {0}")]
    Refused(String),
    /// A page was asked for with a cursor that this list never handed out.
    #[error("the cursor is none that this list handed out")]
    BadCursor,
}

/// What became of an ingest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// All of it is in. Both counts are zero when the request held no event, or a state that was no news.
    Stored {
        /// Events that were new.
        new: u32,
        /// Events that had been stored before.
        repeated: u32,
    },
    /// The token was used before with other content. Nothing was stored.
    Forged,
    /// The endpoint set has changed since the plan was made. Plan again.
    Stale,
}

/// What became of one event of an ingest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is there now.
    New,
    /// It had been stored before.
    Repeated,
    /// There is none: its condition did not hold.
    Unmet,
}

/// What became of an ingest, event by event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All of it is in; what became of each event, in order.
    Stored(Vec<Fate>),
    /// As [`Ingested::Forged`].
    Forged,
    /// As [`Ingested::Stale`]; what became of those events that were committed before it was found out, in order.
    Stale(Vec<Option<Fate>>),
}

impl From<Committed> for Ingested {
    fn from(committed: Committed) -> Self {
        match committed {
            Committed::Stored(fates) => {
                let count =
                    |wanted| fates.iter().filter(|fate| **fate == wanted).count().try_into().unwrap_or(u32::MAX);
                Self::Stored { new: count(Fate::New), repeated: count(Fate::Repeated) }
            }
            Committed::Forged => Self::Forged,
            Committed::Stale(_) => Self::Stale,
        }
    }
}

/// What became of the events of a request that is planned again while its plans are stale. What was committed by one plan
/// is a repeat to the next, so of each event what became of it first holds.
#[derive(Debug, Default)]
pub struct FirstFates(Vec<Option<Fate>>);

impl FirstFates {
    /// Of a plan that was stale.
    pub fn add(&mut self, fates: Vec<Option<Fate>>) {
        self.0.resize(fates.len().max(self.0.len()), None);
        for (first, fate) in self.0.iter_mut().zip(fates) {
            *first = first.or(fate);
        }
    }

    /// With those of the plan that was not.
    pub fn with(self, fates: Vec<Fate>) -> Vec<Fate> {
        let first = self.0.into_iter().chain(std::iter::repeat(None));
        fates.into_iter().zip(first).map(|(fate, first)| first.unwrap_or(fate)).collect()
    }
}

/// What is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Lanes with something due now, the longest due first.
    pub lanes: Vec<EndpointId>,
    /// How long until the next lane that is not yet due; one that rests falls due when its rest ends.
    pub next: Option<Duration>,
}

/// What to take from one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The lane.
    pub endpoint: EndpointId,
    /// At most so many, whether the lane rests or not. With 0 the lane is only put to rest.
    pub limit: usize,
    /// Of these, at most so many replays.
    pub replays: usize,
    /// What is taken falls due again after this.
    pub hold: Duration,
    /// Then leave the lane alone for this long: its breaker is open, or it has no permit. None ends its rest.
    pub rest: Option<Duration>,
}

/// What was taken.
#[derive(Clone, Debug, Default)]
pub struct Leased {
    /// The leases, in the order they are to be sent within each lane.
    pub leases: Vec<Lease>,
    /// The generation of the endpoint set at this moment: a sender whose copy is older reads it again before it sends.
    pub generation: Generation,
}

/// The right to attempt one delivery, until its hold has passed.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What.
    pub event_id: EventId,
    /// To whom.
    pub endpoint: EndpointId,
    /// Which replay made it, if one did.
    pub replay: Option<ReplayId>,
    /// How urgent.
    pub class: Class,
    /// The mail, which gives the partition.
    pub mail: MailKey,
    /// The number of the attempt that this lease begins, from 1.
    pub number: u32,
    /// Proof of holding it.
    pub token: u64,
    /// How long it is held, from when it was taken.
    pub hold: Duration,
    /// The event; absent when its retention has ended.
    pub event: Option<Arc<StoredEvent>>,
}

/// An attempt that was made, or a delivery that ends without one.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The lease it was made under.
    pub lease: Lease,
    /// The attempt; none when the delivery ends without one.
    pub attempt: Option<Attempt>,
    /// What follows.
    pub then: Then,
    /// What the lane remembers from now on, if that changes.
    pub lane: Option<LaneState>,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Another attempt, after this.
    Retry(Duration),
    /// Nothing: the delivery ends in this status.
    End(Status, Option<EndReason>),
}

/// What a lane remembers across owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneState {
    /// The breaker.
    pub breaker: Breaker,
    /// When this was written (the latest counts), in the gateway's own clock; it decides nothing else.
    pub at: Timestamp,
}

/// A lease that was lost: its delivery was taken by somebody else, or has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseLost {
    /// The event.
    pub event_id: EventId,
    /// The endpoint.
    pub endpoint: EndpointId,
}

/// The endpoint set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Its generation; 0 when the store has never been given one.
    pub generation: Generation,
    /// The highest number that an endpoint has or had.
    pub numbered: u64,
    /// In the order of their ids.
    pub all: Vec<Endpoint>,
}

/// A request as it was received.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredRequest {
    /// Its id.
    pub id: RequestId,
    /// The name of the provider that it came from; empty where an older version kept it without.
    #[serde(default)]
    pub provider: Arc<str>,
    /// Headers and body.
    #[serde(flatten)]
    pub request: Request,
    /// How many of its parts are none of the eleven events, as it was last read.
    pub unmapped: u32,
    /// How many of its parts could not be read, likewise.
    pub unreadable: u32,
}

/// Which part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// Where an earlier page ended; an opaque text of the engine's own.
    pub cursor: Option<String>,
    /// At most so many items.
    pub limit: usize,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where to go on; none when this was the last part.
    pub next: Option<String>,
}
