//! Gathers what finishes at the same time into one call of the store, and first tells what is to be told of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::backoff;
use super::lanes::Permit;
use crate::announce::announce;
use crate::crash;
use crate::domain::operational::Occasion;
use crate::endpoints::EndpointCache;
use crate::store::{Finished, LeaseLost, Store, StoreError};

/// How many are recorded in one call.
const BATCH_LEN_MAX: usize = 256;
/// How often a batch is tried. With the waits between it this outlasts every hold, and what is not recorded by then
/// falls due again.
const TRIES_MAX: u32 = 20;

/// What is to be recorded of a lease.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) finished: Finished,
    /// What is to be told first.
    pub(super) occasions: Vec<Occasion>,
}

/// What is to be recorded, and the place that it keeps until it is.
type Entry = (Settled, Permit);

/// Records what finished. Clones share their calls.
#[derive(Clone, Debug)]
pub(super) struct Gatherer {
    sender: mpsc::Sender<Entry>,
}

impl Gatherer {
    /// Starts gathering; ends when the last clone is dropped and everything is recorded.
    pub(super) fn start(store: Arc<dyn Store>, endpoints: Arc<EndpointCache>) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH_LEN_MAX);
        tokio::spawn(gather(store, endpoints, receiver));
        Self { sender }
    }

    /// Hands it over. The permit is given back when it is recorded, or could not be.
    pub(super) async fn record(&self, settled: Settled, permit: Permit) {
        // The task outlives all who can ask it.
        let _ = self.sender.send((settled, permit)).await;
    }
}

async fn gather(store: Arc<dyn Store>, endpoints: Arc<EndpointCache>, mut receiver: mpsc::Receiver<Entry>) {
    let mut entries = Vec::with_capacity(BATCH_LEN_MAX);
    while receiver.recv_many(&mut entries, BATCH_LEN_MAX).await > 0 {
        let (batch, permits): (Vec<_>, Vec<_>) = entries.drain(..).unzip();
        match finish(store.as_ref(), &endpoints, &batch).await {
            Ok(()) => crash::point("finished"),
            // One that cannot be read must not take the others with it.
            Err(StoreError::Corrupt(_)) if batch.len() > 1 => {
                for settled in batch.chunks(1) {
                    // It has been told.
                    let _ = finish(store.as_ref(), &endpoints, settled).await;
                }
            }
            Err(_) => {}
        }
        drop(permits);
    }
}

async fn finish(store: &dyn Store, endpoints: &EndpointCache, batch: &[Settled]) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        match record(store, endpoints, batch).await {
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

/// What is to be told comes first: a crash between the two makes both again, and it is told once. If the lease was lost,
/// it may turn out otherwise after all.
async fn record(store: &dyn Store, endpoints: &EndpointCache, batch: &[Settled]) -> Result<Vec<LeaseLost>, StoreError> {
    let occasions: Vec<_> = batch.iter().flat_map(|settled| settled.occasions.iter().cloned()).collect();
    if !occasions.is_empty() {
        match announce(store, endpoints, &occasions).await {
            // It must not keep what was done from being recorded.
            Err(StoreError::Corrupt(error)) => tracing::error!(error, "operational events cannot be stored"),
            announced => announced?,
        }
        crash::point("announced");
    }
    store.finish(batch.iter().map(|settled| settled.finished.clone()).collect()).await
}
