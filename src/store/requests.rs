//! What a store can be asked about requests that were not understood. See
//! [`domain::reprocess`](crate::domain::reprocess) for what becomes of them.

use async_trait::async_trait;

use super::{Committed, Page, PageQuery, Result};
use crate::domain::plan::Ingest;
use crate::domain::reprocess::IncompleteRequest;

/// What a list begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The latest commit.
    Latest,
    /// The oldest.
    Oldest,
}

/// Requests with parts that were not understood.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Those that are kept, by when they were committed. A cursor is good in the order that it was handed out in. Reads a
    /// bounded number of rows, so a page may hold fewer than asked for and still not be the last.
    async fn incomplete(&self, page: &PageQuery, first: First) -> Result<Page<IncompleteRequest>>;

    /// Commits what a request that is kept says, as it is read now. Its events are committed as by
    /// [`Store::ingest`](super::Store::ingest), but live as long as if they had been when it was received. What is still
    /// not understood of it is remembered in the same commit or after it, so a crash leaves it to be read again. None
    /// when it is no longer kept.
    async fn reprocess(&self, again: Ingest) -> Result<Option<Committed>>;
}
