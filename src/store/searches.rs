//! What a store can be asked about events by what they say. See [`domain::search`](crate::domain::search) for what an
//! index finds them by.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Page, PageQuery, Result};
use crate::domain::plan::StoredEvent;
use crate::domain::search::{MailId, Search};

/// So many events are looked at for one part of a search.
pub const LOOKED_AT_MAX: usize = 2_000;
/// No further one is when those so far have so many bytes.
pub const LOOKED_AT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A part of what a search finds.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// The events.
    pub items: Vec<StoredEvent>,
    /// Where to go on, and down to which commit it has looked; none when this was the last part.
    pub next: Option<(String, Timestamp)>,
}

/// Searches. Events that are operational and samples are found by none. What cannot be read is passed over.
#[async_trait]
pub trait Searches: Send + Sync {
    /// The events that are asked for, latest commit first. By a recipient or a mail they are found through an index;
    /// without one, all events of the span are looked at. Looks at a bounded number, so a part may hold fewer than asked
    /// for, or none, and still not be the last. A cursor is a place in the order of commits: another search goes on from
    /// there.
    async fn search(&self, search: &Search, page: &PageQuery) -> Result<Searched>;

    /// The events of the mail that has any of these ids, in the order of their commits; bounded, with cursors, likewise.
    async fn events_of_mail(&self, ids: &[MailId], page: &PageQuery) -> Result<Page<StoredEvent>>;
}
