//! One reader of the feed.

use std::sync::Arc;

use actix_web::web::Data;
use tokio::sync::watch;

use super::filter::Filter;
use super::tail::{Entry, Mark, Tail};
use crate::domain::feed::Cursor;
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::store::FEED_PART_BYTES_MAX;

/// So many parts are read for one answer; where few events are wanted, it may be empty and have more after it.
const READS_MAX: usize = 10;

/// What is there now.
pub(super) struct Part {
    /// The place before it.
    pub(super) start: Cursor,
    pub(super) entries: Vec<Arc<Entry>>,
    /// The place after it.
    pub(super) cursor: Cursor,
    /// How many entries before it are no longer kept.
    pub(super) missed: u64,
    /// Whether more is there already.
    pub(super) has_more: bool,
}

/// Reads the store until it has come to the end, then what the tail has.
pub(super) struct Reader {
    gateway: Data<Gateway>,
    filter: Filter,
    /// All until here has been read; none at the beginning.
    cursor: Option<Cursor>,
    /// Where it is in the tail, once it has come to the end.
    mark: Option<Mark>,
    grown: watch::Receiver<()>,
    has_joined: bool,
}

impl Reader {
    pub(super) fn new(gateway: Data<Gateway>, filter: Filter, cursor: Option<Cursor>) -> Self {
        let grown = gateway.feed.grown();
        Self { gateway, filter, cursor, mark: None, grown, has_joined: false }
    }

    /// What is there now, at most so many events: maybe none.
    ///
    /// # Errors
    /// When the store cannot be read, or the cursor is of another.
    pub(super) async fn read(&mut self, limit: usize) -> Result<Part, Problem> {
        self.grown.borrow_and_update();
        match self.of_tail(limit) {
            Some(part) => Ok(part),
            None => self.of_store(limit).await,
        }
    }

    fn of_tail(&mut self, limit: usize) -> Option<Part> {
        let (mark, cursor) = (self.mark.as_mut()?, self.cursor.as_mut()?);
        let start = cursor.clone();
        let mut entries = self.gateway.feed.after(mark, cursor, limit, self.gateway.clock.elapsed())?;
        let has_more = entries.len() == limit;
        entries.retain(|entry| self.filter.wants(&entry.event));
        Some(Part { start, entries, cursor: cursor.clone(), missed: 0, has_more })
    }

    async fn of_store(&mut self, limit: usize) -> Result<Part, Problem> {
        let mut start = None;
        let (mut entries, mut missed) = (Vec::new(), 0);
        let (mut reads, mut bytes) = (0, 0);
        loop {
            reads += 1;
            let mark = self.gateway.feed.mark();
            let part = self.gateway.store.feed(self.cursor.as_ref(), limit - entries.len()).await?;
            missed += part.missed;
            for entry in part.entries {
                if self.filter.wants(&entry.event) {
                    let entry = Entry::new(&self.gateway, entry).await?;
                    bytes += entry.json.get().len();
                    entries.push(entry);
                }
            }
            self.mark = (!part.has_more).then_some(mark);
            self.cursor = Some(part.cursor.clone());
            let start = start.get_or_insert(part.start).clone();
            let is_enough = entries.len() >= limit || bytes >= FEED_PART_BYTES_MAX || reads == READS_MAX;
            if !part.has_more || missed > 0 || is_enough {
                return Ok(Part { start, entries, cursor: part.cursor, missed, has_more: part.has_more });
            }
        }
    }

    /// Returns when there may be more.
    ///
    /// # Errors
    /// [`Problem::Overloaded`] when too many wait.
    pub(super) async fn wait(&mut self) -> Result<(), Problem> {
        if !std::mem::replace(&mut self.has_joined, true) {
            // There may have been more since, when nobody waited.
            return Tail::join(&self.gateway).inspect_err(|_| self.has_joined = false);
        }
        Tail::run(&self.gateway);
        self.grown.changed().await.map_err(|_| Problem::ShuttingDown)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.has_joined {
            self.gateway.feed.leave();
        }
    }
}
