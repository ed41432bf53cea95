//! One attempt, from its lease to what is recorded of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;

use super::Shared;
use super::client::Posted;
use super::disable::{Disabling, disable, note_disabled};
use super::fetch::{Errand, NoErrand};
use super::gather::Settled;
use super::lanes::{Noted, Permit};
use crate::crash;
use crate::domain::delivery::{Attempt, EndReason, ErrorClass, Status, millis};
use crate::domain::endpoint::{DisabledReason, Endpoint};
use crate::domain::id::DeliveryId;
use crate::domain::link::Links;
use crate::domain::operational::{DeadLetter, Occasion};
use crate::domain::plan::StoredEvent;
use crate::domain::retry::{self, Next};
use crate::outbound::request::{self, RequestError};
use crate::store::{Finished, LaneState, Lease, Then};

/// How much longer than its deadline an attempt's lease is held: time to wait for a place, and to record what came of it.
pub(super) const HOLD_BEYOND_TIMEOUT: Duration = Duration::from_secs(15);
/// What must be left of a hold after the deadline for there to be an attempt at all.
const MARGIN: Duration = Duration::from_secs(5);
/// When a delivery is made again whose endpoint was gone from an address that is no longer its own.
const MOVED_RETRY: Duration = Duration::from_secs(5);

/// What an attempt is to do.
enum Wanted {
    /// Tell an endpoint.
    Posted(Result<Request<Bytes>, RequestError>),
    /// Fetch a mail's content; none where it cannot be read what to fetch.
    Content(Option<Errand>),
}

/// What came of an attempt that was made.
struct Made {
    attempt: Attempt,
    next: Next,
}

/// Makes the attempt of a lease taken at `taken` (on the clock that never steps), and hands it over to be recorded.
pub(super) async fn run(shared: &Shared, lease: Lease, taken: Duration, mut permit: Permit) {
    let until = taken.saturating_add(lease.hold);
    let Some((finished, occasions)) = settle(shared, lease, taken).await else { return };
    permit.answered();
    shared.gatherer.record(Settled { finished, occasions, until }, permit).await;
}

/// What is to be recorded, and told; none when the lease is to fall due again by itself.
async fn settle(shared: &Shared, mut lease: Lease, taken: Duration) -> Option<(Finished, Vec<Occasion>)> {
    // The endpoint as it is now, not as it was when the event came in.
    let snapshot = shared.endpoints.snapshot();
    let Some(endpoint) = snapshot.endpoint(&lease.endpoint) else {
        return Some(ended(lease, Status::Canceled, EndReason::Deleted, (None, None)));
    };
    if let Some(disabled) = &endpoint.disabled {
        let noted = note_disabled(shared, &endpoint.id, disabled);
        return Some(ended(lease, Status::Skipped, EndReason::Disabled, noted));
    }
    let Some(event) = lease.event.take() else {
        let told = exhausted(shared, &lease, None, EndReason::Expired);
        return Some(ended(lease, Status::Failed, EndReason::Expired, (None, told)));
    };
    let at = shared.clock.now();
    let event = linked(shared, event, at).await?;
    let secrets = snapshot.secrets(&endpoint.id, at);
    let wanted = if endpoint.settings.fetches {
        // Seldom, and large: on the heap, so that the others' tasks are small.
        match Box::pin(Errand::of(shared, &event)).await {
            Ok(errand) => Wanted::Content(Some(errand)),
            Err(NoErrand::Unreadable) => Wanted::Content(None),
            Err(NoErrand::NotNow) => return None,
            Err(NoErrand::Gone) => {
                let told = exhausted(shared, &lease, event.source.as_deref(), EndReason::Expired);
                return Some(ended(lease, Status::Failed, EndReason::Expired, (None, told)));
            }
        }
    } else {
        match request::build(&endpoint.settings, secrets, &event, lease.replay.as_ref(), lease.number, at) {
            Err(RequestError::Unsigned) => return None,
            built => Wanted::Posted(built),
        }
    };
    let spent = shared.clock.elapsed().saturating_sub(taken);
    if lease.hold.saturating_sub(spent) < endpoint.settings.timeout() + MARGIN {
        tracing::warn!(event.id = %lease.event_id, endpoint.id = %lease.endpoint, "too late to send; it is leased again");
        return None;
    }
    let made = make(shared, &lease, endpoint, wanted).await;
    let mut occasions = Vec::new();
    // When this process stood still in the middle of it, that says nothing about the endpoint.
    let is_late = shared.clock.elapsed().saturating_sub(taken) >= lease.hold;
    let lane = if is_late { None } else { note(shared, endpoint, &made, &mut occasions).await };
    let (then, lane) = match made.next {
        Next::Delivered => {
            if lease.replay.is_none() {
                let delay = shared.clock.now().duration_since(event.received_at);
                shared.metrics.deliveries.delivered(delay.try_into().unwrap_or_default());
            }
            (Then::End(Status::Delivered, None), lane)
        }
        Next::Retry { after } => (Then::Retry(after), lane),
        Next::Dead(reason) => {
            occasions.extend(exhausted(shared, &lease, event.source.as_deref(), reason));
            (Then::End(Status::Failed, Some(reason)), lane)
        }
        Next::Disable => match Box::pin(disable(shared, endpoint, DisabledReason::Gone)).await {
            Disabling::Done(disabled) => {
                let noted = disabled.map(|disabled| note_disabled(shared, &endpoint.id, &disabled));
                let (lane, told) = noted.unwrap_or_default();
                occasions.extend(told);
                (Then::End(Status::Skipped, Some(EndReason::Gone)), lane)
            }
            Disabling::Moved | Disabling::Failed => (Then::Retry(MOVED_RETRY), None),
        },
    };
    Some((Finished { lease, attempt: Some(made.attempt), then, lane }, occasions))
}

/// The event with links that are good from now on; none when the store does not tell what they are signed with.
async fn linked(shared: &Shared, event: Arc<StoredEvent>, now: Timestamp) -> Option<Arc<StoredEvent>> {
    if !Links::are_in(&event) {
        return Some(event);
    }
    let key = shared.store.link_key().await;
    let key =
        key.inspect_err(|error| tracing::warn!(event.id = %event.id, %error, "no key to sign links with")).ok()?;
    let links = Links { settings: &shared.links, key, now };
    // One that does not read is told as it is.
    Some(links.made_in(&event).map_or(event, Arc::new))
}

fn ended(
    lease: Lease,
    status: Status,
    reason: EndReason,
    (lane, told): (Option<LaneState>, Option<Occasion>),
) -> (Finished, Vec<Occasion>) {
    let then = Then::End(status, Some(reason));
    (Finished { lease, attempt: None, then, lane }, told.into_iter().collect())
}

fn exhausted(shared: &Shared, lease: &Lease, source: Option<&str>, reason: EndReason) -> Option<Occasion> {
    let Lease { event_id: event, endpoint, mail, .. } = lease;
    let id = DeliveryId::of(event, endpoint, lease.replay.as_ref());
    Occasion::exhausted(DeadLetter { id: &id, event, mail: *mail, source, endpoint, reason }, shared.clock.now())
}

/// What the lane remembers from now on, if that changes, and what is told of it.
async fn note(shared: &Shared, endpoint: &Endpoint, made: &Made, occasions: &mut Vec<Occasion>) -> Option<LaneState> {
    // What was under way when the endpoint was disabled says nothing new.
    let is_disabled = |now: &Endpoint| now.disabled.is_some();
    if made.next == Next::Disable || shared.endpoints.snapshot().endpoint(&endpoint.id).is_some_and(is_disabled) {
        return None;
    }
    let is_success = made.next == Next::Delivered;
    let noted = shared.lanes.note(&endpoint.id, is_success, shared.clock.elapsed(), shared.clock.now());
    let Noted { before, state } = noted?;
    if is_success {
        occasions.extend(Occasion::recovered(&endpoint.id, before, state.at));
        return Some(state);
    }
    occasions.extend(Occasion::failing(&endpoint.id, state.breaker, made.attempt.status, state.at));
    if !state.breaker.is_hopeless(state.at) {
        return Some(state);
    }
    let (lane, told) = Box::pin(give_up(shared, endpoint, state)).await;
    occasions.extend(told);
    Some(lane)
}

async fn make(shared: &Shared, lease: &Lease, endpoint: &Endpoint, wanted: Wanted) -> Made {
    let started_at = shared.clock.now();
    let started = shared.clock.elapsed();
    let timeout = endpoint.settings.timeout();
    let (sent, Posted { answer, split }) = match wanted {
        Wanted::Content(Some(errand)) => (String::new(), Box::pin(errand.run(shared, timeout)).await),
        Wanted::Content(None) => (String::new(), Posted::failed(ErrorClass::Protocol)),
        Wanted::Posted(Ok(request)) => {
            (request::told(&endpoint.settings, &request), shared.client.post(request, timeout).await)
        }
        Wanted::Posted(Err(error)) => {
            tracing::warn!(endpoint.id = %lease.endpoint, %error, "an endpoint's settings make no request");
            (String::new(), Posted::failed(ErrorClass::Protocol))
        }
    };
    crash::point("posted");
    let duration = shared.clock.elapsed().saturating_sub(started);
    shared.metrics.deliveries.attempted(answer.status, answer.error, duration);
    let delivery = DeliveryId::of(&lease.event_id, &lease.endpoint, lease.replay.as_ref());
    let outcome = answer.outcome(shared.clock.now());
    let next = match retry::next(&endpoint.settings.retry, &outcome, lease.number, &delivery) {
        // The mail is gone, not the provider's API.
        Next::Disable if endpoint.settings.fetches => Next::Dead(EndReason::Gone),
        next => next,
    };
    let attempt = Attempt {
        number: lease.number,
        started_at,
        duration_ms: millis(duration),
        split,
        sent,
        status: answer.status,
        error: answer.error,
        answer: answer.body,
        truncated: false,
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

/// Disables an endpoint that has failed for days. Answers what its lane remembers: no failure any more, so that it is given
/// as long again when it is enabled.
async fn give_up(shared: &Shared, endpoint: &Endpoint, state: LaneState) -> (LaneState, Option<Occasion>) {
    let disabled = match disable(shared, endpoint, DisabledReason::Failing).await {
        // The next attempt says the same.
        Disabling::Failed => return (state, None),
        Disabling::Done(disabled) => disabled,
        Disabling::Moved => None,
    };
    shared.lanes.forgive(&endpoint.id);
    let told = disabled.and_then(|disabled| Occasion::disabled(&endpoint.id, &disabled));
    (LaneState { breaker: state.breaker.forgiven(), ..state }, told)
}
