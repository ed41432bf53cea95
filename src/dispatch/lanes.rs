//! What this process knows of each lane: how many attempts are under way, and its breaker.
//!
//! A lane has one owner at a time, so this is plain state of one process, and still exact.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::lane::{Lane, Limits, Waiting};
use crate::domain::breaker::Breaker;
use crate::domain::id::EndpointId;
use crate::store::LaneState;

/// How long a lane is left alone at once whose breaker is open: the breaker may close meanwhile, by an attempt that was
/// under way when it opened, or the lane may change its owner.
const REST_MAX: Duration = Duration::from_secs(30);

/// A lane gets no more permits while it has one for so many that are free.
const FREE_PART: usize = 4;

/// All lanes of this process.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Mutex<HashMap<EndpointId, Lane>>,
    global: Arc<Semaphore>,
    max_in_flight: u32,
    /// When lanes last came from another owner, or from before this process: what those let through is not known.
    owned_since: Mutex<Duration>,
    /// Whether a lane was turned away because too few places are free among all.
    is_short: AtomicBool,
    freed: Notify,
}

/// The right to have one attempt under way: a place in its lane until the endpoint has answered, and one among all until
/// that is recorded. Gives itself back.
#[derive(Debug)]
pub(super) struct Permit {
    lanes: Arc<Lanes>,
    endpoint: EndpointId,
    global: Option<OwnedSemaphorePermit>,
    is_used: bool,
    is_replay: bool,
    is_answered: bool,
}

/// What an attempt changed in a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted {
    pub(super) before: Breaker,
    pub(super) state: LaneState,
}

/// What a lane may do now.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    /// As many leases may be asked for.
    pub(super) permits: Vec<Permit>,
    /// At most so many of them for replays.
    pub(super) replays: usize,
    /// The lane is to be left alone for so long.
    pub(super) rest: Option<Duration>,
    /// It has attempts under way.
    pub(super) is_busy: bool,
}

impl Lanes {
    pub(super) fn new(max_in_flight: usize) -> Arc<Self> {
        let max_in_flight = u32::try_from(max_in_flight).unwrap_or(u32::MAX);
        let global = Arc::new(Semaphore::new(max_in_flight as usize));
        Arc::new(Self {
            lanes: Mutex::default(),
            global,
            max_in_flight,
            owned_since: Mutex::default(),
            is_short: AtomicBool::new(false),
            freed: Notify::new(),
        })
    }

    /// How many more attempts may begin, over all lanes.
    pub(super) fn available(&self) -> usize {
        self.global.available_permits()
    }

    /// Whether no more attempts may begin; if so, [`Lanes::freed`] tells of the next place.
    pub(super) fn is_full(&self) -> bool {
        self.available() == 0 && {
            self.is_short.store(true, Ordering::SeqCst);
            // One may have been given back before that.
            self.available() == 0
        }
    }

    /// Resolves when every permit has been given back.
    pub(super) async fn idle(&self) {
        let _ = self.global.acquire_many(self.max_in_flight).await;
    }

    /// How many permits are not given back.
    pub(super) fn under_way(&self) -> usize {
        (self.max_in_flight as usize).saturating_sub(self.available())
    }

    /// How many lanes are only probed, of those for which this holds.
    pub(super) fn open(&self, is_counted: impl Fn(&EndpointId, Breaker) -> bool) -> usize {
        let lanes = self.lock();
        let open = lanes.iter().filter(|(_, lane)| lane.breaker.rest().is_some());
        open.filter(|(endpoint, lane)| is_counted(endpoint, lane.breaker)).count()
    }

    /// Resolves after a permit was given back that somebody waits for.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Takes permits for one lane: at most `share`, no more than its rate lets through, and not more than a part of those
    /// that are free, so that however many endpoints hang, some are left for the others.
    pub(super) fn reserve(
        self: &Arc<Self>,
        endpoint: &EndpointId,
        limits: Limits,
        share: usize,
        elapsed: Duration,
    ) -> Reserved {
        let owned_since = *self.owned_since.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lanes = self.lock();
        let lane = lanes.entry(endpoint.clone()).or_default();
        lane.forgive(limits.forgives);
        if let Some(rest) = lane.resting(elapsed) {
            return Reserved { rest: Some(rest.min(REST_MAX)), ..Reserved::default() };
        }
        let share = share.min(lane.let_through(limits.rate, owned_since, elapsed));
        if share == 0 {
            return Reserved { rest: lane.throttled(elapsed), ..Reserved::default() };
        }
        let cap = lane.breaker.cap(limits.max_in_flight);
        let mut permits = Vec::new();
        while permits.len() < share && lane.in_flight < cap && self.has_room(lane) {
            let Ok(global) = Arc::clone(&self.global).try_acquire_owned() else { break };
            lane.in_flight += 1;
            permits.push(Permit {
                lanes: Arc::clone(self),
                endpoint: endpoint.clone(),
                global: Some(global),
                is_used: false,
                is_replay: false,
                is_answered: false,
            });
        }
        if permits.is_empty() {
            lane.waiting = Some(if lane.in_flight < cap { Waiting::Any } else { Waiting::Own });
            self.is_short.fetch_or(lane.in_flight < cap, Ordering::SeqCst);
            if lane.in_flight < cap && self.has_room(lane) {
                // A place was given back before anybody was asked to tell of it.
                self.freed.notify_one();
            }
        }
        lane.take(permits.len(), elapsed);
        let replays = lane.replays_free(cap) as usize;
        lane.is_replay_waiting |= replays == 0;
        Reserved { permits, replays, rest: lane.throttled(elapsed), is_busy: lane.in_flight > 0 }
    }

    fn has_room(&self, lane: &Lane) -> bool {
        let available = self.available();
        let in_flight = usize::try_from(lane.in_flight).unwrap_or(usize::MAX);
        in_flight < (available / FREE_PART).max(available.min(1))
    }

    /// Lanes that had something due and no permit, and may have one now.
    pub(super) fn take_waiting(&self) -> Vec<EndpointId> {
        let mut lanes = self.lock();
        let mut waiting = Vec::new();
        for (endpoint, lane) in lanes.iter_mut() {
            if lane.waiting == Some(Waiting::Freed) || (lane.waiting == Some(Waiting::Any) && self.has_room(lane)) {
                lane.waiting = None;
                waiting.push(endpoint.clone());
            }
        }
        waiting
    }

    /// Notes how an attempt ended. Answers what the lane remembered, and what it does from now on, if that changes.
    pub(super) fn note(&self, endpoint: &EndpointId, success: bool, elapsed: Duration, at: Timestamp) -> Option<Noted> {
        let mut lanes = self.lock();
        let lane = lanes.entry(endpoint.clone()).or_default();
        if !success && lane.resting(elapsed).is_some() {
            // It was under way when the breaker opened, so it says nothing new.
            return None;
        }
        let after = lane.breaker.after(success, at);
        if after == lane.breaker {
            return None;
        }
        let before = std::mem::replace(&mut lane.breaker, after);
        lane.rest_until = after.rest().map(|rest| elapsed + rest);
        Some(Noted { before, state: LaneState { breaker: after, at } })
    }

    /// Notes that an endpoint has been disabled since then. Answers what the lane remembers from now on, if that changes.
    pub(super) fn disabled(&self, endpoint: &EndpointId, since: Timestamp, at: Timestamp) -> Option<LaneState> {
        let mut lanes = self.lock();
        let lane = lanes.entry(endpoint.clone()).or_default();
        let breaker = lane.breaker.disabled(since);
        lane.rest_until = None;
        (std::mem::replace(&mut lane.breaker, breaker) != breaker).then_some(LaneState { breaker, at })
    }

    /// Forgets that an endpoint failed.
    pub(super) fn forgive(&self, endpoint: &EndpointId) {
        if let Some(lane) = self.lock().get_mut(endpoint) {
            lane.forgive(Some(Timestamp::MAX));
        }
    }

    /// Takes over lanes from another owner, with what it remembered of the unhealthy ones.
    pub(super) fn take_over(
        &self,
        gained: &HashSet<EndpointId>,
        states: &[(EndpointId, LaneState)],
        elapsed: Duration,
    ) {
        *self.owned_since.lock().unwrap_or_else(PoisonError::into_inner) = elapsed;
        let mut lanes = self.lock();
        for endpoint in gained {
            if let Some(lane) = lanes.get_mut(endpoint) {
                lane.taken_over();
            }
        }
        for (endpoint, state) in states {
            lanes.entry(endpoint.clone()).or_default().breaker = state.breaker;
        }
    }

    /// Takes a place in the lane back; whether the lane waits for one.
    fn release(&self, endpoint: &EndpointId, is_used: bool, is_replay: bool) -> bool {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(endpoint) else { return false };
        lane.in_flight = lane.in_flight.saturating_sub(1);
        lane.replays = lane.replays.saturating_sub(u32::from(is_replay));
        let has_room = is_replay && std::mem::take(&mut lane.is_replay_waiting);
        if !is_used {
            lane.give_back();
        }
        lane.waiting = lane.waiting.map(|_| Waiting::Freed);
        let is_waiting = lane.waiting.is_some() || has_room;
        if lane.is_idle() {
            lanes.remove(endpoint);
        }
        is_waiting
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// An attempt begins with it: the loop is to wake when it is given back. Unused, it goes back in silence, or a lane
    /// that is due and yields nothing would be asked again without a pause.
    pub(super) fn used(mut self) -> Self {
        self.is_used = true;
        self
    }

    /// The attempt is of a replay.
    pub(super) fn of_replay(mut self) -> Self {
        self.lanes.lock().entry(self.endpoint.clone()).or_default().replays += 1;
        self.is_replay = true;
        self
    }

    /// The endpoint has answered: its lane need not wait for the store to record that.
    pub(super) fn answered(&mut self) {
        if !std::mem::replace(&mut self.is_answered, true)
            && self.lanes.release(&self.endpoint, self.is_used, self.is_replay)
            && self.is_used
        {
            self.lanes.freed.notify_one();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Given back before anybody is told.
        drop(self.global.take());
        self.answered();
        if self.is_used && self.lanes.is_short.swap(false, Ordering::SeqCst) {
            self.lanes.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
