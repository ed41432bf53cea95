//! `/v1/feed/consumers`: places in the feed that are kept under a name. Looking needs a key of scope `read`, changing one of
//! scope `write`.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::filter::{SOURCES_MAX, Start, check_sources, types};
use crate::domain::access::Scope;
use crate::domain::audit::Action;
use crate::domain::consumer::{CONSUMERS_MAX, Consumer, NAME_LEN_MAX, is_name};
use crate::domain::feed::Cursor;
use crate::http::api::Answer;
use crate::http::audit::note;
use crate::http::auth::authorize;
use crate::http::body;
use crate::http::lists::List;
use crate::http::openapi::EventWord;
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::store::{Page, Store};

/// How often a change is tried while somebody else makes others.
pub(super) const TRIES_MAX: u32 = 10;

/// A consumer, as the API shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Consumer")]
pub(in crate::http) struct ConsumerView {
    /// Its name.
    name: String,
    /// The types of events it gets; of none, all.
    #[schemars(with = "Vec<EventWord>")]
    types: Vec<String>,
    /// The sources that these come in by; of none, all.
    sources: Vec<String>,
    /// All until here is acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    /// How many entries of the feed are after that, of whatever type and source.
    lag: u64,
    /// Whose turn it is to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<LeaseView>,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last acknowledged or moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    acked_at: Option<Timestamp>,
}

/// Whose turn it is.
#[derive(Debug, Serialize, JsonSchema)]
struct LeaseView {
    /// What the worker calls itself.
    worker: String,
    /// When another may take over.
    expires_at: Timestamp,
}

/// What tells how far consumers are behind.
struct Ends {
    begin: Cursor,
    end: Cursor,
}

impl Ends {
    async fn of(store: &dyn Store) -> Result<Self, Problem> {
        let begin = store.feed(None, 1).await?.start;
        Ok(Self { begin, end: store.feed_end().await? })
    }

    fn view(&self, consumer: Consumer, now: Timestamp) -> ConsumerView {
        let lag = consumer.cursor.as_ref().unwrap_or(&self.begin).until(&self.end);
        let lease = consumer.lease.filter(|lease| lease.expires_at > now);
        ConsumerView {
            name: consumer.name,
            types: consumer.types.words().to_vec(),
            sources: consumer.sources,
            cursor: consumer.cursor.map(|cursor| cursor.text()),
            lag,
            lease: lease.map(|lease| LeaseView { worker: lease.worker, expires_at: lease.expires_at }),
            created_at: consumer.created_at,
            acked_at: consumer.acked_at,
        }
    }
}

pub(super) async fn find(store: &dyn Store, name: &str) -> Result<(Consumer, Timestamp), Problem> {
    let (found, now) = store.consumer(name).await?;
    Ok((found.ok_or(Problem::NotFound("consumer"))?, now))
}

/// `GET /v1/feed/consumers`: all, by name.
pub(in crate::http) async fn list(request: HttpRequest, gateway: Data<Gateway>) -> Answer<List<ConsumerView>> {
    authorize(&request, &gateway, Scope::Read)?;
    let (ends, now) = (Ends::of(gateway.store.as_ref()).await?, gateway.clock.now());
    let all = gateway.store.consumers().await?;
    let items = all.into_iter().map(|consumer| ends.view(consumer, now)).collect();
    Ok(Json(Page { items, next: None }.into()))
}

/// `GET /v1/feed/consumers/{name}`: one, and how far it is behind.
pub(in crate::http) async fn show(
    request: HttpRequest,
    gateway: Data<Gateway>,
    name: Path<String>,
) -> Answer<ConsumerView> {
    authorize(&request, &gateway, Scope::Read)?;
    let (consumer, now) = find(gateway.store.as_ref(), &name).await?;
    Ok(Json(Ends::of(gateway.store.as_ref()).await?.view(consumer, now)))
}

/// What a consumer is to be.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ConsumerSettings {
    /// The types of events it is for; all, if left out.
    #[serde(default)]
    #[schemars(with = "Vec<EventWord>")]
    types: Vec<String>,
    /// The sources that these come in by; all, if left out.
    #[serde(default)]
    #[schemars(length(max = SOURCES_MAX), inner(regex(pattern = r"^[A-Za-z0-9_-]{1,64}$")))]
    sources: Vec<String>,
    /// Where it goes on: after a cursor of the feed, at the `beginning` of what is kept, or at the `end`. Left out, where it
    /// is; at the beginning if it is new.
    #[schemars(extend("format" = "cursor"))]
    after: Option<String>,
}

/// `PUT /v1/feed/consumers/{name}`: makes a consumer (`201`), or changes what it is for (`200`). One that is moved with `after`
/// takes no acknowledgement of before.
pub(in crate::http) async fn put(
    request: HttpRequest,
    gateway: Data<Gateway>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let body = body::of_api(&request, payload, &gateway).await?;
    let ConsumerSettings { types: words, sources, after } = body::fields(&body)?;
    if !is_name(&name) {
        return Err(Problem::BadBody(format!(
            "a consumer's name is 1 to {NAME_LEN_MAX} letters, digits, `-`, `_` and `.`"
        )));
    }
    check_sources(&sources).map_err(Problem::BadBody)?;
    let types = types(words).map_err(Problem::BadBody)?;
    let start = after.map(|after| Start::parse(&after)).transpose().map_err(Problem::BadBody)?;
    let store = gateway.store.as_ref();
    for number in 0..TRIES_MAX {
        let (known, now) = store.consumer(&name).await?;
        let is_new = known.is_none();
        if is_new && store.consumers().await?.len() >= CONSUMERS_MAX {
            return Err(Problem::TooManyConsumers);
        }
        if number == 0 {
            let action = if is_new { Action::ConsumerCreated } else { Action::ConsumerUpdated };
            note(&gateway, key, action, Some(&name)).await?;
        }
        let consumer = known.unwrap_or_else(|| Consumer::new(&name, now));
        let mut consumer =
            Consumer { version: consumer.version + 1, types: types.clone(), sources: sources.clone(), ..consumer };
        if let Some(start) = &start {
            let cursor = start.clone().place(store).await?;
            // Refuses a cursor of another store.
            store.feed(cursor.as_ref(), 1).await?;
            consumer.move_to(cursor, now);
        }
        if store.put_consumer(&consumer).await? {
            let view = Ends::of(store).await?.view(consumer, now);
            return Ok(HttpResponse::build(if is_new { StatusCode::CREATED } else { StatusCode::OK }).json(view));
        }
    }
    Err(Problem::Unsettled)
}

/// `DELETE /v1/feed/consumers/{name}`: forgets its place; `204`.
pub(in crate::http) async fn delete(
    request: HttpRequest,
    gateway: Data<Gateway>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    find(gateway.store.as_ref(), &name).await?;
    note(&gateway, key, Action::ConsumerDeleted, Some(&name)).await?;
    gateway.store.remove_consumer(&name).await?;
    Ok(HttpResponse::NoContent().finish())
}
