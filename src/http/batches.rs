//! Room at the store for large batches. One that is given up in the middle costs as much as one that is answered, so what
//! would not be stored in time is refused before it is begun.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::Problem;

/// Smaller bodies go in without asking.
pub(super) const LEN_MIN: usize = 16 * 1024;
/// Of the second that a provider is answered within.
const WAIT_MAX: Duration = Duration::from_millis(400);

/// The room that is left, and how much there is. Whoever came first goes in first.
#[derive(Debug)]
pub(super) struct Batches(Semaphore, u32);

impl Batches {
    /// So much, in bytes.
    pub(super) fn new(room: u32) -> Self {
        Self(Semaphore::new(room as usize), room)
    }

    /// A place for a body of this length, until it is dropped; one that is larger than the room has all of it.
    ///
    /// # Errors
    /// [`Problem::Overloaded`] when there is none in time.
    pub(super) async fn enter(&self, len: usize) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        if len < LEN_MIN {
            return Ok(None);
        }
        let Self(room, all) = self;
        let len = u32::try_from(len).map_or(*all, |len| len.min(*all));
        let place = tokio::time::timeout(WAIT_MAX, room.acquire_many(len)).await;
        place.map_err(|_| Problem::Overloaded)?.map(Some).map_err(|_| Problem::Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[tokio::test]
    async fn a_batch_waits_for_those_before_it_and_is_refused_when_they_take_too_long() {
        let (batches, clock) = (Batches::new(1 << 20), SystemClock::new());
        let all = batches.enter(usize::MAX).await.unwrap();
        assert!(matches!(batches.enter(LEN_MIN).await, Err(Problem::Overloaded)));
        assert!(clock.elapsed() >= WAIT_MAX);
        assert!(batches.enter(LEN_MIN - 1).await.unwrap().is_none(), "a small one waits for nobody");
        let (second, ()) = tokio::join!(batches.enter(LEN_MIN), async { drop(all) });
        assert!(second.unwrap().is_some());
        assert!(batches.enter(usize::MAX).await.unwrap().is_some(), "what was taken is given back");
    }
}
