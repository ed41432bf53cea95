//! Gathers what finishes at the same time into one call of the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::backoff;
use crate::store::{Finished, Store, StoreError};

/// How many are recorded in one call.
const BATCH_LEN_MAX: usize = 256;
/// How often a batch is tried. With the waits between it this outlasts every hold, and what is not recorded by then
/// falls due again.
const TRIES_MAX: u32 = 20;

type Entry = (Finished, oneshot::Sender<()>);

/// Records what finished. Clones share their calls.
#[derive(Clone, Debug)]
pub(super) struct Gatherer {
    sender: mpsc::Sender<Entry>,
}

impl Gatherer {
    /// Starts gathering; ends when the last clone is dropped and everything is recorded.
    pub(super) fn start(store: Arc<dyn Store>) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH_LEN_MAX);
        tokio::spawn(gather(store, receiver));
        Self { sender }
    }

    /// Returns when it is recorded; false when it could not be.
    pub(super) async fn record(&self, finished: Finished) -> bool {
        let (done, recorded) = oneshot::channel();
        self.sender.send((finished, done)).await.is_ok() && recorded.await.is_ok()
    }
}

async fn gather(store: Arc<dyn Store>, mut receiver: mpsc::Receiver<Entry>) {
    let mut entries = Vec::with_capacity(BATCH_LEN_MAX);
    while receiver.recv_many(&mut entries, BATCH_LEN_MAX).await > 0 {
        let (batch, waiting): (Vec<_>, Vec<_>) = entries.drain(..).unzip();
        match finish(store.as_ref(), batch.clone()).await {
            Ok(()) => waiting.into_iter().for_each(tell),
            // One that cannot be read must not take the others with it.
            Err(StoreError::Corrupt(_)) if batch.len() > 1 => {
                for (finished, done) in batch.into_iter().zip(waiting) {
                    if finish(store.as_ref(), vec![finished]).await.is_ok() {
                        tell(done);
                    }
                }
            }
            Err(_) => {}
        }
    }
}

/// Whoever waited may have been cut off at the end of a drain.
fn tell(done: oneshot::Sender<()>) {
    let _ = done.send(());
}

async fn finish(store: &dyn Store, batch: Vec<Finished>) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        match store.finish(batch.clone()).await {
            Ok(lost) => {
                for lease in lost {
                    tracing::info!(
                        event.id = %lease.event_id,
                        endpoint.id = %lease.endpoint,
                        "a lease was lost before its attempt was recorded"
                    );
                }
                return Ok(());
            }
            Err(StoreError::Unavailable(_)) if tries < TRIES_MAX => tries += 1,
            Err(error) => {
                tracing::error!(%error, attempts = batch.len(), "attempts could not be recorded; they are made again");
                return Err(error);
            }
        }
        sleep(backoff(tries).min(Duration::from_secs(5))).await;
    }
}
