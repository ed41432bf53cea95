//! Replays: deliveries of stored events that are made anew, a few at once or many by a job.
//!
//! A replay is a new delivery of the same event under an id of its own, derived from the event, the endpoint and the
//! replay. So a step of a job that is made again, after a crash or by a second gateway, makes nothing twice. It is sent
//! like any other, under the same `webhook-id`, but as [`Class::Low`](super::delivery::Class::Low). It takes no part in
//! the order of live deliveries. Among themselves, replays of one mail to one endpoint keep the order they were made
//! in, which a job makes that of the events' commits: first attempts do not overtake one another.
//!
//! A job looks through the events of its span once to count and once to replay, in bounded steps. The cost is that of
//! all events in the span, whichever endpoint they went to: a store keeps no list of each endpoint's deliveries, which
//! would be one more row for each to write. Its row holds how far it got, and is compared before it is replaced; so it
//! goes on where it was after a restart, whoever goes on with it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use waypost_providers::Kind;

use super::delivery::Status;
use super::id::{EndpointId, EventId, MailKey, ReplayId};
use super::subscription::Subscription;

/// One delivery to make anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Which replay makes it.
    pub replay: ReplayId,
    /// What is delivered again.
    pub event_id: EventId,
    /// The mail of the event, which gives the partition.
    pub mail: MailKey,
    /// To whom.
    pub endpoint: EndpointId,
}

/// How often one event can be replayed, over all endpoints.
pub const REPLAYS_OF_EVENT_MAX: usize = 1_000;
/// How many jobs may be under way at once.
pub const JOBS_MAX: usize = 100;
/// The most deliveries of one job that are pending at once: it neither fills the store nor keeps its lane long.
pub const PENDING_MAX: usize = 1_000;
/// The most events that one step of a job looks at.
pub const STEP_LEN: usize = 500;
/// How far the clocks of the gateways that received events may be from that of the store, which has them in the order
/// of their commits: a span is looked through from this much before it until this much after it.
pub const CLOCKS_APART_MAX: Duration = Duration::from_secs(600);

/// Which deliveries of an endpoint are replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Of events received then or later.
    pub since: Timestamp,
    /// Of events received before then.
    pub until: Timestamp,
    /// Of these types.
    pub types: Subscription,
    /// Where the delivery stands that began with the event.
    pub status: Vec<Status>,
}

impl Filter {
    /// What is replayed unless told otherwise: what has ended. What is pending is under way already.
    pub const STATUS_DEFAULT: [Status; 3] = [Status::Delivered, Status::Failed, Status::Skipped];

    /// Whether it asks for this delivery.
    pub fn wants(&self, found: &Found) -> bool {
        (self.since..self.until).contains(&found.received_at)
            && self.types.wants(found.kind)
            && self.status.contains(&found.status)
    }

    /// When to begin looking, by the store's clock.
    pub fn begin(&self) -> Timestamp {
        self.since.checked_sub(CLOCKS_APART_MAX).unwrap_or(Timestamp::MIN)
    }

    /// Whether nothing that comes after an event received then can be asked for.
    pub fn is_past(&self, received_at: Timestamp) -> bool {
        self.until.checked_add(CLOCKS_APART_MAX).is_ok_and(|end| received_at > end)
    }
}

/// A delivery that began with its event, as a job finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its event.
    pub event_id: EventId,
    /// The mail of that.
    pub mail: MailKey,
    /// What happened.
    pub kind: Kind,
    /// When the event came in.
    pub received_at: Timestamp,
    /// Where the delivery stands.
    pub status: Status,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It counts what matches.
    Counting,
    /// It makes deliveries.
    Running,
    /// All are made, or, of a dry run, counted.
    Done,
    /// What is pending of it is being ended.
    Canceling,
    /// Nothing is pending of it any more.
    Canceled,
    /// It could not go on; see the reason.
    Failed,
}

impl JobState {
    /// Whether there is something to do.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Counting | Self::Running | Self::Canceling)
    }
}

/// Why a job could not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobError {
    /// The endpoint is disabled.
    EndpointDisabled,
    /// The endpoint no longer exists.
    EndpointDeleted,
}

/// A bulk replay to one endpoint, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayJob {
    /// Its id, and that of the replay.
    pub id: ReplayId,
    /// To whom.
    pub endpoint_id: EndpointId,
    /// Which deliveries.
    #[serde(flatten)]
    pub filter: Filter,
    /// Whether to count only.
    pub dry_run: bool,
    /// Where it is.
    pub state: JobState,
    /// Why it could not go on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<JobError>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When nothing was left to do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<Timestamp>,
    /// How many match; all of them, once it has counted.
    pub counted: u64,
    /// How many deliveries it made.
    pub made: u64,
    /// How many that matched it did not make: the event has expired meanwhile, or was replayed
    /// [`REPLAYS_OF_EVENT_MAX`] times.
    pub left_out: u64,
    /// How far it has looked: a place in the store.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cursor: Option<String>,
    /// Grows with every change, from 1.
    pub version: u64,
}

/// What one step found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// How many match.
    pub matched: u64,
    /// How many were made, now or when the same step was made before.
    pub made: u64,
    /// Where to go on; none at the end.
    pub next: Option<String>,
}

impl ReplayJob {
    /// A job that has yet to count.
    pub fn new(id: ReplayId, endpoint_id: EndpointId, filter: Filter, dry_run: bool, now: Timestamp) -> Self {
        Self {
            id,
            endpoint_id,
            filter,
            dry_run,
            state: JobState::Counting,
            error: None,
            created_at: now,
            ended_at: None,
            counted: 0,
            made: 0,
            left_out: 0,
            cursor: None,
            version: 1,
        }
    }

    /// Whether all that match have been counted.
    pub fn has_counted(&self) -> bool {
        match self.state {
            JobState::Running | JobState::Done => true,
            JobState::Counting => false,
            // It was stopped in the middle of one or the other.
            JobState::Canceling | JobState::Canceled | JobState::Failed => self.made + self.left_out > 0,
        }
    }

    /// The job after a step.
    #[must_use]
    pub fn after(&self, step: Step, now: Timestamp) -> Self {
        let mut job = Self { cursor: step.next, version: self.version + 1, ..self.clone() };
        let is_end = job.cursor.is_none();
        match job.state {
            JobState::Counting => {
                job.counted += step.matched;
                if is_end {
                    let is_all = job.dry_run || job.counted == 0;
                    job.state = if is_all { JobState::Done } else { JobState::Running };
                    job.ended_at = is_all.then_some(now);
                }
            }
            JobState::Running => {
                job.made += step.made;
                job.left_out += step.matched - step.made;
                if is_end {
                    (job.state, job.ended_at) = (JobState::Done, Some(now));
                }
            }
            JobState::Done | JobState::Canceling | JobState::Canceled | JobState::Failed => {}
        }
        job
    }

    /// The job in another state.
    #[must_use]
    pub fn to(&self, state: JobState, now: Timestamp) -> Self {
        let ended_at = if state.is_active() { None } else { Some(now) };
        Self { state, ended_at, version: self.version + 1, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn job(dry_run: bool) -> ReplayJob {
        let types = Subscription::new(vec!["email.bounced".into()]).unwrap();
        let filter = Filter { since: at(100), until: at(200), types, status: Filter::STATUS_DEFAULT.to_vec() };
        ReplayJob::new(ReplayId::of(&[b"1"]), "wh_a".into(), filter, dry_run, at(300))
    }

    fn step(matched: u64, made: u64, next: Option<&str>) -> Step {
        Step { matched, made, next: next.map(str::to_owned) }
    }

    #[test]
    fn a_filter_takes_its_span_without_the_end_its_types_and_its_statuses() {
        let filter = job(false).filter;
        let found = |second, kind, status| Found {
            event_id: "evt_1".into(),
            mail: MailKey(1),
            kind,
            received_at: at(second),
            status,
        };
        assert!(filter.wants(&found(100, Kind::Bounced, Status::Failed)));
        assert!(filter.wants(&found(199, Kind::Bounced, Status::Skipped)));
        assert!(!filter.wants(&found(99, Kind::Bounced, Status::Failed)));
        assert!(!filter.wants(&found(200, Kind::Bounced, Status::Failed)));
        assert!(!filter.wants(&found(150, Kind::Sent, Status::Failed)));
        assert!(!filter.wants(&found(150, Kind::Bounced, Status::Pending)));
        assert!(!filter.wants(&found(150, Kind::Bounced, Status::Canceled)));
        assert!(filter.is_past(at(801)) && !filter.is_past(at(800)));
    }

    #[test]
    fn a_job_counts_then_runs_then_is_done() {
        let counting = job(false).after(step(3, 0, Some("a")), at(301));
        assert_eq!((counting.state, counting.counted, counting.has_counted()), (JobState::Counting, 3, false));
        let running = counting.after(step(2, 0, None), at(302));
        assert_eq!((running.state, running.counted, running.has_counted()), (JobState::Running, 5, true));
        let done = running.after(step(4, 4, Some("b")), at(303)).after(step(1, 0, None), at(304));
        assert_eq!((done.state, done.made, done.left_out), (JobState::Done, 4, 1));
        assert_eq!((done.ended_at, done.version), (Some(at(304)), 5));
    }

    #[test]
    fn a_dry_run_only_counts_and_nothing_to_do_is_done() {
        assert_eq!(job(true).after(step(3, 0, None), at(301)).state, JobState::Done);
        assert_eq!(job(false).after(step(0, 0, None), at(301)).state, JobState::Done);
    }
}
