//! Counts what became of attempts and deliveries, and adds that to the store every second.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::domain::delivery::Status;
use crate::domain::delivery_counts::{ALL, Counted, Hour};
use crate::domain::id::EndpointId;
use crate::metrics::Deliveries;
use crate::store::{Finished, LeaseLost, Store, Then};

/// A gateway that is killed loses what it counted since.
const ADD_EVERY: Duration = Duration::from_secs(1);
/// So many endpoints and hours wait to be added; while the store is down, what comes beyond is not counted apart.
const WAITING_MAX: usize = 10_000;

/// What has been counted and not yet added. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Counting(Arc<Mutex<Counted>>);

impl Counting {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was recorded, but for what was lost.
    pub(super) fn note<'a>(
        &self,
        recorded: impl Iterator<Item = (&'a Finished, Then)>,
        lost: &[LeaseLost],
        now: Timestamp,
        deliveries: &Deliveries,
    ) {
        let lost: HashSet<_> = lost.iter().map(|one| (&one.event_id, &one.endpoint)).collect();
        let (hour, all) = (Hour::of(now), EndpointId::from(ALL));
        let mut counted = self.lock();
        for (one, then) in recorded {
            if lost.contains(&(&one.lease.event_id, &one.lease.endpoint)) {
                continue;
            }
            let end = match then {
                Then::End(status, _) => Some(status),
                Then::Retry(_) => None,
            };
            end.into_iter().for_each(|status| deliveries.ended(status));
            for endpoint in [&one.lease.endpoint, &all] {
                let key = (endpoint.clone(), hour);
                if counted.len() >= WAITING_MAX && !counted.contains_key(&key) {
                    continue;
                }
                let counts = counted.entry(key).or_default();
                if let Some(attempt) = &one.attempt {
                    counts.attempted(attempt, end == Some(Status::Delivered));
                }
                end.into_iter().for_each(|status| counts.ended(status));
            }
        }
    }

    /// Adds what was counted to the store, every second until it is told to stop.
    pub(super) async fn run(self, store: Arc<dyn Store>, mut stopped: watch::Receiver<bool>) {
        let mut is_failing = false;
        loop {
            let is_over = tokio::time::timeout(ADD_EVERY, stopped.wait_for(|stopped| *stopped)).await.is_ok();
            let added = self.add(store.as_ref()).await;
            if let (Err(error), false) = (&added, is_failing) {
                tracing::warn!(%error, "what became of deliveries is not counted in the store; it is tried again");
            }
            is_failing = added.is_err();
            if is_over {
                return;
            }
        }
    }

    /// Adds what was counted until now.
    pub(super) async fn add(&self, store: &dyn Store) -> crate::store::Result<()> {
        let counted = std::mem::take(&mut *self.lock());
        if counted.is_empty() {
            return Ok(());
        }
        let added = store.count_deliveries(&counted).await;
        if added.is_err() {
            let mut kept = self.lock();
            counted.into_iter().for_each(|(key, counts)| kept.entry(key).or_default().merge(counts));
        }
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::{Class, EndReason};
    use crate::domain::id::MailKey;
    use crate::metrics::{Metrics, Observed};
    use crate::store::Lease;

    #[test]
    fn what_was_recorded_is_counted_and_what_was_lost_is_not() {
        let finished = |event: &str, endpoint: &str| {
            let lease = Lease {
                event_id: event.into(),
                endpoint: endpoint.into(),
                replay: None,
                class: Class::Normal,
                mail: MailKey(1),
                number: 1,
                token: 1,
                hold: Duration::ZERO,
                event: None,
            };
            Finished { lease, attempt: None, then: Then::Retry(Duration::ZERO), lane: None }
        };
        let recorded = [finished("a", "wh_1"), finished("a", "wh_2"), finished("b", "wh_1"), finished("c", "wh_1")];
        let dead = Then::End(Status::Failed, Some(EndReason::Expired));
        let thens = [dead, dead, dead, Then::Retry(Duration::ZERO)];
        let lost = [LeaseLost { event_id: "b".into(), endpoint: "wh_1".into() }];
        let counting = Counting::default();
        let now = Timestamp::from_second(3_600).unwrap();
        let metrics = Metrics::default();
        counting.note(recorded.iter().zip(thens), &lost, now, &metrics.deliveries);
        let failed = |endpoint: &str| counting.lock()[&(endpoint.into(), Hour(1))].ended_as(Status::Failed);
        assert_eq!((failed("wh_1"), failed("wh_2"), failed(ALL)), (1, 1, 2));
        let told = metrics.text(&Observed::default());
        assert!(told.contains("waypost_deliveries_ended_total{status=\"failed\"} 2\n"), "{told}");
    }
}
