//! The loop around the passes: it heartbeats, wakes, backs off, and never gives up.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Dispatcher, backoff, jobs};
use crate::domain::breaker::Breaker;
use crate::domain::id::EndpointId;
use crate::domain::ownership::{Shards, owned};
use crate::metrics::{Lanes, Operation};
use crate::store::Result;

/// How often this gateway says that it is alive.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);
/// For how long each time.
const HEARTBEAT_TTL: Duration = Duration::from_secs(10);
/// How often leaving is tried.
const LEAVE_TRIES_MAX: u32 = 3;

/// How long a turn may go on after a stop.
const TURN_AT_STOP_MAX: Duration = Duration::from_secs(3);

/// What this gateway owns, as it last heard.
#[derive(Default)]
struct Ownership {
    shards: Shards,
    /// When it last said that it is alive, on the clock that never steps.
    at: Option<Duration>,
}

impl Dispatcher {
    /// Serves until `stop` holds true or its sender is gone; then takes no more work, lets others take the lanes, and
    /// waits a while for the attempts under way. What is not finished by then falls due again.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let store = Arc::clone(&self.shared.store);
        let mut work = store.work();
        let mut ownership = Ownership::default();
        let (owned, jobs) = watch::channel(Shards::default());
        self.let_watch(owned.subscribe());
        let (drained, counted) = watch::channel(false);
        let counting = tokio::spawn(self.shared.counting.clone().run(Arc::clone(&store), counted));
        let jobs = tokio::spawn(jobs::run(Arc::clone(&self.shared), jobs, stop.clone()));
        let mut failures = 0;
        while !*stop.borrow() {
            let turned = self.turn(&mut ownership, &mut stop).await;
            owned.send_replace(ownership.shards);
            let (wait, wakes) = match turned {
                Ok(wait) => {
                    failures = 0;
                    (wait, true)
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "the dispatcher waits for the store");
                    (backoff(failures), false)
                }
            };
            tokio::select! {
                () = stopped(&mut stop) => break,
                () = sleep(wait) => {}
                () = self.shared.lanes.freed(), if wakes => {}
                () = &mut work, if wakes => work = store.work(),
            }
        }
        // It has been told to stop, too.
        let _ = jobs.await;
        self.drain().await;
        let _ = drained.send(true);
        let _ = counting.await;
    }

    /// Lets the metrics look at the lanes of these shards.
    fn let_watch(&self, owned: watch::Receiver<Shards>) {
        // Whoever counts outlives what it counts, and must not keep it.
        let shared = Arc::downgrade(&self.shared);
        self.shared.metrics.deliveries.watch_lanes(move || {
            let Some(shared) = shared.upgrade() else { return Lanes::default() };
            let (shards, snapshot) = (*owned.borrow(), shared.endpoints.snapshot());
            let is_served = |endpoint: &EndpointId, breaker: Breaker| {
                let served = snapshot.endpoint(endpoint).filter(|endpoint| endpoint.disabled.is_none());
                // What failed before it was enabled is forgiven when it is next asked for.
                let is_forgiven = |at: Timestamp| breaker.since.is_some_and(|since| since < at);
                shards.contains(endpoint) && served.is_some_and(|one| !one.enabled_at.is_some_and(is_forgiven))
            };
            Lanes { in_flight: shared.lanes.under_way(), breakers_open: shared.lanes.open(is_served) }
        });
    }

    /// [`Dispatcher::take_turn`]. A stop in the middle of it waits a moment for what is being leased: cut off, that would
    /// stay leased until its hold has passed.
    async fn turn(&mut self, ownership: &mut Ownership, stop: &mut watch::Receiver<bool>) -> Result<Duration> {
        let mut turn = pin!(self.take_turn(ownership));
        tokio::select! {
            turned = &mut turn => return turned,
            () = stopped(stop) => {}
        }
        timeout(TURN_AT_STOP_MAX, turn).await.unwrap_or(Ok(Duration::ZERO))
    }

    /// One turn. Answers how long to sleep if nothing happens.
    async fn take_turn(&mut self, ownership: &mut Ownership) -> Result<Duration> {
        let asked = self.shared.clock.elapsed();
        let since = |at: Duration| asked.saturating_sub(at);
        // When others have not heard of it for so long, they serve its lanes: what it remembers of them is old.
        if ownership.at.is_some_and(|at| since(at) >= HEARTBEAT_TTL) {
            *ownership = Ownership::default();
        }
        if ownership.at.is_none_or(|at| since(at) >= HEARTBEAT_EVERY) {
            self.heartbeat(ownership, asked).await?;
        }
        let next = self.passes.pass(ownership.shards).await?;
        let since = self.shared.clock.elapsed().saturating_sub(ownership.at.unwrap_or(asked));
        let heartbeat = HEARTBEAT_EVERY.saturating_sub(since);
        Ok(next.map_or(heartbeat, |next| next.min(heartbeat)))
    }

    async fn heartbeat(&self, ownership: &mut Ownership, asked: Duration) -> Result<()> {
        let store = &self.shared.store;
        let heartbeat = store.heartbeat(&self.gateway, HEARTBEAT_TTL);
        let clock = self.shared.clock.as_ref();
        let live = self.shared.metrics.store.noted(Operation::Heartbeat, clock, heartbeat).await?;
        match self.shared.endpoints.catch_up(store.as_ref()).await {
            Ok(false) => {}
            Ok(true) => tracing::info!("the endpoints of the config file have reached the store"),
            // The lanes that are there are served meanwhile.
            Err(error) => tracing::warn!(%error, "the endpoints of the config file are not in the store yet"),
        }
        let shards = owned(&self.gateway, &live);
        if shards != ownership.shards {
            self.shared.endpoints.refresh(store.as_ref()).await?;
            let snapshot = self.shared.endpoints.snapshot();
            let ids = snapshot.all().iter().map(|endpoint| &endpoint.id);
            let is_gained = |id: &&EndpointId| shards.contains(id) && !ownership.shards.contains(id);
            let gained: HashSet<EndpointId> = ids.filter(is_gained).cloned().collect();
            let asked: Vec<_> = gained.iter().cloned().collect();
            let states = store.lane_states(&asked).await?;
            self.shared.lanes.take_over(&gained, &states, self.shared.clock.elapsed());
            tracing::info!(gateways = live.len(), lanes.gained = gained.len(), "the lanes were shared out again");
        }
        *ownership = Ownership { shards, at: Some(asked) };
        Ok(())
    }

    async fn drain(self) {
        for tries in 1..=LEAVE_TRIES_MAX {
            match self.shared.store.leave(&self.gateway).await {
                Ok(()) => break,
                Err(error) => tracing::warn!(%error, "the other gateways do not know yet that this one stops"),
            }
            sleep(backoff(tries)).await;
        }
        if timeout(self.drain, self.shared.lanes.idle()).await.is_err() {
            let attempts = self.shared.lanes.under_way();
            tracing::warn!(attempts, "stopped with attempts under way; they are made again");
        }
    }
}

/// Resolves when it is time to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone cannot say so any more.
    let _ = stop.wait_for(|stop| *stop).await;
}
