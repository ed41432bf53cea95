//! `/v1`: sending again what was sent before. Making and canceling needs an API key of scope `write`, looking one of
//! scope `read`; errors are as everywhere under `/v1`, and those that each route lists.
//!
//! A replay is a new delivery of the same event: it has an id of its own, and comes with the same `webhook-id` and
//! with `Waypost-Replay`. A delivery can be replayed wherever it stands, also while it is pending (it is then sent
//! twice, under the same event id), but not when it was canceled. With an `Idempotency-Key`, the same request made
//! again makes nothing twice and is answered the same.

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::{find, shown};
use super::auth::authorize;
use super::body;
use super::idempotency::Once;
use super::jobs::begin;
use super::openapi::EventWord;
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::audit::Action;
use crate::domain::delivery::{Delivery, Status};
use crate::domain::id::{DeliveryId, EndpointId, ReplayId};
use crate::domain::job::{Job, Task};
use crate::domain::plan::StoredEvent;
use crate::domain::replay::{Filter, REPLAYS_OF_EVENT_MAX, Replay};
use crate::domain::subscription::Subscription;
use crate::store;

/// `GET /v1/deliveries/{id}`: one delivery. `404` also when its event has expired. Why an attempt failed, and what was
/// answered, is told to scope `admin` only.
pub(super) async fn delivery(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<Json<Delivery>, Problem> {
    let key = authorize(&request, &gateway, Scope::Read)?;
    let (_, delivery) = find_delivery(&gateway, &id).await?.ok_or(Problem::NotFound("delivery"))?;
    Ok(Json(shown(delivery, key.may(Scope::Admin))))
}

/// `POST /v1/deliveries/{id}/retry`: a new delivery of the same event to the same endpoint; `201` with it. `404` where
/// there is none, `410` when its event is no longer kept, `409` when it was canceled, its endpoint is disabled or
/// deleted, or its event has been replayed too often.
pub(super) async fn retry(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let body = body::of_api(&request, payload, &gateway).await?;
    let Nothing {} = body::fields(&body)?;
    let once = Once::begin(&gateway, key, &request, &body).await?;
    let replay = ReplayId::from_bits(once.bits);
    let Some((event, delivery)) = find_delivery(&gateway, &id).await? else {
        return Err(gone_or_never(&id));
    };
    if delivery.status == Status::Canceled {
        return Err(Problem::NotReplayable(
            "the delivery was canceled, and what was canceled is not sent again".into(),
        ));
    }
    refresh(&gateway).await?;
    check_endpoint(&gateway, &delivery.endpoint_id)?;
    once.tell(&gateway, key, Action::DeliveryRetried, Some(&id)).await?;
    let mut made = make(&gateway, &event, &replay, vec![delivery.endpoint_id]).await?;
    let made = made.pop().ok_or(Problem::Expired)?;
    once.settle(&gateway, replay.as_str()).await?;
    Ok(HttpResponse::Created().json(shown(made, key.may(Scope::Admin))))
}

/// A body without fields.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// What of an event is to be sent again.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventReplay {
    /// To whom; to all that it went to, if left out.
    endpoint_id: Option<EndpointId>,
}

/// The deliveries that a replay of one event made.
#[derive(Serialize, JsonSchema)]
pub(super) struct Replayed {
    /// The replay that made them.
    replay_id: ReplayId,
    /// The new deliveries.
    data: Vec<Delivery>,
    /// Endpoints that get nothing, each with the reason.
    left_out: Vec<LeftOut>,
}

/// An endpoint that gets nothing.
#[derive(Serialize, JsonSchema)]
struct LeftOut {
    /// Which.
    endpoint_id: EndpointId,
    /// Why.
    detail: String,
}

/// `POST /v1/events/{id}/replay`: a new delivery of the event to each endpoint that it went to, or to `endpoint_id`
/// alone; `201` with them. Endpoints that are disabled or deleted, or whose delivery was canceled, are left out, and
/// the answer says so; `409` when none is left. `404` where there is no such event, or it did not go to that endpoint;
/// `409` also when it has been replayed too often.
pub(super) async fn replay_event(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let body = body::of_api(&request, payload, &gateway).await?;
    let EventReplay { endpoint_id } = body::fields(&body)?;
    let once = Once::begin(&gateway, key, &request, &body).await?;
    let replay_id = ReplayId::from_bits(once.bits);
    let event = find(&gateway, &id).await?;
    refresh(&gateway).await?;
    let (mut endpoints, mut left_out) = (Vec::new(), Vec::new());
    let deliveries = gateway.store.deliveries_of(&event.id).await?.into_iter();
    for Delivery { endpoint_id: endpoint, status, .. } in deliveries.filter(|one| one.replay_id.is_none()) {
        if endpoint_id.as_ref().is_some_and(|wanted| *wanted != endpoint) {
            continue;
        }
        let checked = match status {
            Status::Canceled => Err(Problem::NotReplayable(format!("its delivery to `{endpoint}` was canceled"))),
            _ => check_endpoint(&gateway, &endpoint),
        };
        match checked {
            Ok(()) => endpoints.push(endpoint),
            Err(Problem::NotReplayable(detail)) => left_out.push(LeftOut { endpoint_id: endpoint, detail }),
            Err(problem) => return Err(problem),
        }
    }
    if endpoints.is_empty() {
        return Err(match left_out.into_iter().map(|one| one.detail).reduce(|all, one| format!("{all}; {one}")) {
            Some(details) => Problem::NotReplayable(details),
            None if endpoint_id.is_some() => Problem::NotFound("delivery of this event to that endpoint"),
            None => Problem::NotReplayable("the event went to no endpoint".into()),
        });
    }
    once.tell(&gateway, key, Action::EventReplayed, Some(&id)).await?;
    let mut data = make(&gateway, &event, &replay_id, endpoints.clone()).await?;
    if data.is_empty() {
        return Err(Problem::Expired);
    }
    once.settle(&gateway, replay_id.as_str()).await?;
    endpoints.retain(|endpoint| data.iter().all(|made| made.endpoint_id != *endpoint));
    let detail = format!("the event has been replayed {REPLAYS_OF_EVENT_MAX} times");
    left_out.extend(endpoints.into_iter().map(|endpoint_id| LeftOut { endpoint_id, detail: detail.clone() }));
    if !key.may(Scope::Admin) {
        data = data.into_iter().map(|one| shown(one, false)).collect();
    }
    Ok(HttpResponse::Created().json(Replayed { replay_id, data, left_out }))
}

/// What is to be sent again.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkReplay {
    /// Received then or later.
    #[schemars(required)]
    since: Option<Timestamp>,
    /// Received before then; now, and no later, if left out.
    until: Option<Timestamp>,
    /// Of these types; of all, if left out.
    #[serde(default)]
    #[schemars(with = "Vec<EventWord>")]
    types: Vec<String>,
    /// Where the delivery stands that began with the event: `delivered`, `failed` and `skipped`, if left out.
    #[serde(default)]
    status: Vec<Status>,
    /// Whether only to count.
    #[serde(default)]
    dry_run: bool,
}

impl BulkReplay {
    fn filter(self, now: Timestamp) -> Result<Filter, Problem> {
        let since = self.since.ok_or_else(|| Problem::BadBody("`since` is missing: from when on, RFC 3339".into()))?;
        let until = self.until.map_or(now, |until| until.min(now));
        if since >= until {
            return Err(Problem::BadBody("`since` is not before `until`".into()));
        }
        let types = Subscription::new(self.types);
        let types = types.map_err(|error| Problem::BadBody(format!("`types`: {error}")))?;
        if types.has_operational() {
            return Err(Problem::BadBody("`types`: operational events are sent again one by one".into()));
        }
        if self.status.contains(&Status::Canceled) {
            return Err(Problem::BadBody("`status`: what was canceled is not sent again; leave `canceled` out".into()));
        }
        let status = if self.status.is_empty() { Filter::STATUS_DEFAULT.to_vec() } else { self.status };
        Ok(Filter { since, until, types, status })
    }
}

/// `POST /v1/webhooks/{id}/replay`: a job that makes a new delivery of everything that went to the endpoint and was
/// received from `since` until `until` (now, and no later), of these `types` (all), where the delivery that began with the event is
/// in one of these `status` (`delivered`, `failed` and `skipped`); `pending` may be named. `202` with the job, which
/// counts first and says so in `total`, then replays all of it; with `dry_run` it only counts. `404` where there is no
/// such endpoint, `409` when it is disabled, or too many jobs are under way.
pub(super) async fn replay_endpoint(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<EndpointId>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let body = body::of_api(&request, payload, &gateway).await?;
    let asked: BulkReplay = body::fields(&body)?;
    let (now, dry_run) = (gateway.clock.now(), asked.dry_run);
    let filter = asked.filter(now)?;
    let once = Once::begin(&gateway, key, &request, &body).await?;
    refresh(&gateway).await?;
    match check_endpoint(&gateway, &id) {
        Ok(()) => {}
        Err(_) if gateway.endpoints.snapshot().endpoint(&id).is_none() => return Err(Problem::NotFound("endpoint")),
        // Counting sends nothing.
        Err(Problem::NotReplayable(_)) if dry_run => {}
        Err(problem) => return Err(problem),
    }
    let about = (Action::WebhookReplayed, Some(id.as_str()));
    let task = Task::Replay { endpoint_id: id.clone(), filter };
    begin(&gateway, key, &once, about, Job::new(ReplayId::from_bits(once.bits), task, dry_run, now)).await
}

/// A delivery, and its event.
async fn find_delivery(gateway: &Gateway, id: &str) -> Result<Option<(StoredEvent, Delivery)>, Problem> {
    let id = DeliveryId::from(id);
    let Some(event) = id.event() else { return Ok(None) };
    let Some(event) = gateway.store.event(&event).await? else { return Ok(None) };
    let deliveries = gateway.store.deliveries_of(&event.id).await?;
    Ok(deliveries.into_iter().find(|delivery| delivery.id == id).map(|delivery| (event, delivery)))
}

/// Nothing tells an event that has expired from one that never was.
fn gone_or_never(id: &str) -> Problem {
    if DeliveryId::from(id).event().is_some() { Problem::Expired } else { Problem::NotFound("delivery") }
}

/// Reads the endpoint set as it is now, once for a request.
pub(super) async fn refresh(gateway: &Gateway) -> Result<(), Problem> {
    Ok(gateway.endpoints.refresh(gateway.store.as_ref()).await?)
}

/// Whether the endpoint is served, by the endpoint set as it was read.
pub(super) fn check_endpoint(gateway: &Gateway, id: &EndpointId) -> Result<(), Problem> {
    let wrong = || match gateway.endpoints.snapshot().endpoint(id) {
        None => Some(format!("the endpoint `{id}` no longer exists")),
        Some(endpoint) => endpoint.disabled.as_ref().map(|disabled| {
            format!("the endpoint `{id}` is disabled: {}; enable it, then replay", disabled.reason.remedy())
        }),
    };
    wrong().map_or(Ok(()), |detail| Err(Problem::NotReplayable(detail)))
}

/// The new deliveries; fewer than asked for when the event has expired meanwhile.
async fn make(
    gateway: &Gateway,
    event: &StoredEvent,
    replay: &ReplayId,
    endpoints: Vec<EndpointId>,
) -> Result<Vec<Delivery>, Problem> {
    let one = |endpoint| Replay { replay: replay.clone(), event_id: event.id.clone(), mail: event.mail, endpoint };
    let made = gateway.store.replay(endpoints.into_iter().map(one).collect()).await?;
    if made.iter().all(|made| *made == store::Replayed::Full) {
        return Err(Problem::NotReplayable(format!("the event has been replayed {REPLAYS_OF_EVENT_MAX} times")));
    }
    let deliveries = gateway.store.deliveries_of(&event.id).await?;
    Ok(deliveries.into_iter().filter(|delivery| delivery.replay_id.as_ref() == Some(replay)).collect())
}
