//! Gathers what finishes at the same time into one call of the store, and first tells what is to be told of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::backoff;
use super::counting::Counting;
use super::lanes::Permit;
use crate::announce::announce;
use crate::clock::Clock;
use crate::crash;
use crate::domain::operational::Occasion;
use crate::endpoints::EndpointCache;
use crate::metrics::{Metrics, Operation};
use crate::store::{Finished, LeaseLost, Store, StoreError, Then};

/// How many are recorded in one call.
const BATCH_LEN_MAX: usize = 256;
/// How often a batch is tried. With the waits between it this outlasts the hold of every delivery, and what is not
/// recorded by then falls due again.
const TRIES_MAX: u32 = 20;

/// What is to be recorded of a lease.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) finished: Finished,
    /// What is to be told first.
    pub(super) occasions: Vec<Occasion>,
    /// When the lease runs out, on the clock that never steps.
    pub(super) until: Duration,
}

impl Settled {
    /// What is to be recorded and told now. Once the lease has run out another gateway may be about to deliver it, so that
    /// it is not for this one to tell that nobody will: it is tried once more, by whoever holds it then.
    fn at(&self, elapsed: Duration) -> (Finished, Vec<Occasion>) {
        let (mut finished, mut occasions) = (self.finished.clone(), self.occasions.clone());
        if elapsed >= self.until && occasions.iter().any(Occasion::is_exhausted) {
            occasions.retain(|occasion| !occasion.is_exhausted());
            finished.then = Then::Retry(Duration::ZERO);
        }
        (finished, occasions)
    }
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
    pub(super) fn start(recorder: Recorder) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH_LEN_MAX);
        tokio::spawn(recorder.gather(receiver));
        Self { sender }
    }

    /// Hands it over. The permit is given back when it is recorded, or could not be.
    pub(super) async fn record(&self, settled: Settled, permit: Permit) {
        // The task outlives all who can ask it.
        let _ = self.sender.send((settled, permit)).await;
    }
}

/// What it needs for that.
pub(super) struct Recorder {
    pub(super) store: Arc<dyn Store>,
    pub(super) endpoints: Arc<EndpointCache>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counting: Counting,
    pub(super) metrics: Arc<Metrics>,
}

impl Recorder {
    async fn gather(self, mut receiver: mpsc::Receiver<Entry>) {
        let mut entries = Vec::with_capacity(BATCH_LEN_MAX);
        while receiver.recv_many(&mut entries, BATCH_LEN_MAX).await > 0 {
            let (batch, permits): (Vec<_>, Vec<_>) = entries.drain(..).unzip();
            match self.finish(&batch).await {
                Ok(()) => crash::point("finished"),
                // One that cannot be read must not take the others with it.
                Err(StoreError::Corrupt(_)) if batch.len() > 1 => {
                    for settled in batch.chunks(1) {
                        // It has been told.
                        let _ = self.finish(settled).await;
                    }
                }
                Err(_) => {}
            }
            drop(permits);
        }
    }

    async fn finish(&self, batch: &[Settled]) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
            match self.record(batch).await {
                Ok(lost) => {
                    self.metrics.deliveries.leases_lost(lost.len());
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

    /// What is to be told comes first: a crash between the two makes both again, and it is told once. If the lease is lost
    /// between the two, it may turn out otherwise after all.
    async fn record(&self, batch: &[Settled]) -> Result<Vec<LeaseLost>, StoreError> {
        let elapsed = self.clock.elapsed();
        let (finished, occasions): (Vec<_>, Vec<_>) = batch.iter().map(|settled| settled.at(elapsed)).unzip();
        let occasions = occasions.concat();
        if !occasions.is_empty() {
            match announce(self.store.as_ref(), &self.endpoints, &occasions).await {
                // It must not keep what was done from being recorded.
                Err(StoreError::Corrupt(error)) => tracing::error!(error, "operational events cannot be stored"),
                announced => announced?,
            }
            crash::point("announced");
        }
        let thens: Vec<Then> = finished.iter().map(|one| one.then).collect();
        let finish = self.store.finish(finished);
        let lost = self.metrics.store.noted(Operation::Finish, self.clock.as_ref(), finish).await?;
        let recorded = batch.iter().map(|settled| &settled.finished).zip(thens);
        self.counting.note(recorded, &lost, self.clock.now(), &self.metrics.deliveries);
        Ok(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::breaker::Breaker;
    use crate::domain::delivery::{Class, EndReason, Status};
    use crate::domain::id::{DeliveryId, EndpointId, EventId, MailKey};
    use crate::domain::operational::DeadLetter;
    use crate::store::Lease;
    use jiff::Timestamp;

    #[test]
    fn a_dead_letter_is_told_only_while_its_lease_lasts() {
        let (event_id, endpoint, mail) =
            (EventId::of("resend", "1"), EndpointId::from("wh_1"), MailKey::of("mail", "1"));
        let (id, at, reason) =
            (DeliveryId::of(&event_id, &endpoint, None), Timestamp::UNIX_EPOCH, EndReason::Exhausted);
        let letter = DeadLetter { id: &id, event: &event_id, mail, source: None, endpoint: &endpoint, reason };
        let dead = Occasion::exhausted(letter, at).unwrap();
        let failing = (0..10).fold(Breaker::default(), |breaker, _| breaker.after(false, at));
        let failing = Occasion::failing(&endpoint, failing, None, at).unwrap();
        let (class, hold, until) = (Class::Normal, Duration::from_secs(30), Duration::from_secs(130));
        let lease = Lease { event_id, endpoint, replay: None, class, mail, number: 1, token: 1, hold, event: None };
        let then = Then::End(Status::Failed, Some(reason));
        let finished = Finished { lease, attempt: None, then, lane: None };
        let settled = Settled { finished, occasions: vec![failing.clone(), dead.clone()], until };
        let now = |elapsed| {
            let (finished, occasions) = settled.at(elapsed);
            (finished.then, occasions)
        };
        assert_eq!(now(until - Duration::from_nanos(1)), (then, vec![failing.clone(), dead]));
        assert_eq!(now(until), (Then::Retry(Duration::ZERO), vec![failing]));
    }
}
