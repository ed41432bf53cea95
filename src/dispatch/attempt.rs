//! One attempt, from its lease to what is recorded of it.

use std::time::Duration;

use bytes::Bytes;
use http::Request;

use super::Shared;
use super::client::{Answer, Posted};
use super::disable::{Disabling, disable};
use super::lanes::Permit;
use crate::crash;
use crate::domain::breaker::Breaker;
use crate::domain::delivery::{Attempt, EndReason, ErrorClass, Split, Status, millis};
use crate::domain::endpoint::{DisabledReason, Endpoint};
use crate::domain::id::DeliveryId;
use crate::domain::retry::{self, Next};
use crate::outbound::request::{self, RequestError};
use crate::store::{Finished, LaneState, Lease, Then};

/// How much longer than its deadline an attempt's lease is held: time to wait for a place, and to record what came of it.
pub(super) const HOLD_BEYOND_TIMEOUT: Duration = Duration::from_secs(15);
/// What must be left of a hold after the deadline for there to be an attempt at all.
const MARGIN: Duration = Duration::from_secs(5);
/// When a delivery is made again whose endpoint was gone from an address that is no longer its own.
const MOVED_RETRY: Duration = Duration::from_secs(5);

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
    let secrets = snapshot.secrets(&endpoint.id, at);
    let request = match request::build(&endpoint.settings, secrets, &event, lease.replay.as_ref(), lease.number, at) {
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
    let lane = match lane {
        Some(state) if state.breaker.is_hopeless(state.at) => Some(give_up(shared, endpoint, state).await),
        lane => lane,
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
    let delivery = DeliveryId::of(&lease.event_id, &lease.endpoint, lease.replay.as_ref());
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
        Next::Disable => match disable(shared, endpoint, DisabledReason::Gone).await {
            Disabling::Done => Then::End(Status::Skipped, Some(EndReason::Gone)),
            Disabling::Moved | Disabling::Failed => Then::Retry(MOVED_RETRY),
        },
    }
}

/// Disables an endpoint that has failed for days. Answers what its lane remembers: nothing any more, so that it is given
/// as long again when it is enabled.
async fn give_up(shared: &Shared, endpoint: &Endpoint, state: LaneState) -> LaneState {
    match disable(shared, endpoint, DisabledReason::Failing).await {
        // The next attempt says the same.
        Disabling::Failed => state,
        Disabling::Done | Disabling::Moved => {
            shared.lanes.forgive(&endpoint.id);
            LaneState { breaker: Breaker::default(), ..state }
        }
    }
}
