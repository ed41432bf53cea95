//! Tells of a source that refuses one request after another: its keys may be wrong, or somebody else calls.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::inbound::STORE_WITHIN;
use super::problem::Problem;
use super::state::Gateway;
use crate::announce::announce;
use crate::domain::operational::Occasion;
use crate::domain::refusals::Refusals;

/// Refusals in a row by source, of this gateway.
#[derive(Debug, Default)]
pub(super) struct Rejecting(Mutex<BTreeMap<String, Refusals>>);

impl Rejecting {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Refusals>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes what became of a request at a source. Only what failed to prove itself counts, and only a success ends it.
pub(super) async fn note(gateway: &Gateway, source: &str, result: &Result<(), Problem>) {
    let reason = match result {
        Ok(()) => {
            if let Some(refusals) = gateway.rejecting.lock().get_mut(source) {
                refusals.end();
            }
            return;
        }
        Err(Problem::NotProven { error, .. }) => error.to_string(),
        Err(problem @ Problem::Forged) => problem.to_string(),
        Err(_) => return,
    };
    let now = gateway.clock.now();
    let since = gateway.rejecting.lock().entry(source.to_owned()).or_default().add(now, gateway.clock.elapsed());
    let Some(since) = since else { return };
    let occasion = [Occasion::rejecting(source, since, reason, now)];
    let announced = announce(gateway.store.as_ref(), &gateway.endpoints, &occasion);
    let error = match tokio::time::timeout(STORE_WITHIN, announced).await {
        Ok(Ok(())) => {
            if let Some(refusals) = gateway.rejecting.lock().get_mut(source) {
                refusals.told(since, gateway.clock.elapsed());
            }
            return;
        }
        Ok(Err(error)) => Problem::Store(error),
        Err(_) => Problem::StoreSlow,
    };
    tracing::warn!(source.name = source, %error, "that a source refuses requests is not told yet");
}
