//! Whatever becomes of a store while events come in: each is answered in time, what was accepted and is still there is
//! delivered, and what comes next as well, without a restart of the gateway.

use std::time::Duration;

use waypost::clock::{Clock, SystemClock};

use crate::gateway::{Gateway, Poster, Seen, receiver, until};
use crate::hooks;
use crate::redis_harness::Server;
use crate::redis_load::{Load, Times, Told};

mod away;
mod crowd;
mod durability;
mod emptied;
mod full;
mod second;

/// A second, and what a machine adds whose few cores other tests keep busy.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1_500);
/// How soon a gateway takes something in again.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// How long the next event takes at most: after a fault a gateway looks for work every 5 s or sooner, and what one that was
/// killed served is served by others, or by itself, 10 s later.
const SOON: Duration = Duration::from_secs(20);
/// Between two requests of a poster: the faults are looked at, not the load.
const PAUSE: Duration = Duration::from_millis(15);
/// So many are accepted before a fault, and after it.
const SOME: usize = 40;

/// A gateway on a server, and who posts to it.
struct Scene {
    server: Server,
    gateway: Gateway,
    seen: Seen,
    load: Load,
    /// The gateway was down for a while, and answered nothing.
    was_down: bool,
}

impl Scene {
    async fn on(server: Server) -> Self {
        Self::with(server, None).await
    }

    /// The same with this variable in the gateway's environment.
    async fn with(server: Server, variable: Option<(&str, &str)>) -> Self {
        let (target, seen) = receiver();
        let mut gateway = Gateway::new(&server.url(), target);
        gateway.start(variable);
        gateway.until_alive().await;
        let load = Load::start_at(&[&gateway], PAUSE);
        load.until_more(SOME).await;
        Self { server, gateway, seen, load, was_down: false }
    }

    /// Waits until so many more are refused.
    async fn until_refused(&self, count: u32) {
        let count = self.load.refused() + count;
        hooks::until(SOON, "it refuses what it cannot keep", || self.load.refused() >= count).await;
    }

    /// The fault is over. Of what was accepted, this is still there.
    async fn heals(&mut self, is_there: impl Fn(&Times) -> bool) -> Told {
        let Self { gateway, seen, load, .. } = self;
        let over = load.now();
        load.until_more(1).await;
        let back = load.now() - over;
        load.until_more(SOME).await;
        let told = load.told().await;
        let took = next_comes(gateway, seen).await;
        let kept: Vec<_> = told.accepted.iter().filter(|(_, times)| is_there(times)).map(|(id, _)| id).collect();
        until("what was accepted comes", async || kept.iter().all(|id| seen.lock().unwrap().contains_key(*id))).await;
        gateway.until_idle().await;
        let (accepted, refused, slowest) = (told.accepted.len(), told.refused, told.slowest);
        println!(
            "{accepted} accepted, of which {} were there to be delivered; {refused} refused; the slowest answer took \
             {slowest:?}; taken in again after {back:?}; the next came after {took:?}",
            kept.len()
        );
        assert!(told.odd.iter().all(|odd| odd.is_none() && self.was_down), "neither 200 nor 503: {:?}", told.odd);
        assert!(slowest < ANSWERED_WITHIN, "{slowest:?}");
        assert!(back < BACK_WITHIN, "{back:?}");
        let failed = gateway.read("/v1/deliveries?status=failed").await;
        assert_eq!(failed["data"].as_array().unwrap().len(), 0, "{failed}");
        told
    }
}

/// Nothing is stuck: how long another event takes.
async fn next_comes(gateway: &Gateway, seen: &Seen) -> Duration {
    let clock = SystemClock::new();
    let id = Poster::new().until_accepted(gateway, u32::MAX).await;
    hooks::until(SOON, "the next event comes", || seen.lock().unwrap().contains_key(&id)).await;
    clock.elapsed()
}
