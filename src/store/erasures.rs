//! What a store can be asked so that a person is erased. See [`domain::erasure`](crate::domain::erasure).

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Page, Result};
use crate::domain::attempt_log::Detail;
use crate::domain::id::RequestId;
use crate::domain::plan::StoredEvent;

/// What the log has of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The attempt, as the engine finds it; opaque.
    pub place: String,
    /// When it was made, or recorded.
    pub at: Timestamp,
    /// What was sent and answered.
    pub detail: Detail,
}

/// A large body, or what there is of one, without its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBody {
    /// Where it is; opaque.
    pub place: String,
    /// When it was written, by the clock of the disk.
    pub written_at: Timestamp,
}

/// What became of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anew {
    /// They are being written; ask again with this.
    Writing(Option<String>),
    /// What had been erased when it was first asked for is in none of them.
    Written,
    /// The server does not let anybody ask for it.
    Refused,
}

/// Looking through everything, and erasing. A list may hold any number of items, more than asked for too, and what comes in
/// while it is read may be in it or not; what cannot be read is passed over. All of it may be done again.
#[async_trait]
pub trait Erasures: Send + Sync {
    /// Requests that are kept, and those that were erased.
    async fn requests_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<RequestId>>;

    /// Events, operational ones too.
    async fn events_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<StoredEvent>>;

    /// What the logs have of attempts: of pending deliveries before those that have ended.
    async fn answers_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<KeptAnswer>>;

    /// Blanks what is kept under these ids, head and body, and lets nothing be kept under them from now on: for as long as
    /// it would have been, or where nothing is, for the lifetime of events. They are not reprocessed any more.
    async fn erase_requests(&self, ids: &[RequestId]) -> Result<()>;

    /// Whether it was blanked.
    async fn is_erased(&self, id: &RequestId) -> Result<bool>;

    /// Lets no event of these ids be kept from now on, where there is none: a copy is a repeat, for the lifetime of events.
    async fn bar_events(&self, events: &[StoredEvent]) -> Result<()>;

    /// Files of large bodies that no request refers to: it was never committed, or is about to be.
    async fn left_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<LeftBody>>;

    /// As much of such a body as can be read.
    async fn left_body(&self, place: &str) -> Result<Vec<u8>>;

    /// Removes such a body, unless something refers to it by now, or it was written again.
    async fn remove_left(&self, body: &LeftBody) -> Result<()>;

    /// Removes, of some parts of bodies, those that no request refers to and that were written so long ago; answers where to
    /// go on, none at the end. Who is about to refer to one gives its request up.
    async fn remove_left_parts(&self, _: Option<&str>, _: usize, _age: Duration) -> Result<Option<String>> {
        Ok(None)
    }

    /// Erases an event. Its id, and what tells copies of it, are known as before; its pending deliveries end as
    /// canceled, a lease of one is lost, and the logs have nothing any more of what was sent and answered.
    async fn erase_event(&self, event: &StoredEvent) -> Result<()>;

    /// Takes an attempt out of its log. Its delivery still tells it, without what was sent and answered.
    async fn forget_answer(&self, place: &str) -> Result<()>;

    /// Writes its files anew, without what was erased; begins to, unless this says that it was begun.
    async fn write_anew(&self, begun: Option<&str>) -> Result<Anew>;
}
