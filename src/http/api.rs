//! `/v1`: what was received, what it meant, and what became of it. Every route needs an API key of scope `read`;
//! errors are RFC 9457: `401` without a known key, `403` without the scope, `404` where nothing is, `400` for a wrong
//! query, `503` with `Retry-After` when the store cannot be read.

use std::sync::Arc;

use actix_web::http::header::X_CONTENT_TYPE_OPTIONS;
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use waypost_providers::{Headers, event};

use super::auth::authorize;
use super::lists::{List, ListQuery};
use super::problem::Problem;
use super::requests;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::delivery::{Delivery, Split};
use crate::domain::event_type::EventType;
use crate::domain::id::{EventId, RequestId};
use crate::domain::link::Links;
use crate::domain::operational;
use crate::domain::plan::StoredEvent;
use crate::store::{self, Page, PageQuery, StoredRequest};

/// How many parts of the list one filtered list reads at most; it then answers what it found, and where to go on.
const READS_MAX: usize = 20;

pub(super) type Answer<T> = Result<Json<T>, Problem>;

/// Reads on until enough is found. Never asks for more rows than are still wanted, so no row is read and left out.
pub(super) async fn filtered<T>(
    wanted: PageQuery,
    read: impl AsyncFn(&PageQuery) -> store::Result<Page<T>>,
    wants: impl Fn(&T) -> bool,
) -> Result<Page<T>, Problem> {
    let mut items = Vec::new();
    let mut cursor = wanted.cursor;
    for _ in 0..READS_MAX {
        let limit = wanted.limit - items.len();
        let page = read(&PageQuery { cursor, limit }).await?;
        items.extend(page.items.into_iter().filter(&wants));
        cursor = page.next;
        if cursor.is_none() || items.len() >= wanted.limit {
            break;
        }
    }
    Ok(Page { items, next: cursor })
}

/// `GET /v1/events/{id}`: one event.
pub(super) async fn event(request: HttpRequest, gateway: Data<Gateway>, id: Path<String>) -> Answer<EventView> {
    authorize(&request, &gateway, Scope::Read)?;
    let event = find(&gateway, &id).await?;
    Ok(Json(linked(&gateway, event).await?.into()))
}

/// The event with links that are good from now on.
pub(super) async fn linked(gateway: &Gateway, event: StoredEvent) -> Result<StoredEvent, Problem> {
    if !Links::are_in(&event) {
        return Ok(event);
    }
    let links = Links { settings: &gateway.links, key: gateway.store.link_key().await?, now: gateway.clock.now() };
    // One that does not read is shown as it is.
    Ok(links.made_in(&event).unwrap_or(event))
}

/// Events as the API shows them.
pub(super) async fn views(gateway: &Gateway, events: Vec<StoredEvent>) -> Result<Vec<EventView>, Problem> {
    let mut views = Vec::with_capacity(events.len());
    for event in events {
        views.push(linked(gateway, event).await?.into());
    }
    Ok(views)
}

/// `GET /v1/events/{id}/raw`: the request that the event was read from. `410` where that named, beside the event, a person
/// who was erased.
pub(super) async fn raw(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    authorize(&request, &gateway, Scope::Read)?;
    let event = find(&gateway, &id).await?;
    let id = event.request_id.ok_or(Problem::NotFound("request"))?;
    Ok(raw_answer(requests::find(&gateway, &id).await?))
}

/// A request whole. Its body is base64, so that nothing a sender wrote is ever rendered by a browser.
pub(super) fn raw_answer(stored: StoredRequest) -> HttpResponse {
    HttpResponse::Ok().insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff")).json(RequestView::from(stored))
}

/// `GET /v1/events/{id}/deliveries`: what became of it at each endpoint, attempt by attempt. Why an attempt failed,
/// and what was answered, is told to scope `admin` only.
pub(super) async fn deliveries_of(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Answer<List<Delivery>> {
    let key = authorize(&request, &gateway, Scope::Read)?;
    let event = find(&gateway, &id).await?;
    let items = gateway.store.deliveries_of(&event.id).await?;
    Ok(Json(all_shown(Page { items, next: None }, key.may(Scope::Admin)).into()))
}

/// `GET /v1/deliveries?status=&limit=&cursor=`: deliveries in one status, latest first; dead letters are
/// `status=failed`. A part may hold fewer than asked for and still have more after it.
pub(super) async fn deliveries(request: HttpRequest, gateway: Data<Gateway>) -> Answer<List<Delivery>> {
    let key = authorize(&request, &gateway, Scope::Read)?;
    let query = ListQuery::read(request.query_string())?;
    let page = gateway.store.deliveries(query.status()?, &query.page()?).await?;
    Ok(Json(all_shown(page, key.may(Scope::Admin)).into()))
}

/// Whatever else is asked for: `404`.
pub(super) async fn nothing() -> Result<HttpResponse, Problem> {
    Err(Problem::NotFound("route"))
}

pub(super) async fn find(gateway: &Gateway, id: &str) -> Result<StoredEvent, Problem> {
    gateway.store.event(&EventId::from(id)).await?.ok_or(Problem::NotFound("event"))
}

/// An attempt's error, answer and times tell of the network behind an endpoint, and its signatures are good for a while,
/// so they are for scope `admin`.
pub(super) fn shown(mut delivery: Delivery, is_admin: bool) -> Delivery {
    if !is_admin {
        for attempt in &mut delivery.attempts {
            attempt.error = None;
            attempt.answer = None;
            attempt.split = Split::default();
            attempt.sent.clear();
            attempt.truncated = false;
        }
    }
    delivery
}

fn all_shown(page: Page<Delivery>, is_admin: bool) -> Page<Delivery> {
    Page { items: page.items.into_iter().map(|delivery| shown(delivery, is_admin)).collect(), next: page.next }
}

/// An event as the API shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(super) struct EventView {
    /// The same for each copy that a provider sends.
    id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    kind: EventType,
    /// When it happened, as the provider tells it.
    #[schemars(with = "Timestamp")]
    created_at: String,
    /// To what, and how.
    #[schemars(with = "EventData")]
    data: Box<RawValue>,
    /// The source that it came in by.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// When it came in.
    received_at: Timestamp,
    /// The request that it was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<RequestId>,
    /// An event that this may be a copy of.
    #[serde(skip_serializing_if = "Option::is_none")]
    possible_duplicate_of: Option<EventId>,
}

impl From<StoredEvent> for EventView {
    fn from(event: StoredEvent) -> Self {
        Self {
            id: event.id,
            kind: event.kind,
            created_at: event.created_at,
            data: event.data,
            source: event.source,
            received_at: event.received_at,
            request_id: event.request_id,
            possible_duplicate_of: event.possible_duplicate_of,
        }
    }
}

/// `data` of an event.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is used")]
enum EventData {
    /// Of an event that a provider told of, or a sample of one.
    Provider(Box<event::Data>),
    /// Of an event about Waypost itself.
    Operational(operational::Data),
}

/// A request as the API shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Request")]
pub(super) struct RequestView {
    /// Its id.
    id: RequestId,
    /// The source that it came in by.
    source: String,
    /// The provider that it came from.
    provider: Arc<str>,
    /// When it came in.
    received_at: Timestamp,
    /// Pairs of name and value, without credentials.
    #[schemars(with = "Vec<(String, String)>")]
    headers: Headers,
    /// Its body, in base64.
    body_base64: String,
    /// How many of its parts are none of the eleven events.
    unmapped: u32,
    /// How many of its parts could not be read.
    unreadable: u32,
}

impl From<StoredRequest> for RequestView {
    fn from(stored: StoredRequest) -> Self {
        Self {
            id: stored.id,
            source: stored.request.source.to_string(),
            provider: stored.provider,
            received_at: stored.request.received_at,
            headers: stored.request.headers,
            body_base64: STANDARD.encode(&stored.request.body),
            unmapped: stored.unmapped,
            unreadable: stored.unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::App;
    use actix_web::test::{TestRequest, call_and_read_body_json, init_service};

    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::access::AccessKey;
    use crate::domain::delivery::{Attempt, ErrorClass, Status};
    use crate::domain::id::{DeliveryId, EndpointId};
    use crate::domain::retention::Lifetimes;
    use crate::endpoints::EndpointCache;
    use crate::http::routes;
    use crate::http::state::Limits;
    use crate::store::embedded::Embedded;

    #[test]
    fn only_admin_is_told_why_an_attempt_failed() {
        let attempt = Attempt {
            number: 1,
            started_at: Timestamp::UNIX_EPOCH,
            duration_ms: 5,
            split: Split { connect_ms: Some(3), ..Split::default() },
            sent: "drin-signature: t=0\n".into(),
            status: None,
            error: Some(ErrorClass::Blocked),
            answer: Some("secret".into()),
            truncated: false,
        };
        let delivery = Delivery {
            id: DeliveryId::from("dlv_1"),
            event_id: EventId::from("evt_1"),
            endpoint_id: EndpointId::from("wh_1"),
            replay_id: None,
            status: Status::Pending,
            reason: None,
            begun: 1,
            begun_at: None,
            due_at: None,
            ended_at: None,
            attempts: vec![attempt],
        };
        let page = Page { items: vec![delivery], next: None };
        assert_eq!(all_shown(page.clone(), true), page);
        let json = serde_json::to_string(&List::from(all_shown(page, false))).unwrap();
        for hidden in ["blocked", "secret", "connect_ms", "signature"] {
            assert!(!json.contains(hidden), "{json}");
        }
        assert!(json.ends_with(r#""has_more":false}"#), "{json}");
    }

    #[test]
    fn an_event_is_shown_with_its_data_as_stored() {
        let stored = r#"{"id":"evt_1","type":"email.sent","created_at":"2026-03-14T09:27:01.044Z","data":{"b":1,"a":2},
            "source":"resend","received_at":"2026-03-14T09:27:02Z","request_id":"req_1","mail":7,
            "possible_duplicate_of":"evt_0","endpoints":["wh_1"]}"#;
        let view = EventView::from(serde_json::from_str::<StoredEvent>(stored).unwrap());
        let shown = r#"{"id":"evt_1","type":"email.sent","created_at":"2026-03-14T09:27:01.044Z","data":{"b":1,"a":2},"source":"resend","received_at":"2026-03-14T09:27:02Z","request_id":"req_1","possible_duplicate_of":"evt_0"}"#;
        assert_eq!(serde_json::to_string(&view).unwrap(), shown);
    }

    #[actix_web::test]
    async fn a_cursor_of_nobodys_is_a_wrong_query_that_names_it() {
        let (dir, clock, key) = (tempfile::tempdir().unwrap(), Arc::new(SystemClock::new()), "k".repeat(32));
        let day = Duration::from_secs(24 * 3600);
        let lifetimes = Lifetimes { events: day, requests: day, tokens: day };
        let store = Arc::new(Embedded::open(dir.path(), Arc::clone(&clock) as _, lifetimes).unwrap());
        let limits = Limits { requests_in_flight_max: 1, ..Limits::NONE };
        let gateway = Gateway::new(store, clock, Arc::new(EndpointCache::default()), limits)
            .with_api_keys(vec![AccessKey::new("a".into(), &key, vec![Scope::Read]).unwrap()]);
        let app = init_service(App::new().app_data(Data::new(gateway)).configure(routes::configure)).await;
        for (uri, status) in [
            ("/v1/events?cursor=what", 400),
            ("/v1/deliveries?status=failed&cursor=what", 400),
            ("/v1/events?cursor=", 200),
        ] {
            let request = TestRequest::get().uri(uri).insert_header(("x-api-key", key.as_str())).to_request();
            let body: serde_json::Value = call_and_read_body_json(&app, request).await;
            assert_eq!(body["status"].as_u64().unwrap_or(200), status, "{uri}: {body}");
            let names_it = body["detail"].as_str().is_some_and(|detail| detail.starts_with("`cursor` is none"));
            assert_eq!(names_it, status == 400, "{uri}: {body}");
            assert!(status != 400 || body["type"] == "urn:waypost:problem:bad_query", "{uri}: {body}");
        }
    }
}
