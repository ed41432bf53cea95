//! Jobs: whoever a job falls to takes it on, step by step; a bulk replay falls to the owner of the endpoint's lane.
//!
//! A step changes the store in two calls or more: what it makes, and how far the job has got. Each may be made again, after
//! a crash between them or by another gateway that believes the job is its own: ids are derived, and the job is compared
//! before it is replaced.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::{Shared, backoff, erase, reprocess};
use crate::crash;
use crate::domain::erasure::{Erasure, Stage};
use crate::domain::id::EndpointId;
use crate::domain::job::{Job, JobError, JobState, STEP_LEN, Step, Task};
use crate::domain::ownership::Shards;
use crate::domain::replay::{Filter, PENDING_MAX, Replay};
use crate::store::{Replayed, Result, ScanFrom, Scanned, StoreError};

/// How often it is looked whether there are jobs.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to leave the store alone after a round of steps, at least.
const PAUSE: Duration = Duration::from_millis(10);
/// The store is left alone so many times as long as a round took: the rest is for live traffic.
const PAUSES: u32 = 2;
/// How long to wait for deliveries to land while as many are pending as may be.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// A step begins when so many may be made, so that it is worth its calls.
const ROOM_MIN: usize = PENDING_MAX / 4;

/// Serves the jobs of these shards until `stop` holds true or its sender is gone. A step that is under way then is cut
/// off, and made again by whoever goes on.
pub(super) async fn run(shared: Arc<Shared>, shards: watch::Receiver<Shards>, mut stop: watch::Receiver<bool>) {
    let mut failures = 0;
    let serving = async {
        loop {
            let (owned, begun) = (*shards.borrow(), shared.clock.elapsed());
            let wait = match round(&shared, owned).await {
                Ok(wait) => {
                    failures = 0;
                    wait.max(shared.clock.elapsed().saturating_sub(begun) * PAUSES)
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "jobs wait for the store");
                    backoff(failures)
                }
            };
            sleep(wait).await;
        }
    };
    tokio::select! {
        () = serving => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// One step of each job; one that fails stops no other. Answers how long to wait for the next round.
pub(super) async fn round(shared: &Shared, shards: Shards) -> Result<Duration> {
    let mut jobs = shared.store.active_jobs().await?;
    jobs.retain(|job| job.is_of(shards));
    let mut wait = LOOK_EVERY;
    for job in &jobs {
        match step(shared, job).await {
            Ok(next) => wait = wait.min(next),
            Err(error) => tracing::warn!(replay.id = %job.id, %error, "a job waits for the store"),
        }
    }
    Ok(wait)
}

/// Answers how long to wait for the next.
pub(super) async fn step(shared: &Shared, job: &Job) -> Result<Duration> {
    let now = shared.clock.now();
    let next = match (job.state, &job.task) {
        (JobState::Counting, Task::Replay { endpoint_id, filter }) => {
            let to = To { job, endpoint_id, filter };
            let scanned = to.scan(shared, STEP_LEN).await?;
            let matched = to.wanted(&scanned).count() as u64;
            job.after(Step { matched, next: scanned.next, ..Step::default() }, now)
        }
        (JobState::Counting, Task::Reprocess { filter, .. }) => {
            job.after(reprocess::count(shared, job, filter).await?, now)
        }
        (JobState::Running, Task::Replay { endpoint_id, filter }) => match error(shared, endpoint_id).await? {
            Some(error) => Job { error: Some(error), ..job.to(JobState::Failed, now) },
            None => {
                let room = PENDING_MAX.saturating_sub(shared.store.pending_of(&job.id).await?);
                if room < ROOM_MIN {
                    return Ok(FULL_PAUSE);
                }
                let to = To { job, endpoint_id, filter };
                let Some(step) = to.make(shared, room).await? else { return Ok(PAUSE) };
                job.after(step, now)
            }
        },
        (JobState::Running, Task::Reprocess { filter, .. }) => {
            job.after(reprocess::run(shared, job, filter).await?, now)
        }
        (JobState::Counting | JobState::Running, Task::Erasure(erasure))
        | (JobState::Canceling, Task::Erasure(erasure @ Erasure { stage: Stage::Disk, .. })) => {
            match erase::step(shared, job, erasure).await? {
                erase::Turn::Wait(wait) => return Ok(wait),
                erase::Turn::Made(erased) => job.after_erasing(erased, now),
            }
        }
        (JobState::Canceling, _) if shared.store.cancel(&job.id, STEP_LEN).await? > 0 => return Ok(PAUSE),
        (JobState::Canceling, _) => job.to(JobState::Canceled, now),
        (JobState::Done | JobState::Canceled | JobState::Failed, _) => return Ok(PAUSE),
    };
    crash::point("replay.made");
    // If it was not kept, somebody else changed the job: the next step begins with that.
    if keep(shared, &next).await? && !next.state.is_active() {
        let Job { id, task, state, counted, made, left_out, .. } = &next;
        tracing::info!(replay.id = %id, kind = task.kind(), ?state, counted, made, left_out, "a job ended");
    }
    crash::point("replay.kept");
    Ok(if next.failures.is_some() { LOOK_EVERY } else { PAUSE })
}

/// Keeps what a step found, however long the store is down: made again, the step would find less. It may have been kept
/// though the store did not say so; then it is not kept again, and nothing is lost.
async fn keep(shared: &Shared, job: &Job) -> Result<bool> {
    let mut failures = 0;
    loop {
        match shared.store.keep_job(job).await {
            Err(error) if !matches!(error, StoreError::Corrupt(_)) => {
                failures += 1;
                tracing::warn!(replay.id = %job.id, %error, failures, "what a job did waits for the store");
                sleep(backoff(failures)).await;
            }
            kept => return kept,
        }
    }
}

/// A bulk replay.
struct To<'a> {
    job: &'a Job,
    endpoint_id: &'a EndpointId,
    filter: &'a Filter,
}

impl To<'_> {
    async fn scan(&self, shared: &Shared, limit: usize) -> Result<Scanned> {
        let from = self.job.cursor.clone().map_or_else(|| ScanFrom::Time(self.filter.begin()), ScanFrom::Cursor);
        let mut scanned = shared.store.deliveries_to(self.endpoint_id, &from, limit).await?;
        if scanned.last.is_some_and(|last| self.filter.is_past(last)) {
            scanned.next = None;
        }
        Ok(scanned)
    }

    fn wanted(&self, scanned: &Scanned) -> impl Iterator<Item = Replay> {
        scanned.found.iter().filter(|found| self.filter.wants(found)).map(|found| Replay {
            replay: self.job.id.clone(),
            event_id: found.event_id.clone(),
            mail: found.mail,
            endpoint: self.endpoint_id.clone(),
        })
    }

    /// Makes those of the next events; at most `room`. None when the job has been canceled meanwhile.
    async fn make(&self, shared: &Shared, room: usize) -> Result<Option<Step>> {
        let scanned = self.scan(shared, room.min(STEP_LEN)).await?;
        let replays: Vec<Replay> = self.wanted(&scanned).collect();
        let matched = replays.len() as u64;
        let answers = if replays.is_empty() { Vec::new() } else { shared.store.replay(replays).await? };
        if answers.contains(&Replayed::Canceled) {
            return Ok(None);
        }
        let made = answers.iter().filter(|answer| matches!(answer, Replayed::Made | Replayed::Known)).count() as u64;
        Ok(Some(Step { matched, made, next: scanned.next, ..Step::default() }))
    }
}

/// Why the endpoint cannot be served, by the endpoint set as it is now.
async fn error(shared: &Shared, id: &EndpointId) -> Result<Option<JobError>> {
    let at_hand = || match shared.endpoints.snapshot().endpoint(id) {
        None => Some(JobError::EndpointDeleted),
        Some(endpoint) => endpoint.disabled.as_ref().map(|_| JobError::EndpointDisabled),
    };
    if at_hand().is_some() {
        shared.endpoints.refresh(shared.store.as_ref()).await?;
    }
    Ok(at_hand())
}
