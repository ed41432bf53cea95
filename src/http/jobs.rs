//! `/v1/replays`: jobs, which replay or reprocess in bulk or erase a person, as they are begun, watched and canceled.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::audit::note;
use super::auth::authorize;
use super::idempotency::Once;
use super::lists::{List, ListQuery};
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::{AccessKey, Scope};
use crate::domain::audit::Action;
use crate::domain::id::ReplayId;
use crate::domain::job::{JOBS_MAX, Job, JobError, JobState, Task};
use crate::store::Page;

/// How often a change is tried while somebody else makes others.
const TRIES_MAX: u32 = 10;

/// Begins a job, unless the same request began it before; `202` with it. One that only counts is not told of.
pub(super) async fn begin(
    gateway: &Gateway,
    key: &AccessKey,
    once: &Once,
    (action, target): (Action, Option<&str>),
    job: Job,
) -> Result<HttpResponse, Problem> {
    let job = match gateway.store.job(&job.id).await? {
        Some(known) => known,
        None if gateway.store.active_jobs().await?.len() >= JOBS_MAX => return Err(Problem::TooManyJobs),
        None => {
            if !job.dry_run {
                once.tell(gateway, key, action, target).await?;
            }
            let is_new = gateway.store.keep_job(&job).await?;
            if is_new { job } else { gateway.store.job(&job.id).await?.unwrap_or(job) }
        }
    };
    once.settle(gateway, job.id.as_str()).await?;
    accepted(gateway, job).await
}

/// `GET /v1/replays?limit=&cursor=`: the jobs, latest first, for as long as events are kept.
pub(super) async fn jobs(request: HttpRequest, gateway: Data<Gateway>) -> Result<Json<List<JobView>>, Problem> {
    authorize(&request, &gateway, Scope::Read)?;
    let page = ListQuery::read(request.query_string())?.page_alone()?;
    let Page { items, next } = gateway.store.jobs(&page).await?;
    let mut views = Vec::with_capacity(items.len());
    for job in items {
        views.push(view(&gateway, job).await?);
    }
    Ok(Json(Page { items: views, next }.into()))
}

/// `GET /v1/replays/{id}`: how far a job has got.
pub(super) async fn job(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<ReplayId>,
) -> Result<Json<JobView>, Problem> {
    authorize(&request, &gateway, Scope::Read)?;
    let job = gateway.store.job(&id).await?.ok_or(Problem::NotFound("replay"))?;
    Ok(Json(view(&gateway, job).await?))
}

/// `DELETE /v1/replays/{id}`: stops a job, and ends what is pending of it as `canceled`; what was delivered stays
/// delivered, and events that were stored stay stored. `202` with the job, which is `canceling` until that is done. `409`
/// when there is nothing left to stop. What was erased stays erased, and to stop that needs a key of scope `admin`.
pub(super) async fn cancel(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<ReplayId>,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let mut is_told = false;
    for _ in 0..TRIES_MAX {
        let job = gateway.store.job(&id).await?.ok_or(Problem::NotFound("replay"))?;
        if matches!(job.task, Task::Erasure(_)) && !key.may(Scope::Admin) {
            return Err(Problem::Forbidden(Scope::Admin));
        }
        match job.state {
            JobState::Canceling | JobState::Canceled => return accepted(&gateway, job).await,
            JobState::Counting | JobState::Running => {}
            JobState::Done | JobState::Failed if gateway.store.pending_of(&job.id).await? > 0 => {}
            JobState::Done | JobState::Failed => {
                return Err(Problem::NotReplayable("the job has ended, and nothing of it is pending".into()));
            }
        }
        if !std::mem::replace(&mut is_told, true) {
            note(&gateway, key, Action::ReplayCanceled, Some(id.as_str())).await?;
        }
        let canceling = job.to(JobState::Canceling, gateway.clock.now());
        if gateway.store.keep_job(&canceling).await? {
            return accepted(&gateway, canceling).await;
        }
    }
    // It moves on faster than it can be told to stop.
    Err(Problem::Overloaded)
}

async fn accepted(gateway: &Gateway, job: Job) -> Result<HttpResponse, Problem> {
    let location = format!("/v1/replays/{}", job.id);
    let view = view(gateway, job).await?;
    Ok(HttpResponse::build(StatusCode::ACCEPTED).insert_header(("location", location)).json(view))
}

/// A job as the API shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Job")]
pub(super) struct JobView {
    /// Its id.
    id: ReplayId,
    #[serde(flatten)]
    task: Task,
    /// Where it is.
    state: JobState,
    /// Why it could not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<JobError>,
    /// Whether it only counts.
    dry_run: bool,
    /// How many it has counted so far; of an erasure, how much it looked at.
    counted: u64,
    /// How many match, once all are counted. A delivery that ends between counting and replaying is replayed too.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// How many deliveries it made, or requests it read again, or requests and events it erased. After a crash, requests that were understood in the step
    /// that was under way are not among them.
    made: u64,
    /// How many it could not: the event or request expired meanwhile, the event was replayed too often, the source is
    /// among `sources_gone`, the provider among `providers_unknown`, or the request among the `failed`.
    left_out: u64,
    /// How many of the deliveries it made have not ended.
    pending: usize,
    /// When it was made.
    created_at: Timestamp,
    /// When nothing was left to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// By when at the latest what is erased has left the disk, as long as a gateway runs; it has when this is done. Absent
    /// where it is canceled, or the server refuses to write its files anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone_by: Option<Timestamp>,
}

async fn view(gateway: &Gateway, job: Job) -> Result<JobView, Problem> {
    let pending = if job.made == 0 { 0 } else { gateway.store.pending_of(&job.id).await? };
    let is_stopped = matches!(job.state, JobState::Canceling | JobState::Canceled);
    let gone_by = match &job.task {
        Task::Erasure(erasure) if !is_stopped && !erasure.disk_refused => Some(erasure.gone_by()),
        Task::Erasure(_) | Task::Replay { .. } | Task::Reprocess { .. } => None,
    };
    Ok(JobView {
        total: job.has_counted().then_some(job.counted),
        id: job.id,
        gone_by,
        task: job.task.forgetful(),
        state: job.state,
        error: job.error,
        dry_run: job.dry_run,
        counted: job.counted,
        made: job.made,
        left_out: job.left_out,
        pending,
        created_at: job.created_at,
        ended_at: job.ended_at,
    })
}
