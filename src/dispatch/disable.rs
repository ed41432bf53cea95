//! Disables an endpoint for what it answered, or did not.

use tokio::time::sleep;

use super::{Shared, backoff};
use crate::crash;
use crate::domain::audit::{GATEWAY, of_endpoint};
use crate::domain::endpoint::{Disabled, DisabledReason, Endpoint};
use crate::domain::id::EndpointId;
use crate::domain::operational::Occasion;
use crate::store::{LaneState, StoreError};

/// How often it is tried.
const TRIES_MAX: u32 = 5;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disabling {
    /// It is disabled, by whomever, or no longer exists.
    Done(Option<Disabled>),
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
    let current = match current {
        Some(current) if current.disabled.is_none() => current,
        other => return Ok(Some(Disabling::Done(other.and_then(|other| other.disabled)))),
    };
    if current.settings.url != endpoint.settings.url {
        return Ok(Some(Disabling::Moved));
    }
    let disabled = Some(Disabled { reason, at: shared.clock.now() });
    let change = Endpoint { disabled: disabled.clone(), ..current.clone() };
    let entries = of_endpoint(shared.clock.now(), GATEWAY, Some(&current), Some(&change));
    let changed = shared.store.replace_endpoints(stored.generation, &[change], &[], &entries).await?.is_some();
    if changed {
        tracing::warn!(endpoint.id = %endpoint.id, ?reason, "an endpoint is disabled");
        crash::point("endpoint.disabled");
    }
    Ok(changed.then_some(Disabling::Done(disabled)))
}

/// What the lane of an endpoint that is disabled remembers from now on, and what is told of it. Also for those who find it
/// so: whoever disabled it may have been killed before it told anybody.
pub(super) fn note_disabled(
    shared: &Shared,
    endpoint: &EndpointId,
    disabled: &Disabled,
) -> (Option<LaneState>, Option<Occasion>) {
    let occasion = Occasion::disabled(endpoint, disabled);
    let lane = occasion.as_ref().and_then(|_| shared.lanes.disabled(endpoint, disabled.at, shared.clock.now()));
    (lane, occasion)
}
