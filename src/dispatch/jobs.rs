//! Bulk replays: who owns an endpoint's lane takes its jobs on, step by step.
//!
//! A step changes the store in two calls: what it makes, and how far the job has got. Both may be made again, after a
//! crash between them or by another gateway that believes it owns the lane: ids are derived, and the job is compared
//! before it is replaced.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::{Shared, backoff};
use crate::crash;
use crate::domain::ownership::Shards;
use crate::domain::replay::{JobError, JobState, PENDING_MAX, Replay, ReplayJob, STEP_LEN, Step};
use crate::store::{Replayed, Result, ScanFrom, Scanned};

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
                    tracing::warn!(%error, failures, "bulk replays wait for the store");
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
    jobs.retain(|job| shards.contains(&job.endpoint_id));
    let mut wait = LOOK_EVERY;
    for job in &jobs {
        match step(shared, job).await {
            Ok(next) => wait = wait.min(next),
            Err(error) => tracing::warn!(replay.id = %job.id, %error, "a bulk replay waits for the store"),
        }
    }
    Ok(wait)
}

/// Answers how long to wait for the next.
pub(super) async fn step(shared: &Shared, job: &ReplayJob) -> Result<Duration> {
    let now = shared.clock.now();
    let next = match job.state {
        JobState::Counting => {
            let scanned = scan(shared, job, STEP_LEN).await?;
            let matched = wanted(job, &scanned).count() as u64;
            job.after(Step { matched, made: 0, next: scanned.next }, now)
        }
        JobState::Running => match error(shared, job).await? {
            Some(error) => ReplayJob { error: Some(error), ..job.to(JobState::Failed, now) },
            None => {
                let room = PENDING_MAX.saturating_sub(shared.store.pending_of(&job.id).await?);
                if room < ROOM_MIN {
                    return Ok(FULL_PAUSE);
                }
                let Some(step) = make(shared, job, room).await? else { return Ok(PAUSE) };
                job.after(step, now)
            }
        },
        JobState::Canceling if shared.store.cancel(&job.id, STEP_LEN).await? > 0 => return Ok(PAUSE),
        JobState::Canceling => job.to(JobState::Canceled, now),
        JobState::Done | JobState::Canceled | JobState::Failed => return Ok(PAUSE),
    };
    crash::point("replay.made");
    // If it was not kept, somebody else changed the job: the next step begins with that.
    if shared.store.keep_job(&next).await? && !next.state.is_active() {
        let ReplayJob { id, endpoint_id, state, counted, made, .. } = &next;
        tracing::info!(replay.id = %id, endpoint.id = %endpoint_id, ?state, counted, made, "a bulk replay ended");
    }
    crash::point("replay.kept");
    Ok(PAUSE)
}

async fn scan(shared: &Shared, job: &ReplayJob, limit: usize) -> Result<Scanned> {
    let from = job.cursor.clone().map_or_else(|| ScanFrom::Time(job.filter.begin()), ScanFrom::Cursor);
    let mut scanned = shared.store.deliveries_to(&job.endpoint_id, &from, limit).await?;
    if scanned.last.is_some_and(|last| job.filter.is_past(last)) {
        scanned.next = None;
    }
    Ok(scanned)
}

fn wanted(job: &ReplayJob, scanned: &Scanned) -> impl Iterator<Item = Replay> {
    scanned.found.iter().filter(|found| job.filter.wants(found)).map(|found| Replay {
        replay: job.id.clone(),
        event_id: found.event_id.clone(),
        mail: found.mail,
        endpoint: job.endpoint_id.clone(),
    })
}

/// Makes those of the next events; at most `room`. None when the job has been canceled meanwhile.
async fn make(shared: &Shared, job: &ReplayJob, room: usize) -> Result<Option<Step>> {
    let scanned = scan(shared, job, room.min(STEP_LEN)).await?;
    let replays: Vec<Replay> = wanted(job, &scanned).collect();
    let matched = replays.len() as u64;
    let answers = if replays.is_empty() { Vec::new() } else { shared.store.replay(replays).await? };
    if answers.contains(&Replayed::Canceled) {
        return Ok(None);
    }
    let made = answers.iter().filter(|answer| matches!(answer, Replayed::Made | Replayed::Known)).count() as u64;
    Ok(Some(Step { matched, made, next: scanned.next }))
}

/// Why the endpoint cannot be served, by the endpoint set as it is now.
async fn error(shared: &Shared, job: &ReplayJob) -> Result<Option<JobError>> {
    let at_hand = || match shared.endpoints.snapshot().endpoint(&job.endpoint_id) {
        None => Some(JobError::EndpointDeleted),
        Some(endpoint) => endpoint.disabled.as_ref().map(|_| JobError::EndpointDisabled),
    };
    if at_hand().is_some() {
        shared.endpoints.refresh(shared.store.as_ref()).await?;
    }
    Ok(at_hand())
}
