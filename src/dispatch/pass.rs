//! One pass: what is due, for which there are permits, is leased and begun.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::attempt::{self, HOLD_BEYOND_TIMEOUT};
use super::lane::Limits;
use super::lanes::{Permit, Reserved};
use super::{Shared, backoff, fetch};
use crate::crash;
use crate::domain::delivery::Class;
use crate::domain::endpoint::{Endpoint, EndpointSettings};
use crate::domain::id::EndpointId;
use crate::domain::ownership::Shards;
use crate::domain::rate::Rate;
use crate::endpoints::Snapshot;
use crate::metrics::Operation;
use crate::store::{DUE_LEN_MAX, Due, LEASE_LAG_MAX, Leased, Result, Want};

/// How long a lane is left alone whose secret this gateway does not have. Not for long: it may be given the secret, or
/// the lane an owner who has it, and neither ends the rest.
const UNSIGNED_REST: Duration = Duration::from_secs(5);
/// How long a lane is left alone that has attempts under way and may begin no more, while more lanes are due than are told
/// of at once; it is asked again sooner when one becomes free.
const BUSY_REST: Duration = Duration::from_secs(1);
/// How long to wait when lanes were due and nothing could be taken from them.
const NOTHING_TAKEN: Duration = Duration::from_millis(50);
/// How often the endpoint set is read before leases taken against a newer one are given up.
const REFRESH_TRIES_MAX: u32 = 3;

/// What passes remember, and the attempts they began.
pub(super) struct Passes {
    shared: Arc<Shared>,
    attempts: JoinSet<()>,
    /// Lanes that gave all they were asked for, so that they may have more.
    full: Vec<EndpointId>,
    /// Lanes that were due while the last leases were taken.
    ahead: Option<Vec<EndpointId>>,
    /// Whether the last pass knew what was due.
    was_told: bool,
    /// Endpoints that were warned about: their secrets are missing, or the key that fetches.
    unsigned: HashSet<EndpointId>,
}

/// What is asked for, and the permits to do so.
#[derive(Default)]
struct Asked {
    wants: Vec<Want>,
    permits: HashMap<EndpointId, Vec<Permit>>,
}

impl Passes {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            attempts: JoinSet::new(),
            full: Vec::new(),
            ahead: None,
            was_told: false,
            unsigned: HashSet::new(),
        }
    }

    /// Begins what is due in these shards and may begin. Answers when something else falls due, if that is known;
    /// zero when there may be more at once.
    pub(super) async fn pass(&mut self, shards: Shards) -> Result<Option<Duration>> {
        while self.attempts.try_join_next().is_some() {}
        let ahead = self.ahead.take();
        if self.shared.lanes.is_full() {
            return Ok(None);
        }
        let mut busy = std::mem::take(&mut self.full);
        busy.extend(self.shared.lanes.take_waiting());
        let (is_busy, is_told) = (!busy.is_empty(), ahead.is_some());
        let is_new = !(is_told || is_busy && self.was_told);
        let due = if is_new { self.due(shards).await? } else { Due { lanes: ahead.unwrap_or_default(), next: None } };
        self.was_told = is_new || is_told;
        let is_crowded = due.lanes.len() >= DUE_LEN_MAX;
        let mut seen = HashSet::new();
        let lanes = due.lanes.into_iter().chain(busy).chain(self.shared.lanes.take_waiting());
        let lanes: Vec<_> = lanes.filter(|lane| shards.contains(lane) && seen.insert(lane.clone())).collect();
        let mut asked = self.ask(&lanes, is_crowded);
        if asked.wants.is_empty() {
            return Ok(if is_new { due.next } else { Some(Duration::ZERO) });
        }
        let taken = self.shared.clock.elapsed();
        let leased = self.lease(&asked.wants, shards, is_busy).await?;
        crash::point("leased");
        // Also when nothing was taken: a lane may rest only because its endpoint was read too long ago.
        let is_current = self.is_current(&leased).await;
        if leased.leases.is_empty() {
            let next = if is_new { due.next.unwrap_or(Duration::MAX) } else { Duration::ZERO };
            return Ok(Some(if asked.permits.is_empty() { next } else { next.min(NOTHING_TAKEN) }));
        }
        if is_current {
            self.begin(leased, taken, &mut asked.permits);
        }
        Ok(Some(Duration::ZERO))
    }

    async fn due(&self, shards: Shards) -> Result<Due> {
        let (store, metrics, clock) = (&self.shared.store, &self.shared.metrics, self.shared.clock.as_ref());
        metrics.store.noted(Operation::Due, clock, store.due(shards)).await
    }

    /// Takes leases, and may look at what is due meanwhile: others are not to wait for lanes that always have more.
    async fn lease(&mut self, wants: &[Want], shards: Shards, looks: bool) -> Result<Leased> {
        let (store, metrics, clock) = (&self.shared.store, &self.shared.metrics, self.shared.clock.as_ref());
        let lease = pin!(metrics.store.noted(Operation::Lease, clock, store.lease(wants)));
        let (leased, due) = if looks {
            match select(lease, pin!(self.due(shards))).await {
                // What is leased waits no longer for that.
                Either::Left((leased, due)) => (leased?, timeout(LEASE_LAG_MAX, due).await.ok()),
                Either::Right((due, lease)) => (lease.await?, Some(due)),
            }
        } else {
            (lease.await?, None)
        };
        // Where that failed, the next pass looks first.
        self.ahead = due.and_then(Result::ok).map(|due| due.lanes);
        let mut counts: HashMap<&EndpointId, usize> = HashMap::new();
        for lease in &leased.leases {
            *counts.entry(&lease.endpoint).or_default() += 1;
        }
        let gave_all = |want: &Want| counts.get(&want.endpoint).is_some_and(|count| *count >= want.limit);
        let is_full = |want: &&Want| want.rest.is_none() && gave_all(want);
        self.full = wants.iter().filter(is_full).map(|want| want.endpoint.clone()).collect();
        Ok(leased)
    }

    /// What to ask of each lane. The permits are shared out, so that slow endpoints cannot take them all at once. A lane
    /// that has no place free is passed over, and put to rest only where it may be in the way of others.
    fn ask(&mut self, lanes: &[EndpointId], is_crowded: bool) -> Asked {
        let snapshot = self.shared.endpoints.snapshot();
        let elapsed = self.shared.clock.elapsed();
        let mut asked = Asked::default();
        for (place, lane) in lanes.iter().enumerate() {
            if self.is_unsigned(&snapshot, lane) {
                let rest = Some(UNSIGNED_REST);
                asked.wants.push(Want { endpoint: lane.clone(), limit: 0, replays: 0, hold: Duration::ZERO, rest });
                continue;
            }
            // An endpoint that is unknown or disabled is asked for too: its deliveries are to be ended.
            let endpoint = snapshot.endpoint(lane);
            let settings = endpoint.map(|endpoint| &endpoint.settings);
            let limits = limits(endpoint);
            let hold = settings.map_or(Duration::ZERO, EndpointSettings::timeout) + HOLD_BEYOND_TIMEOUT;
            let share = self.shared.lanes.available().div_ceil(lanes.len() - place);
            let reserved = self.shared.lanes.reserve(lane, limits, share, elapsed);
            let Reserved { permits, replays, rest, is_busy } = reserved;
            // One that has nothing under way waits for its first place, and the longest due gets the next.
            let rest = rest.or((permits.is_empty() && is_busy && is_crowded).then_some(BUSY_REST));
            if permits.is_empty() && rest.is_none() {
                continue;
            }
            asked.wants.push(Want { endpoint: lane.clone(), limit: permits.len(), replays, hold, rest });
            if !permits.is_empty() {
                asked.permits.insert(lane.clone(), permits);
            }
        }
        asked
    }

    /// Whether an endpoint is to be served and this gateway cannot sign for it, or has no key to fetch with. Says so once.
    fn is_unsigned(&mut self, snapshot: &Snapshot, lane: &EndpointId) -> bool {
        let endpoint = snapshot.endpoint(lane).filter(|endpoint| endpoint.disabled.is_none());
        let now = self.shared.clock.now();
        let has_no_key = endpoint.is_some_and(|endpoint| fetch::has_no_key(&self.shared, &endpoint.settings));
        let is_unsigned = has_no_key || endpoint.is_some_and(|endpoint| !snapshot.can_sign(endpoint, now));
        if !is_unsigned {
            self.unsigned.remove(lane);
        } else if !self.unsigned.insert(lane.clone()) {
            // It was said.
        } else if has_no_key {
            tracing::warn!(
                endpoint.id = %lane,
                "this gateway has no `api_key` for the source whose mail is to be fetched, so that waits; give this \
                 gateway the same config file and secrets as the others"
            );
        } else if let Some(error) = snapshot.not_opened(lane, now) {
            tracing::warn!(
                endpoint.id = %lane,
                master_key.id = error.key(),
                %error,
                "a secret or header of the endpoint does not open, so its deliveries wait; give this gateway the master \
                 key that sealed it in store.master_keys; if that is lost, rotate the secret, and give the headers again"
            );
        } else {
            tracing::warn!(
                endpoint.id = %lane,
                "this gateway has no secret that signs for the endpoint, so its deliveries wait; give this gateway the \
                 same config file and secrets as the others, or disable the endpoint"
            );
        }
        is_unsigned
    }

    /// Whether the endpoints at hand are those that the leases were taken against, after reading them again if not.
    async fn is_current(&self, leased: &Leased) -> bool {
        for tries in 1..=REFRESH_TRIES_MAX {
            if self.shared.endpoints.snapshot().generation() == leased.generation {
                return true;
            }
            match self.shared.endpoints.refresh(self.shared.store.as_ref()).await {
                // It may have gone on meanwhile: what was read after the lease is new enough.
                Ok(()) => return true,
                Err(error) => {
                    tracing::warn!(%error, "the endpoints have changed and cannot be read");
                    sleep(backoff(tries)).await;
                }
            }
        }
        false
    }

    fn begin(&mut self, leased: Leased, taken: Duration, permits: &mut HashMap<EndpointId, Vec<Permit>>) {
        for lease in leased.leases {
            // More than was asked for falls due again.
            let Some(permit) = permits.get_mut(&lease.endpoint).and_then(Vec::pop) else { continue };
            let (shared, permit) = (Arc::clone(&self.shared), permit.used());
            let permit = if lease.class == Class::Low { permit.of_replay() } else { permit };
            self.attempts.spawn(async move { attempt::run(&shared, lease, taken, permit).await });
        }
    }
}

/// What bounds the attempts at an endpoint. What is ended without one is bound by no rate and no breaker.
fn limits(endpoint: Option<&Endpoint>) -> Limits {
    let served = endpoint.filter(|endpoint| endpoint.disabled.is_none());
    Limits {
        max_in_flight: endpoint
            .map_or(EndpointSettings::MAX_IN_FLIGHT_DEFAULT, |endpoint| endpoint.settings.max_in_flight),
        rate: served.and_then(|endpoint| endpoint.settings.rate_limit).map(Rate::per_s),
        forgives: served.map_or(Some(Timestamp::MAX), |endpoint| endpoint.enabled_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::endpoint::{Disabled, DisabledReason, Origin};
    use crate::outbound::request::tests::settings;

    #[test]
    fn only_what_is_served_is_held_back_and_for_no_failure_before_it_was_enabled() {
        let at = Timestamp::UNIX_EPOCH;
        let settings = EndpointSettings { rate_limit: Some(5), ..settings("https://hooks.example/in") };
        let (id, number, enabled_at) = ("wh_1".into(), 1, Some(at));
        let served =
            Endpoint { id, number, settings, origin: Origin::File, disabled: None, enabled_at, created_at: at };
        let held = |endpoint: Option<&Endpoint>| {
            let limits = limits(endpoint);
            (limits.rate.is_some(), limits.forgives)
        };
        assert_eq!(held(Some(&served)), (true, Some(at)));
        let disabled = Some(Disabled { reason: DisabledReason::Operator, at });
        assert_eq!(held(Some(&Endpoint { disabled, ..served })), (false, Some(Timestamp::MAX)));
        assert_eq!(held(None), (false, Some(Timestamp::MAX)));
    }
}
