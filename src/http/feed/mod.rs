//! `/v1/feed`: every event, in the order of commits within its mail, from a cursor on; as parts that are asked for, and as a
//! stream. And consumers whose place the gateway keeps.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::api::{Answer, EventView};
use super::auth::authorize;
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;

pub(super) mod consumers;
pub(super) mod filter;
mod reader;
pub(super) mod receive;
pub(super) mod stream;
mod tail;

use filter::Asked;
use reader::{Part, Reader};
use tail::Entry;
pub(super) use tail::Tail;

/// A part of the feed.
#[derive(Serialize, JsonSchema)]
pub(super) struct FeedView {
    /// The events: those of one mail in the order they were stored in.
    #[schemars(with = "Vec<EventView>")]
    data: Vec<Shown>,
    /// Where to go on: to be sent as `after`.
    cursor: String,
    /// Whether more is there already; also where fewer events are here than were asked for.
    has_more: bool,
    /// How many entries between the place that was asked for and this one are no longer kept. The embedded store counts
    /// events about Waypost itself among them.
    missed: u64,
}

impl From<Part> for FeedView {
    fn from(part: Part) -> Self {
        let Part { entries, cursor, missed, has_more, .. } = part;
        Self { data: entries.into_iter().map(Shown).collect(), cursor: cursor.text(), has_more, missed }
    }
}

/// An event, as it was rendered once for all readers.
struct Shown(Arc<Entry>);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.json.serialize(to)
    }
}

/// Reads a part. Where there is nothing, waits so long for something.
async fn wait_for(
    gateway: &Gateway,
    reader: &mut Reader,
    limit: usize,
    wait: std::time::Duration,
) -> Result<Part, Problem> {
    let timer = tokio::time::sleep(wait);
    tokio::pin!(timer);
    loop {
        let part = reader.read(limit).await?;
        let is_something = !part.entries.is_empty() || part.missed > 0 || part.has_more;
        if is_something || wait.is_zero() || timer.is_elapsed() || gateway.is_draining() {
            return Ok(part);
        }
        tokio::select! {
            waited = reader.wait() => waited?,
            () = &mut timer => return Ok(part),
        }
    }
}

/// `GET /v1/feed?after=&limit=&types=&sources=&wait=`: the events after a cursor, or from the beginning of what is kept, or
/// from the `end` on. Where there is none, `wait` seconds for one. Needs a key of scope `read`.
pub(super) async fn feed(request: HttpRequest, gateway: Data<Gateway>) -> Answer<FeedView> {
    authorize(&request, &gateway, Scope::Read)?;
    let Asked { start, limit, filter, wait } = Asked::read(request.query_string(), false)?;
    let cursor = start.place(gateway.store.as_ref()).await?;
    let mut reader = Reader::new(gateway.clone(), filter, cursor);
    Ok(Json(wait_for(&gateway, &mut reader, limit, wait).await?.into()))
}
