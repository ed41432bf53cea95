//! `/v1/requests`: what was received and not understood, and how it is read again. Looking needs an API key of scope
//! `read`, reprocessing one of scope `write`; errors are as everywhere under `/v1`, and those that each route lists.

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::api::{filtered, raw_answer};
use super::auth::authorize;
use super::body;
use super::jobs::begin;
use super::lists::{List, ListQuery};
use super::problem::Problem;
use super::replays::{Nothing, read, replay_id};
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::id::RequestId;
use crate::domain::job::{Job, Task};
use crate::domain::reprocess::{Filter, IncompleteRequest, Lack, Outcome};
use crate::reprocess;
use crate::store::{First, Page, StoredRequest};

/// `GET /v1/requests?status=&source=&limit=&cursor=`: requests of which a part is `unmapped` (none of the eleven events)
/// or `unreadable`, latest first, without their content. A part may hold fewer than asked for and still have more after
/// it.
pub(super) async fn requests(
    request: HttpRequest,
    gateway: Data<Gateway>,
) -> Result<Json<List<IncompleteRequest>>, Problem> {
    authorize(&gateway.api_keys, request.headers(), Scope::Read)?;
    let query = ListQuery::read(request.query_string())?;
    let page = query.page()?;
    let filter = query.requests()?;
    let wants = |found: &IncompleteRequest| {
        filter.lack.is_of(found) && filter.source.as_deref().is_none_or(|source| *source == *found.source)
    };
    let found: Page<_> =
        filtered(page, async |page| gateway.store.incomplete(page, First::Latest).await, wants).await?;
    Ok(Json(found.into()))
}

/// `GET /v1/requests/{id}`: one request as it was received, and how many of its parts are not understood.
pub(super) async fn request(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<RequestId>,
) -> Result<HttpResponse, Problem> {
    authorize(&gateway.api_keys, request.headers(), Scope::Read)?;
    Ok(raw_answer(find(&gateway, &id).await?))
}

async fn find(gateway: &Gateway, id: &RequestId) -> Result<StoredRequest, Problem> {
    gateway.store.request(id).await?.ok_or(Problem::NotFound("request"))
}

/// What became of a request that was read again.
#[derive(Serialize)]
struct Reprocessed {
    request_id: RequestId,
    #[serde(flatten)]
    outcome: Outcome,
}

/// `POST /v1/requests/{id}/reprocess`: reads a request again, as the provider that its source has now; `200` with how many
/// of its events are new (`stored`) and how many were stored before (`repeats`), and of how many parts nothing can be said
/// still (`unmapped`, `unreadable`). `404` where there is none, or it has expired; `409` when its source is no longer in
/// the config.
pub(super) async fn reprocess(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<RequestId>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    authorize(&gateway.api_keys, request.headers(), Scope::Write)?;
    let body = body::of_api(&request, payload, &gateway).await?;
    let Nothing {} = read(&body)?;
    let stored = find(&gateway, &id).await?;
    let (store, sources) = (gateway.store.as_ref(), gateway.sources.all());
    let outcome = reprocess::request(store, &gateway.endpoints, &sources, &gateway.suppress_on, stored).await?;
    let outcome = outcome.ok_or(Problem::NotFound("request"))?;
    Ok(HttpResponse::Ok().json(Reprocessed { request_id: id.into_inner(), outcome }))
}

/// The body of [`reprocess_all`].
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkReprocess {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    source: Option<String>,
    #[serde(default)]
    status: Vec<Lack>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /v1/requests/reprocess`: a job that reads again all requests with a part of one of these `status` (`unmapped` and
/// `unreadable`), of this `source` (every one), that were received from `since` (all that are kept) until `until` (now, and
/// no later). `202` with the job, which counts first and says so in `total`, then reads each of them; with `dry_run` it
/// only counts. Requests of sources that are no longer in the config are left out, and the job names these in
/// `sources_gone`. `409` when `source` is such a one, or too many jobs are under way.
pub(super) async fn reprocess_all(
    request: HttpRequest,
    gateway: Data<Gateway>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Write)?;
    let body = body::of_api(&request, payload, &gateway).await?;
    let BulkReprocess { since, until, source, status, dry_run } = read(&body)?;
    let (id, now) = (replay_id(&request, key, &body)?, gateway.clock.now());
    let until = until.map_or(now, |until| until.min(now));
    if since.is_some_and(|since| since >= until) {
        return Err(Problem::BadBody("`since` is not before `until`".into()));
    }
    if let Some(source) = &source
        && !gateway.sources.all().contains_key(source)
    {
        return Err(Problem::SourceGone(source.clone()));
    }
    let status = if status.is_empty() { Lack::ALL.to_vec() } else { status };
    let task = Task::Reprocess { filter: Filter { since, until, source, status }, outcome: Outcome::default() };
    begin(&gateway, Job::new(id, task, dry_run, now)).await
}
