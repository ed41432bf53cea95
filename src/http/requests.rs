//! `/v1/requests`: what was received and not understood, and how it is read again. Looking needs an API key of scope
//! `read`, reprocessing one of scope `write`; errors are as everywhere under `/v1`, and those that each route lists.

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::api::{filtered, raw_answer};
use super::auth::authorize;
use super::body;
use super::lists::{List, ListQuery};
use super::problem::Problem;
use super::replays::{Nothing, read};
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::id::RequestId;
use crate::domain::reprocess::{IncompleteRequest, Outcome};
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
