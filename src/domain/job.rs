//! Jobs: bulk work that goes on in the background, in bounded steps.
//!
//! A job looks through what it was asked for once to count and once to do it. Its row in the store holds how far it got,
//! and is compared before it is replaced; so it goes on where it was after a restart, whoever goes on with it. A step may
//! be made again, for what it does is done once however often it is made.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::erasure::{Erased, Erasure, Stage};
use super::id::{EndpointId, ReplayId};
use super::ownership::Shards;
use super::replay;
use super::reprocess::{self, Outcome};

/// How many jobs may be under way at once.
pub const JOBS_MAX: usize = 100;
/// The most events or requests that one step of a job looks at.
pub const STEP_LEN: usize = 500;

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// Delivers again what went to an endpoint.
    Replay {
        /// To whom.
        endpoint_id: EndpointId,
        /// Which deliveries.
        #[serde(flatten)]
        filter: replay::Filter,
    },
    /// Reads requests again that were not understood.
    Reprocess {
        /// Which requests.
        #[serde(flatten)]
        filter: reprocess::Filter,
        /// What became of them so far.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// Erases a person.
    Erasure(Erasure),
}

impl Task {
    /// What it is called in the log.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Replay { .. } => "replay",
            Self::Reprocess { .. } => "reprocess",
            Self::Erasure(_) => "erasure",
        }
    }

    /// The same without whom it is about, as it is shown, and kept when it has ended.
    #[must_use]
    pub fn forgetful(self) -> Self {
        match self {
            Self::Erasure(erasure) => Self::Erasure(erasure.forgetful()),
            task => task,
        }
    }
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It counts what matches.
    Counting,
    /// It does what it was asked for.
    Running,
    /// All is done, or, of a dry run, counted.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobError {
    /// The endpoint is disabled.
    EndpointDisabled,
    /// The endpoint no longer exists.
    EndpointDeleted,
}

/// A job, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id, and that of the replay.
    pub id: ReplayId,
    /// What it does.
    #[serde(flatten)]
    pub task: Task,
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
    /// How many match; all of them, once it has counted. Of an erasure, how much it looked at.
    pub counted: u64,
    /// How many deliveries it made, or requests it read again, or requests and events it erased.
    pub made: u64,
    /// How many that matched it did not: the event or request has expired meanwhile, the event was replayed
    /// [`REPLAYS_OF_EVENT_MAX`](replay::REPLAYS_OF_EVENT_MAX) times, the request's source is no longer in the config or
    /// its provider not known, what is kept of it cannot be read, or it failed again and again. Of an erasure, how much it
    /// could not read.
    pub left_out: u64,
    /// How far it has looked: a place in the store.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cursor: Option<String>,
    /// How often in a row what comes next failed, alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failures: Option<u32>,
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
    /// What became of requests.
    pub outcome: Outcome,
    /// Where to go on; none at the end.
    pub next: Option<String>,
    /// Where it is not the end, for what comes next failed: how often in a row it did so alone; 0 if everything did.
    pub failures: Option<u32>,
}

impl Job {
    /// A job that has yet to count.
    pub fn new(id: ReplayId, task: Task, dry_run: bool, now: Timestamp) -> Self {
        Self {
            id,
            task,
            dry_run,
            state: JobState::Counting,
            error: None,
            created_at: now,
            ended_at: None,
            counted: 0,
            made: 0,
            left_out: 0,
            cursor: None,
            failures: None,
            version: 1,
        }
    }

    /// A job that erases, which counts nothing first.
    pub fn erasure(id: ReplayId, erasure: Erasure, now: Timestamp) -> Self {
        Self { state: JobState::Running, ..Self::new(id, Task::Erasure(erasure), false, now) }
    }

    /// Whether whoever has these shards works at it: for a replay the owner of the lane, else by its own id.
    pub fn is_of(&self, shards: Shards) -> bool {
        match &self.task {
            Task::Replay { endpoint_id, .. } => shards.contains(endpoint_id),
            Task::Reprocess { .. } | Task::Erasure(_) => shards.contains(&self.id.as_str().into()),
        }
    }

    /// Whether all that match have been counted.
    pub fn has_counted(&self) -> bool {
        match self.state {
            _ if matches!(self.task, Task::Erasure(_)) => false,
            JobState::Running | JobState::Done => true,
            JobState::Counting => false,
            // It was stopped in the middle of one or the other.
            JobState::Canceling | JobState::Canceled | JobState::Failed => self.made + self.left_out > 0,
        }
    }

    /// The job after a step.
    #[must_use]
    pub fn after(&self, step: Step, now: Timestamp) -> Self {
        let Step { next: cursor, failures, .. } = step;
        let mut job = Self { cursor, failures, version: self.version + 1, ..self.clone() };
        if let Task::Reprocess { outcome, .. } = &mut job.task {
            outcome.add(step.outcome);
        }
        let is_end = job.cursor.is_none() && failures.is_none();
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

    /// A job that erases after a step.
    #[must_use]
    pub fn after_erasing(&self, erased: Erased, now: Timestamp) -> Self {
        let Task::Erasure(erasure) = &self.task else { return self.clone() };
        let next = erasure.after(&erased);
        let end = if self.state == JobState::Canceling { JobState::Canceled } else { JobState::Done };
        let mut job = self.to(if next.is_some() { self.state } else { end }, now);
        job.counted += erased.looked_at;
        job.made += erased.requests + erased.events;
        job.left_out += erased.unreadable;
        job.cursor = erased.next;
        if let Some(next) = next {
            job.task = Task::Erasure(next);
        }
        job
    }

    /// The job in another state. An erasure that has begun is canceled when what it erased has left the disk.
    #[must_use]
    pub fn to(&self, state: JobState, now: Timestamp) -> Self {
        let mut job = Self { state, version: self.version + 1, ..self.clone() };
        if let (JobState::Canceling, Task::Erasure(erasure)) = (state, &mut job.task)
            && erasure.stage != Stage::Disk
            && job.counted > 0
        {
            *erasure = Erasure { stage: Stage::Disk, ..erasure.clone().forgetful() };
            job.cursor = None;
        }
        if !state.is_active() {
            job.ended_at = Some(now);
            job.task = job.task.forgetful();
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::Address;
    use super::super::erasure::OnList;
    use super::super::subscription::Subscription;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn job(dry_run: bool) -> Job {
        let types = Subscription::new(vec!["email.bounced".into()]).unwrap();
        let status = replay::Filter::STATUS_DEFAULT.to_vec();
        let filter = replay::Filter { since: at(100), until: at(200), types, status };
        Job::new(ReplayId::of(&[b"1"]), Task::Replay { endpoint_id: "wh_a".into(), filter }, dry_run, at(300))
    }

    fn step(matched: u64, made: u64, next: Option<&str>) -> Step {
        Step { matched, made, next: next.map(str::to_owned), ..Step::default() }
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
    fn a_step_that_stopped_before_its_first_is_not_the_end() {
        let running = job(false).after(step(3, 0, None), at(301));
        let stopped = running.after(Step { failures: Some(1), ..step(0, 0, None) }, at(302));
        assert_eq!((stopped.state, stopped.cursor.as_ref(), stopped.failures), (JobState::Running, None, Some(1)));
        let done = stopped.after(step(3, 2, None), at(303));
        assert_eq!((done.state, done.made, done.left_out, done.failures), (JobState::Done, 2, 1, None));
    }

    #[test]
    fn a_dry_run_only_counts_and_nothing_to_do_is_done() {
        assert_eq!(job(true).after(step(3, 0, None), at(301)).state, JobState::Done);
        assert_eq!(job(false).after(step(0, 0, None), at(301)).state, JobState::Done);
    }

    #[test]
    fn a_job_is_read_as_it_was_written_whatever_it_does() {
        let outcome = Outcome { stored: 1, sources_gone: ["old".to_owned()].into(), ..Outcome::default() };
        let status = reprocess::Lack::ALL.to_vec();
        let filter = reprocess::Filter { since: None, until: at(200), source: Some("old".into()), status };
        let reprocess = Job { task: Task::Reprocess { filter, outcome }, ..job(false) };
        let address = Address::parse("nora@customer.example").unwrap();
        let erasure = Erasure::new(address, OnList::Remove, at(300), std::time::Duration::ZERO);
        let erasure = Job::erasure(ReplayId::of(&[b"1"]), erasure, at(300));
        for job in [job(true), reprocess, erasure.to(JobState::Canceled, at(301)), erasure] {
            let json = serde_json::to_string(&job).unwrap();
            assert_eq!(serde_json::from_str::<Job>(&json).unwrap(), job, "{json}");
        }
    }

    #[test]
    fn a_job_that_erases_ends_with_its_last_stage_and_never_shows_whom_it_was_about() {
        let address = Address::parse("nora@customer.example").unwrap();
        let mut job = Job::erasure(
            ReplayId::of(&[b"1"]),
            Erasure::new(address, OnList::Keep, at(300), std::time::Duration::ZERO),
            at(300),
        );
        let step = Erased { looked_at: 5, requests: 1, events: 1, unreadable: 1, is_end: true, ..Erased::default() };
        for _ in 0..5 {
            assert_eq!((job.state, job.has_counted()), (JobState::Running, false));
            assert!(!serde_json::to_string(&job.task.clone().forgetful()).unwrap().contains("nora"));
            job = job.after_erasing(step.clone(), at(301));
        }
        assert_eq!((job.state, job.ended_at, job.version), (JobState::Done, Some(at(301)), 6));
        assert_eq!((job.counted, job.made, job.left_out), (25, 10, 5));
        assert!(!serde_json::to_string(&job).unwrap().contains("nora"));
    }

    #[test]
    fn an_erasure_that_is_canceled_has_the_files_written_anew_if_it_has_begun() {
        let address = Address::parse("nora@customer.example").unwrap();
        let erasure = Erasure::new(address, OnList::Keep, at(300), std::time::Duration::ZERO);
        let job = Job::erasure(ReplayId::of(&[b"1"]), erasure, at(300));
        let stage = |job: &Job| if let Task::Erasure(erasure) = &job.task { Some(erasure.stage) } else { None };
        assert_eq!(stage(&job.to(JobState::Canceling, at(301))), Some(Stage::Requests));
        let begun = job.after_erasing(Erased { looked_at: 1, next: Some("a".into()), ..Erased::default() }, at(301));
        let canceling = begun.to(JobState::Canceling, at(302));
        assert_eq!((stage(&canceling), canceling.cursor.as_deref()), (Some(Stage::Disk), None));
        assert!(!serde_json::to_string(&canceling).unwrap().contains("nora"));
        let ended = canceling.after_erasing(Erased { is_end: true, ..Erased::default() }, at(303));
        assert_eq!((ended.state, ended.ended_at), (JobState::Canceled, Some(at(303))));
    }
}
