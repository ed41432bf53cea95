//! Room in memory for what is fetched: so many bytes for all mails of which content is fetched at the same time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For what is read, and for what is made of it.
const TIMES: usize = 2;

/// A budget of bytes. Clones share it.
#[derive(Clone, Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    len_max: usize,
}

impl Room {
    /// For one thing of the largest length at a time, or several that are smaller.
    pub fn for_one_of(len_max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(len_max * TIMES)), len_max }
    }

    /// Waits until there is room for so many bytes, or for the most there may be; it is given back when this is dropped.
    /// Who has some and waits for more may wait for ever: everything is taken in one go.
    pub(super) async fn take(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(len.min(self.len_max) * TIMES).unwrap_or(u32::MAX);
        // It is never closed.
        Arc::clone(&self.all).acquire_many_owned(permits).await.ok()
    }
}
