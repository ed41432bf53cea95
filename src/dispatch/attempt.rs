//! One attempt, from its lease to what is recorded of it.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::time::sleep;

use super::client::{Answer, Posted};
use super::lanes::Permit;
use super::{Shared, backoff};
use crate::crash;
use crate::domain::delivery::{Attempt, EndReason, ErrorClass, Split, Status, millis};
use crate::domain::endpoint::{Disabled, DisabledReason, Endpoint};
use crate::domain::id::DeliveryId;
use crate::domain::retry::{self, Next};
use crate::outbound::request::{self, RequestError};
use crate::store::{Finished, Lease, StoreError, Then};

/// How much longer than its deadline an attempt's lease is held: time to wait for a place, and to record what came of it.
pub(super) const HOLD_BEYOND_TIMEOUT: Duration = Duration::from_secs(15);
/// What must be left of a hold after the deadline for there to be an attempt at all.
const MARGIN: Duration = Duration::from_secs(5);
/// How often disabling an endpoint is tried.
const DISABLE_TRIES_MAX: u32 = 5;

/// When a delivery is made again whose endpoint was gone from an address that is no longer its own.
const MOVED_RETRY: Duration = Duration::from_secs(5);

/// What came of disabling an endpoint.
enum Disabling {
    /// It is disabled, or no longer exists.
    Done,
    /// The operator gave it another address meanwhile: that the old one is gone says nothing about it.
    Moved,
    /// Somebody else changed the endpoints at the same time.
    Raced,
}

/// What came of an attempt that was made.
struct Made {
    attempt: Attempt,
    next: Next,
}

/// Makes the attempt of a lease taken at `taken` (on the clock that never steps), and hands it over to be recorded.
pub(super) async fn run(shared: &Shared, lease: Lease, taken: Duration, mut permit: Permit) {
    let Some(finished) = settle(shared, lease, taken).await else { return };
    permit.answered();
    shared.gatherer.record(finished, permit).await;
}

/// What is to be recorded; none when the lease is to fall due again by itself.
async fn settle(shared: &Shared, mut lease: Lease, taken: Duration) -> Option<Finished> {
    // The endpoint as it is now, not as it was when the event came in.
    let snapshot = shared.endpoints.snapshot();
    let Some(endpoint) = snapshot.endpoint(&lease.endpoint) else {
        return Some(ended(lease, Status::Canceled, EndReason::Deleted));
    };
    if endpoint.disabled.is_some() {
        return Some(ended(lease, Status::Skipped, EndReason::Disabled));
    }
    let Some(event) = lease.event.take() else {
        return Some(ended(lease, Status::Failed, EndReason::Expired));
    };
    let at = shared.clock.now();
    let secrets = snapshot.secrets(&endpoint.id);
    let request = match request::build(&endpoint.settings, secrets, &event, lease.number, at) {
        Err(RequestError::Unsigned) => return None,
        built => built,
    };
    let spent = shared.clock.elapsed().saturating_sub(taken);
    if lease.hold.saturating_sub(spent) < endpoint.settings.timeout() + MARGIN {
        tracing::warn!(event.id = %lease.event_id, endpoint.id = %lease.endpoint, "too late to send; it is leased again");
        return None;
    }
    let made = make(shared, &lease, endpoint, request).await;
    let elapsed = shared.clock.elapsed();
    let lane = match made.next {
        Next::Disable => None,
        // This process stood still in the middle of it, which says nothing about the endpoint.
        _ if elapsed.saturating_sub(taken) >= lease.hold => None,
        next => shared.lanes.note(&lease.endpoint, next == Next::Delivered, elapsed, shared.clock.now()),
    };
    let then = then(shared, endpoint, made.next).await;
    Some(Finished { lease, attempt: Some(made.attempt), then, lane })
}

fn ended(lease: Lease, status: Status, reason: EndReason) -> Finished {
    Finished { lease, attempt: None, then: Then::End(status, Some(reason)), lane: None }
}

async fn make(
    shared: &Shared,
    lease: &Lease,
    endpoint: &Endpoint,
    request: Result<Request<Bytes>, RequestError>,
) -> Made {
    let started_at = shared.clock.now();
    let started = shared.clock.elapsed();
    let sent = request.as_ref().map_or_else(|_| String::new(), |request| request::told(&endpoint.settings, request));
    let Posted { answer, split } = match request {
        Ok(request) => shared.client.post(request, endpoint.settings.timeout()).await,
        Err(error) => {
            tracing::warn!(endpoint.id = %lease.endpoint, %error, "an endpoint's settings make no request");
            Posted { answer: Answer::failed(ErrorClass::Protocol), split: Split::default() }
        }
    };
    crash::point("posted");
    let duration = shared.clock.elapsed().saturating_sub(started);
    let delivery = DeliveryId::of(&lease.event_id, &lease.endpoint);
    let outcome = answer.outcome(shared.clock.now());
    let next = retry::next(&endpoint.settings.retry, &outcome, lease.number, &delivery);
    let attempt = Attempt {
        number: lease.number,
        started_at,
        duration_ms: millis(duration),
        split,
        sent,
        status: answer.status,
        error: answer.error,
        answer: answer.body,
    };
    tracing::info!(
        delivery.id = %delivery,
        endpoint.id = %lease.endpoint,
        event.id = %lease.event_id,
        attempt = attempt.number,
        http.status = attempt.status,
        error = attempt.error.map(tracing::field::debug),
        duration_ms = attempt.duration_ms,
        "attempt ended"
    );
    Made { attempt, next }
}

async fn then(shared: &Shared, endpoint: &Endpoint, next: Next) -> Then {
    match next {
        Next::Delivered => Then::End(Status::Delivered, None),
        Next::Retry { after } => Then::Retry(after),
        Next::Dead(reason) => Then::End(Status::Failed, Some(reason)),
        Next::Disable => {
            if disable(shared, endpoint).await {
                Then::End(Status::Skipped, Some(EndReason::Gone))
            } else {
                Then::Retry(MOVED_RETRY)
            }
        }
    }
}

/// Disables an endpoint that says it is gone; false when it has another address by now. When that cannot be stored,
/// the next delivery will be told the same.
async fn disable(shared: &Shared, endpoint: &Endpoint) -> bool {
    let mut is_gone = true;
    for tries in 1..=DISABLE_TRIES_MAX {
        match try_disable(shared, endpoint).await {
            Ok(Disabling::Done) => break,
            Ok(Disabling::Moved) => {
                is_gone = false;
                break;
            }
            Ok(Disabling::Raced) => {}
            Err(error) => {
                tracing::warn!(endpoint.id = %endpoint.id, %error, "an endpoint that is gone is not disabled yet");
                sleep(backoff(tries)).await;
            }
        }
    }
    if let Err(error) = shared.endpoints.refresh(shared.store.as_ref()).await {
        tracing::warn!(%error, "the endpoints could not be read again");
    }
    is_gone
}

async fn try_disable(shared: &Shared, endpoint: &Endpoint) -> Result<Disabling, StoreError> {
    let stored = shared.store.endpoints().await?;
    let current = stored.all.into_iter().find(|other| other.id == endpoint.id);
    let Some(current) = current.filter(|current| current.disabled.is_none()) else {
        return Ok(Disabling::Done);
    };
    if current.settings.url != endpoint.settings.url {
        return Ok(Disabling::Moved);
    }
    let disabled = Some(Disabled { reason: DisabledReason::Gone, at: shared.clock.now() });
    let change = Endpoint { disabled, ..current };
    let changed = shared.store.change_endpoints(stored.generation, &[change]).await?.is_some();
    if changed {
        tracing::warn!(endpoint.id = %endpoint.id, "disabled: the endpoint answered 410 Gone");
    }
    Ok(if changed { Disabling::Done } else { Disabling::Raced })
}
