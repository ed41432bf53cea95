//! The feed: every event that a provider told of, in the order of commits, and the consumers that read it under a name.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Result;
use crate::domain::consumer::Consumer;
use crate::domain::feed::{Cursor, Place};
use crate::domain::plan::StoredEvent;

/// So many entries are looked at for one part of the feed.
pub const FEED_PART_MAX: usize = 1_000;
/// No further one is when those so far have so many bytes.
pub const FEED_PART_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An event in the feed.
#[derive(Clone, Debug)]
pub struct FeedEntry {
    /// The partition that it is in.
    pub partition: usize,
    /// The place after it there.
    pub place: Place,
    /// It.
    pub event: StoredEvent,
}

/// A part of the feed.
#[derive(Clone, Debug, Default)]
pub struct FeedPart {
    /// The place before them.
    pub start: Cursor,
    /// Its events: in the order of their commits, in each partition.
    pub entries: Vec<FeedEntry>,
    /// The place after them.
    pub cursor: Cursor,
    /// How many entries there were between the place asked for and this one that are no longer kept. The embedded store counts
    /// events of Waypost's own among them, so there it is at most so many.
    pub missed: u64,
    /// Whether the store no longer knew the place asked for, so that the part begins before it: see
    /// [`REWIND_MICROS`](crate::domain::feed::REWIND_MICROS).
    pub is_rewound: bool,
    /// Whether more is there already.
    pub has_more: bool,
}

/// See the module. Operational events and samples are not in the feed; neither is what was erased.
///
/// Readers of each partition see the order of its commits, and nothing is committed before what they have read: whoever
/// goes on from the cursor of each part reads every event that is kept. Nothing is skipped but what is told as missed. After
/// a store has lost commits, what it still has may come twice.
#[async_trait]
pub trait Feed: Send + Sync {
    /// What comes after a place, or from the beginning of what is kept: at most `limit` events, and no more than
    /// [`FEED_PART_MAX`] entries are looked at, so a part may hold fewer than asked for, or none, and still not be the last.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`](super::StoreError::BadCursor) for a cursor of a store of another kind.
    async fn feed(&self, after: Option<&Cursor>, limit: usize) -> Result<FeedPart>;

    /// The place after all that is there now.
    async fn feed_end(&self) -> Result<Cursor>;

    /// Changes whenever there may be more in the feed, also by another gateway.
    fn feed_grown(&self) -> watch::Receiver<()>;

    /// A consumer, and what the time is to the store, by which its lease is counted.
    async fn consumer(&self, name: &str) -> Result<(Option<Consumer>, Timestamp)>;

    /// Puts a consumer, whose version follows that of the one there, or is 1 where there is none; answers whether it did.
    async fn put_consumer(&self, consumer: &Consumer) -> Result<bool>;

    /// Forgets a consumer; answers whether there was one.
    async fn remove_consumer(&self, name: &str) -> Result<bool>;

    /// All consumers, by name.
    async fn consumers(&self) -> Result<Vec<Consumer>>;
}
