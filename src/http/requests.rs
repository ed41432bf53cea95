//! `/v1/requests`: what was received and not understood, and how it is read again. Looking needs an API key of scope
//! `read`, reprocessing one of scope `write`; errors are as everywhere under `/v1`, and those that each route lists.

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::{filtered, raw_answer};
use super::audit::note;
use super::auth::authorize;
use super::body;
use super::idempotency::Once;
use super::jobs::begin;
use super::lists::{List, ListQuery};
use super::problem::Problem;
use super::replays::Nothing;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::audit::Action;
use crate::domain::id::{ReplayId, RequestId};
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
    authorize(&request, &gateway, Scope::Read)?;
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

/// `GET /v1/requests/{id}`: one request as it was received, and how many of its parts are not understood. `410` where it
/// named a person who was erased.
pub(super) async fn request(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<RequestId>,
) -> Result<HttpResponse, Problem> {
    authorize(&request, &gateway, Scope::Read)?;
    Ok(raw_answer(find(&gateway, &id).await?))
}

/// [`Problem::Erased`] where it named a person who was erased.
pub(super) async fn find(gateway: &Gateway, id: &RequestId) -> Result<StoredRequest, Problem> {
    match gateway.store.request(id).await? {
        Some(stored) => Ok(stored),
        None if gateway.store.is_erased(id).await? => Err(Problem::Erased),
        None => Err(Problem::NotFound("request")),
    }
}

/// What became of a request that was read again.
#[derive(Serialize, JsonSchema)]
pub(super) struct Reprocessed {
    request_id: RequestId,
    #[serde(flatten)]
    outcome: Outcome,
}

/// `POST /v1/requests/{id}/reprocess`: reads a request again, as the provider that it came from; `200` with how many of
/// its events are new (`stored`) and how many are no news (`repeats`), and of how many parts nothing can be said
/// still (`unmapped`, `unreadable`). `404` where there is none, or it has expired; `410` where it was erased; `409` when its source is no longer in
/// the config, or its provider not known to this version; `503` when as many requests, or bytes of them, are under way
/// as may be, with those that come in.
pub(super) async fn reprocess(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<RequestId>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let body = body::of_api(&request, payload, &gateway).await?;
    let Nothing {} = body::fields(&body)?;
    let _permit = gateway.admit()?;
    let room = body::room(&gateway)?;
    let stored = find(&gateway, &id).await?;
    let _held = body::fit(room, stored.request.body.len(), &gateway)?;
    note(&gateway, key, Action::RequestReprocessed, Some(id.as_str())).await?;
    let (store, sources) = (gateway.store.as_ref(), gateway.sources.all());
    let outcome = reprocess::request(store, &gateway.endpoints, &sources, &gateway.suppress_on, stored).await?;
    let outcome = outcome.ok_or(Problem::NotFound("request"))?;
    Ok(HttpResponse::Ok().json(Reprocessed { request_id: id.into_inner(), outcome }))
}

/// Which requests are to be read again.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkReprocess {
    /// Received then or later; all that are kept, if left out.
    since: Option<Timestamp>,
    /// Received before then; now, and no later, if left out.
    until: Option<Timestamp>,
    /// Of this source of the config; of every one, if left out.
    source: Option<String>,
    /// With a part that is one of these; of both, if left out.
    #[serde(default)]
    status: Vec<Lack>,
    /// Whether only to count.
    #[serde(default)]
    dry_run: bool,
}

/// `POST /v1/requests/reprocess`: a job that reads again all requests with a part of one of these `status` (`unmapped`
/// and `unreadable`), of this `source` (every one), that were received from `since` (all that are kept) until `until`
/// (now, and no later). `202` with the job, which counts first and says so in `total`, then reads each of them; with
/// `dry_run` it only counts. Requests of sources that are no longer in the config, or of providers that this version
/// does not know, are left out, and the job names these in `sources_gone` and `providers_unknown`; so are those that
/// failed again and again though the store worked, which it counts in `failed`. `409` when `source` is such a one, or
/// too many jobs are under way.
pub(super) async fn reprocess_all(
    request: HttpRequest,
    gateway: Data<Gateway>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let body = body::of_api(&request, payload, &gateway).await?;
    let BulkReprocess { since, until, source, status, dry_run } = body::fields(&body)?;
    let now = gateway.clock.now();
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
    let once = Once::begin(&gateway, key, &request, &body).await?;
    let job = Job::new(ReplayId::from_bits(once.bits), task, dry_run, now);
    begin(&gateway, key, &once, (Action::RequestsReprocessed, None), job).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service};
    use waypost_providers::Request;

    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::domain::access::AccessKey;
    use crate::domain::plan::{Generation, Ingest, RawRequest};
    use crate::domain::retention::Lifetimes;
    use crate::http::routes::configure;
    use crate::http::state::Limits;
    use crate::store::Store;
    use crate::store::embedded::Embedded;

    const KEY: &str = "test-0123456789abcdef0123456789abcdef";
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    /// Keeps a request of so many bytes.
    async fn keep(store: &dyn Store, len: usize) -> RequestId {
        let (body, received_at) = (vec![b'x'; len].into(), SystemClock::new().now());
        let request = Request { source: "gone".into(), received_at, headers: Default::default(), body };
        let id = RequestId::of("gone", &request.body);
        let raw = Some(RawRequest { id: id.clone(), provider: "resend", request, unmapped: 0, unreadable: 1 });
        let (guards, units, states) = (Vec::new(), Vec::new(), Vec::new());
        store.ingest(Ingest { guards, raw, generation: Generation(0), units, states }).await.unwrap();
        id
    }

    #[actix_web::test]
    async fn what_is_read_again_shares_the_limits_of_what_comes_in() {
        let dir = tempfile::tempdir().unwrap();
        let lifetimes = Lifetimes { events: DAY, requests: DAY, tokens: DAY };
        let store = Arc::new(Embedded::open(dir.path(), Arc::new(SystemClock::new()), lifetimes).unwrap());
        let (small, large) = (keep(&*store, 10).await, keep(&*store, 150).await);
        // Nobody reads it: there is no source.
        for (id, requests_in_flight_max, body_budget_bytes, status) in [
            (&small, 1, 100, 409),
            (&small, 0, 100, 503),
            (&small, 1, 99, 503),
            (&large, 1, 150, 409),
            (&large, 1, 149, 503),
        ] {
            let limits = Limits { body_bytes_max: 100, body_budget_bytes, requests_in_flight_max, ..Limits::NONE };
            let clock = Arc::new(SystemClock::new());
            let key = AccessKey::new("ops".into(), KEY, vec![Scope::Write]).unwrap();
            let gateway = Gateway::new(Arc::clone(&store) as _, clock, Arc::default(), limits).with_api_keys(vec![key]);
            let gateway = Data::new(gateway);
            let app = init_service(App::new().app_data(gateway.clone()).configure(configure)).await;
            let call = TestRequest::post().uri(&format!("/v1/requests/{id}/reprocess"));
            let answer = call_service(&app, call.insert_header(("x-api-key", KEY)).to_request()).await;
            let what = format!("{id}, {requests_in_flight_max} of {body_budget_bytes} bytes");
            assert_eq!(answer.status().as_u16(), status, "{what}");
            assert_eq!(answer.headers().contains_key("retry-after"), status == 503, "{what}");
            assert_eq!(gateway.body_budget.available_permits(), body_budget_bytes, "{what}");
            assert_eq!(gateway.admit().is_ok(), requests_in_flight_max > 0, "{what}");
        }
    }
}
