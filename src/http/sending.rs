//! Content on its way to whoever reads it: counted for as long as it is held, which is bounded however slowly it is read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::problem::Problem;

/// What is handed to the connection at a time, which copies it.
const PIECE_LEN: usize = 64 * 1024;
/// Whoever reads has so long, and a second more for each so many bytes.
const READ_WITHIN: Duration = Duration::from_secs(30);
const READ_BYTES_PER_S: usize = 256 * 1024;
/// How long one waits until there is room.
const ROOM_WITHIN: Duration = Duration::from_secs(10);

/// Bytes taken out of the budget of content, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held(OwnedSemaphorePermit);

impl Held {
    /// So many, when there is room for them.
    ///
    /// # Errors
    /// [`Problem::BodiesOverBudget`] when there is none for a while.
    pub(super) async fn take(budget: &Arc<Semaphore>, len: usize) -> Result<Self, Problem> {
        let permits = u32::try_from(len).map_err(|_| Problem::BodiesOverBudget)?;
        let permit = timeout(ROOM_WITHIN, Arc::clone(budget).acquire_many_owned(permits)).await;
        permit.ok().and_then(Result::ok).map(Self).ok_or(Problem::BodiesOverBudget)
    }

    /// Gives back what is more than this.
    pub(super) fn keep(&mut self, len: usize) {
        drop(self.0.split(self.0.num_permits().saturating_sub(len)));
    }
}

/// A body that is given up, and with it the connection, when it is not read in time.
pub(super) struct Sending {
    left: Arc<Mutex<Option<Left>>>,
    len: usize,
    clock: JoinHandle<()>,
}

/// What is yet to be sent.
struct Left {
    bytes: Bytes,
    _held: Held,
}

impl Sending {
    pub(super) fn new(bytes: Bytes, held: Held) -> Self {
        let within = READ_WITHIN + Duration::from_secs((bytes.len() / READ_BYTES_PER_S) as u64);
        Self::within(bytes, held, within)
    }

    fn within(bytes: Bytes, held: Held, within: Duration) -> Self {
        let len = bytes.len();
        let left = Arc::new(Mutex::new(Some(Left { bytes, _held: held })));
        let late = Arc::clone(&left);
        // A body is not asked while the connection takes no more, so somebody else has to look at the clock.
        let clock = tokio::spawn(async move {
            sleep(within).await;
            drop(lock(&late).take());
        });
        Self { left, len, clock }
    }
}

fn lock(left: &Mutex<Option<Left>>) -> MutexGuard<'_, Option<Left>> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.clock.abort();
        drop(lock(&self.left).take());
    }
}

impl MessageBody for Sending {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.len as u64)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        Poll::Ready(match &mut *lock(&self.left) {
            None => Some(Err(io::ErrorKind::TimedOut.into())),
            Some(Left { bytes, .. }) if bytes.is_empty() => None,
            Some(Left { bytes, .. }) => Some(Ok(bytes.split_to(bytes.len().min(PIECE_LEN)))),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LEN: usize = 200_000;

    async fn sending(budget: &Arc<Semaphore>, within: Duration) -> Pin<Box<Sending>> {
        let mut held = Held::take(budget, LEN * 2).await.unwrap();
        held.keep(LEN);
        Box::pin(Sending::within(vec![7; LEN].into(), held, within))
    }

    async fn next(sending: &mut Pin<Box<Sending>>) -> Option<io::Result<Bytes>> {
        poll_fn(|context| sending.as_mut().poll_next(context)).await
    }

    #[tokio::test]
    async fn it_comes_in_pieces_and_is_counted_until_it_is_gone() {
        let budget = Arc::new(Semaphore::new(LEN * 2));
        let mut sending = sending(&budget, READ_WITHIN).await;
        assert_eq!((sending.size(), budget.available_permits()), (BodySize::Sized(LEN as u64), LEN));
        let mut lens = Vec::new();
        while let Some(piece) = next(&mut sending).await {
            lens.push(piece.unwrap().len());
        }
        assert_eq!(lens, [PIECE_LEN, PIECE_LEN, PIECE_LEN, LEN - 3 * PIECE_LEN]);
        drop(sending);
        assert_eq!(budget.available_permits(), LEN * 2);
    }

    #[tokio::test]
    async fn who_reads_too_slowly_holds_nothing_any_more() {
        let budget = Arc::new(Semaphore::new(LEN * 2));
        let mut sending = sending(&budget, Duration::from_millis(20)).await;
        assert_eq!(next(&mut sending).await.unwrap().unwrap().len(), PIECE_LEN);
        // The next is not waited for by a body that nobody asks.
        let held = Held::take(&budget, LEN * 2).await.unwrap();
        assert_eq!(next(&mut sending).await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop((sending, held));
        assert_eq!(budget.available_permits(), LEN * 2);
    }
}
