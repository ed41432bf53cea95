//! `/v1/feed/consumers/{name}/receive` and `/ack`: workers of a consumer take turns. One reads at a time, so that the order
//! of a mail is kept; another takes over when that one has not been heard of for as long as its lease says.

use std::time::Duration;

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::consumers::{TRIES_MAX, find};
use super::filter::{Filter, LIMIT_DEFAULT, LIMIT_MAX, WAIT_S_MAX};
use super::reader::{Part, Reader};
use super::{FeedView, Shown, wait_for};
use crate::domain::access::Scope;
use crate::domain::consumer::{Consumer, Lease, NAME_LEN_MAX, is_name};
use crate::domain::feed::Cursor;
use crate::http::api::{Answer, EventView};
use crate::http::auth::authorize;
use crate::http::body;
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::keyring::random;
use crate::store::StoreError;

const LEASE_S_DEFAULT: u64 = 60;
const LEASE_S_MAX: u64 = 3_600;
/// How often a worker whose turn it is not asks again.
const AGAIN: Duration = Duration::from_millis(500);

/// What a worker asks for.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Receive {
    /// What the worker calls itself: the same each time, and another than the others do.
    #[schemars(required, regex(pattern = r"^[A-Za-z0-9._-]{1,64}$"))]
    worker: Option<String>,
    /// How many events at most; 100, if left out.
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    limit: Option<usize>,
    /// How long to wait where there is none, or it is another's turn, in seconds; not at all, if left out.
    #[schemars(range(max = WAIT_S_MAX))]
    wait_s: Option<u64>,
    /// For how long no other worker takes over, in seconds from the answer at least; 60, if left out.
    #[schemars(range(min = 1, max = LEASE_S_MAX))]
    lease_s: Option<u64>,
}

/// What a worker gets.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FeedTurn")]
pub(in crate::http) struct Received {
    /// What comes after the place of the consumer; nothing where it is another's turn.
    #[schemars(with = "Vec<EventView>")]
    data: Vec<Shown>,
    /// The place after that, to acknowledge. Left out where it is another's turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    /// To acknowledge with; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Whether more is there already.
    has_more: bool,
    /// How many entries between the place of the consumer and this one are no longer kept.
    missed: u64,
    /// Whose turn it is.
    worker: String,
    /// Until when no other takes over.
    lease_expires_at: Timestamp,
}

impl Received {
    fn of(part: Part, Lease { worker, token, expires_at }: Lease) -> Self {
        let FeedView { data, cursor, has_more, missed } = part.into();
        let (cursor, token) = (Some(cursor), Some(token));
        Self { data, cursor, token, has_more, missed, worker, lease_expires_at: expires_at }
    }

    /// It is another's turn.
    fn held(Lease { worker, expires_at, .. }: Lease) -> Self {
        let (cursor, token) = (None, None);
        Self { data: Vec::new(), cursor, token, has_more: false, missed: 0, worker, lease_expires_at: expires_at }
    }
}

fn bounded(name: &str, value: Option<u64>, least: u64, most: u64, default: u64) -> Result<u64, Problem> {
    let value = value.unwrap_or(default);
    let wrong = || Problem::BadBody(format!("`{name}` is {value}, and is to be from {least} to {most}"));
    (least..=most).contains(&value).then_some(value).ok_or_else(wrong)
}

/// Takes the lease, or keeps it; whether it did.
async fn take(
    gateway: &Gateway,
    name: &str,
    worker: &str,
    hold: Duration,
) -> Result<(Consumer, Option<Lease>), Problem> {
    for _ in 0..TRIES_MAX {
        let (mut consumer, now) = find(gateway.store.as_ref(), name).await?;
        let token = hex::encode(random::<16>()?);
        let Some(lease) = consumer.take(worker, &token, hold, now).cloned() else {
            return Ok((consumer, None));
        };
        consumer.version += 1;
        if gateway.store.put_consumer(&consumer).await? {
            return Ok((consumer, Some(lease)));
        }
    }
    Err(Problem::Unsettled)
}

/// `POST /v1/feed/consumers/{name}/receive`: what comes after what was acknowledged, for the worker whose turn it is. Nothing
/// is acknowledged by that: until it is, the same comes again.
pub(in crate::http) async fn receive(
    request: HttpRequest,
    gateway: Data<Gateway>,
    name: Path<String>,
    payload: Payload,
) -> Answer<Received> {
    authorize(&request, &gateway, Scope::Write)?;
    let asked: Receive = body::fields(&body::of_api(&request, payload, &gateway).await?)?;
    let worker = asked.worker.filter(|worker| is_name(worker)).ok_or_else(|| {
        let why = "`worker` is what the worker calls itself: 1 to";
        Problem::BadBody(format!("{why} {NAME_LEN_MAX} letters, digits, `-`, `_` and `.`"))
    })?;
    let limit = bounded("limit", asked.limit.map(|limit| limit as u64), 1, LIMIT_MAX as u64, LIMIT_DEFAULT as u64)?;
    let wait = Duration::from_secs(bounded("wait_s", asked.wait_s, 0, WAIT_S_MAX, 0)?);
    let hold = Duration::from_secs(bounded("lease_s", asked.lease_s, 1, LEASE_S_MAX, LEASE_S_DEFAULT)?);
    let limit = usize::try_from(limit).unwrap_or(LIMIT_MAX);
    let deadline = gateway.clock.elapsed() + wait;
    loop {
        let left = deadline.saturating_sub(gateway.clock.elapsed());
        let (consumer, lease) = take(&gateway, &name, &worker, hold + left).await?;
        if let Some(lease) = lease {
            let filter = Filter { types: Some(consumer.types), sources: consumer.sources };
            let mut reader = Reader::new(gateway.clone(), filter, consumer.cursor);
            let part = wait_for(&gateway, &mut reader, limit, left).await?;
            return Ok(Json(Received::of(part, lease)));
        }
        if left.is_zero() || gateway.is_draining() {
            let Some(lease) = consumer.lease else { continue };
            return Ok(Json(Received::held(lease)));
        }
        tokio::time::sleep(AGAIN.min(left)).await;
    }
}

/// What a worker has done.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Ack {
    /// The `token` that came with the events.
    #[schemars(required)]
    token: Option<String>,
    /// The `cursor` that came with them.
    #[schemars(required, extend("format" = "cursor"))]
    cursor: Option<String>,
    /// For how long no other worker takes over, in seconds from now; 60, if left out. With 0 another may at once.
    #[schemars(range(max = LEASE_S_MAX))]
    lease_s: Option<u64>,
}

/// `POST /v1/feed/consumers/{name}/ack`: all until the cursor has been dealt with, and is never sent again; `204` once that is
/// kept. `409` when another worker has taken over, who gets the same events.
pub(in crate::http) async fn ack(
    request: HttpRequest,
    gateway: Data<Gateway>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    authorize(&request, &gateway, Scope::Write)?;
    let Ack { token, cursor, lease_s } = body::fields(&body::of_api(&request, payload, &gateway).await?)?;
    let missing = |field| Problem::BadBody(format!("`{field}` is missing: that which came with the events"));
    let token = token.ok_or_else(|| missing("token"))?;
    let cursor = cursor.ok_or_else(|| missing("cursor"))?;
    let cursor = Cursor::parse(&cursor).ok_or_else(|| missing("cursor"))?;
    let hold = Duration::from_secs(bounded("lease_s", lease_s, 0, LEASE_S_MAX, LEASE_S_DEFAULT)?);
    let hold = (!hold.is_zero()).then_some(hold);
    for _ in 0..TRIES_MAX {
        let (mut consumer, now) = find(gateway.store.as_ref(), &name).await?;
        let is_alike = consumer.cursor.as_ref().is_some_and(|known| known.places().len() == cursor.places().len());
        if consumer.ack(&token, cursor.clone(), hold, now).is_err() {
            return Err(Problem::LeaseLost);
        }
        if !is_alike {
            // With one of another store nothing more could be received.
            match gateway.store.feed(Some(&cursor), 1).await {
                Err(StoreError::BadCursor) => return Err(missing("cursor")),
                read => drop(read?),
            }
        }
        consumer.version += 1;
        if gateway.store.put_consumer(&consumer).await? {
            return Ok(HttpResponse::NoContent().finish());
        }
    }
    Err(Problem::Unsettled)
}
