//! Disables an endpoint for what it answered, or did not.

use tokio::time::sleep;

use super::{Shared, backoff};
use crate::domain::endpoint::{Disabled, DisabledReason, Endpoint};
use crate::store::StoreError;

/// How often it is tried.
const TRIES_MAX: u32 = 5;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disabling {
    /// It is disabled, or no longer exists.
    Done,
    /// The operator gave it another address meanwhile: what the old one did says nothing about it.
    Moved,
    /// It could not be stored.
    Failed,
}

/// Disables an endpoint, as it was when the attempt was made. The endpoints at hand are read again.
pub(super) async fn disable(shared: &Shared, endpoint: &Endpoint, reason: DisabledReason) -> Disabling {
    let mut disabling = Disabling::Failed;
    for tries in 1..=TRIES_MAX {
        match once(shared, endpoint, reason).await {
            Ok(Some(done)) => {
                disabling = done;
                break;
            }
            // Somebody else changed the endpoints at the same time.
            Ok(None) => sleep(backoff(tries)).await,
            Err(error) => {
                tracing::warn!(endpoint.id = %endpoint.id, %error, ?reason, "an endpoint is not disabled yet");
                sleep(backoff(tries)).await;
            }
        }
    }
    if let Err(error) = shared.endpoints.refresh(shared.store.as_ref()).await {
        tracing::warn!(%error, "the endpoints could not be read again");
    }
    disabling
}

async fn once(shared: &Shared, endpoint: &Endpoint, reason: DisabledReason) -> Result<Option<Disabling>, StoreError> {
    let stored = shared.store.endpoints().await?;
    let current = stored.all.into_iter().find(|other| other.id == endpoint.id);
    let Some(current) = current.filter(|current| current.disabled.is_none()) else {
        return Ok(Some(Disabling::Done));
    };
    if current.settings.url != endpoint.settings.url {
        return Ok(Some(Disabling::Moved));
    }
    let disabled = Some(Disabled { reason, at: shared.clock.now() });
    let change = Endpoint { disabled, ..current };
    let changed = shared.store.change_endpoints(stored.generation, &[change]).await?.is_some();
    if changed {
        tracing::warn!(endpoint.id = %endpoint.id, ?reason, "an endpoint is disabled");
    }
    Ok(changed.then_some(Disabling::Done))
}
