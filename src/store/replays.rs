//! What a store can be asked about replays. See [`domain::replay`](crate::domain::replay) for what they are.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Page, PageQuery, Result, StoreError};
use crate::domain::id::{EndpointId, ReplayId};
use crate::domain::job::Job;
use crate::domain::replay::{Found, Replay};

/// One of several jobs. What cannot be read, as another version wrote it, is passed over: it must not hide the others.
pub(super) fn passing_over<T>(id: &str, job: Result<Option<T>>) -> Result<Option<T>> {
    match job {
        Err(error @ StoreError::Corrupt(_)) => {
            tracing::error!(replay.id = id, %error, "a job is passed over");
            Ok(None)
        }
        job => job,
    }
}

/// What became of one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// There is a new delivery, pending.
    Made,
    /// This replay made it before; nothing was changed.
    Known,
    /// The event is not, or no longer, there.
    Gone,
    /// The event was replayed as often as it can be
    /// ([`REPLAYS_OF_EVENT_MAX`](crate::domain::replay::REPLAYS_OF_EVENT_MAX)).
    Full,
    /// The replay has been canceled.
    Canceled,
}

/// Where to begin to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanFrom {
    /// At events committed then. Not looked for from the beginning.
    Time(Timestamp),
    /// Where an earlier look ended.
    Cursor(String),
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The deliveries to the endpoint, in the order of their events' commits.
    pub found: Vec<Found>,
    /// When the last event was received that was looked at, unless one that was reprocessed may come later.
    pub last: Option<Timestamp>,
    /// Where to go on; none when no later event is there.
    pub next: Option<String>,
}

/// Replays, and the jobs that make them.
#[async_trait]
pub trait Replays: Send + Sync {
    /// Makes new deliveries of stored events, each on its own, and answers what became of each. They are pending, due
    /// at once, and expire with their events.
    async fn replay(&self, replays: Vec<Replay>) -> Result<Vec<Replayed>>;

    /// How many deliveries that this replay made are pending.
    async fn pending_of(&self, replay: &ReplayId) -> Result<usize>;

    /// From now on this replay makes nothing. Ends up to `limit` of its pending deliveries as canceled, or a few more,
    /// and answers how many; a lease of one is lost. None are left when it answers 0.
    async fn cancel(&self, replay: &ReplayId, limit: usize) -> Result<usize>;

    /// Looks at up to `limit` events, in the order of their commits, for deliveries to an endpoint that began with
    /// their events. What cannot be read is passed over.
    async fn deliveries_to(&self, endpoint: &EndpointId, from: &ScanFrom, limit: usize) -> Result<Scanned>;

    /// Keeps a job, if what is kept of it is the version before this one; a new one, if nothing is. Answers whether it
    /// was. A job is kept for the lifetime of events.
    async fn keep_job(&self, job: &Job) -> Result<bool>;

    /// One job.
    async fn job(&self, id: &ReplayId) -> Result<Option<Job>>;

    /// Jobs, the latest first.
    async fn jobs(&self, page: &PageQuery) -> Result<Page<Job>>;

    /// The jobs that have something to do; there are few
    /// ([`JOBS_MAX`](crate::domain::job::JOBS_MAX)).
    async fn active_jobs(&self) -> Result<Vec<Job>>;
}
