//! The ledger: what was accepted is delivered, and nothing else is, whatever is killed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use waypost::domain::id::EventId;

use crate::gateway::{Gateway, Poster, Seen, receiver};
use crate::redis_harness::Server;

/// A killed gateway's leases fall due again after their hold, which is 15 s longer than the endpoint's deadline of 1 s.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
/// What is missing for so long, when nothing comes any more, does not come.
const LOST_AFTER: Duration = Duration::from_secs(25);

const STEP: Duration = Duration::from_millis(100);

/// What was posted, and what of it was accepted.
#[derive(Default)]
pub(crate) struct Ledger {
    posted: Mutex<HashSet<String>>,
    accepted: Mutex<HashSet<String>>,
    next: AtomicU32,
    pub(crate) is_over: AtomicBool,
}

impl Ledger {
    /// Posts single events and batches as fast as they are answered, until it is over.
    pub(crate) async fn generate(self: Arc<Self>, poster: Poster, resend: String, sendgrid: String) {
        while !self.is_over.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let (ids, status) = if number.is_multiple_of(10) {
                poster.sendgrid(&sendgrid, number).await
            } else {
                let (id, status) = poster.resend(&resend, number).await;
                (vec![id], status)
            };
            self.posted.lock().unwrap().extend(ids.iter().cloned());
            match status {
                Some(200) => self.accepted.lock().unwrap().extend(ids),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// The events that were accepted, by the ids that Waypost gives them.
    pub(crate) fn accepted_events(&self) -> Vec<String> {
        let source = |id: &str| if id.starts_with("sg-") { "sendgrid" } else { "resend" };
        let accepted = self.accepted.lock().unwrap();
        accepted.iter().map(|id| EventId::of(source(id), id).to_string()).collect()
    }

    /// What was accepted and has not come.
    fn missing(&self, seen: &Seen) -> usize {
        let seen = seen.lock().unwrap();
        self.accepted.lock().unwrap().iter().filter(|id| !seen.contains_key(*id)).count()
    }

    /// Waits until nothing is missing, or nothing has come for as long as a lease is held and more.
    async fn drained(&self, seen: &Seen) {
        let (mut missing, mut waited, mut idle) = (usize::MAX, Duration::ZERO, Duration::ZERO);
        while missing > 0 && idle < LOST_AFTER && waited < DRAINED_WITHIN {
            tokio::time::sleep(STEP).await;
            let before = std::mem::replace(&mut missing, self.missing(seen));
            idle = if missing < before { Duration::ZERO } else { idle + STEP };
            waited += STEP;
        }
    }
}

/// What came of a ledger.
struct Balance {
    lost: usize,
    invented: usize,
}

/// Generates while gateway and server are killed and started again; then waits until all is delivered and draws the
/// balance.
async fn balance(name: &str, gateway: &mut Gateway, seen: &Seen, server: Option<&mut Server>) -> Balance {
    let kills = if std::env::var_os("WAYPOST_WHOLE").is_some() { 40_u32 } else { 10 };
    gateway.up(None);
    let (ledger, poster) = (Arc::new(Ledger::default()), Poster::new());
    let (resend, sendgrid) = (gateway.url("resend"), gateway.url("sendgrid"));
    let generators: Vec<_> = (0..4)
        .map(|_| tokio::spawn(Arc::clone(&ledger).generate(poster.clone(), resend.clone(), sendgrid.clone())))
        .collect();
    let mut server = server;
    for kill in 0..kills {
        // Moments that differ from kill to kill, and are the same in every run.
        tokio::time::sleep(Duration::from_millis(300 + u64::from(kill * 7_919 % 500))).await;
        gateway.down();
        if let Some(server) = server.as_deref_mut().filter(|_| kill % 3 == 2) {
            server.down();
            server.up().await;
        }
        gateway.up(None);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    ledger.is_over.store(true, Ordering::SeqCst);
    for generator in generators {
        generator.await.unwrap();
    }
    ledger.drained(seen).await;
    let (posted, accepted) = (ledger.posted.lock().unwrap(), ledger.accepted.lock().unwrap());
    let seen = seen.lock().unwrap();
    let invented = seen.keys().filter(|id| !posted.contains(*id)).count();
    let lost = accepted.iter().filter(|id| !seen.contains_key(*id)).count();
    let repeated = seen.values().filter(|times| **times > 1).count();
    println!(
        "{name}: {} posted, {} accepted, {} delivered, {repeated} more than once, {lost} lost, {kills} kills",
        posted.len(),
        accepted.len(),
        seen.len()
    );
    assert!(accepted.len() > 100, "{name}: only {} were accepted", accepted.len());
    Balance { lost, invented }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_loses_nothing_when_the_gateway_is_killed() {
    let (target, seen) = receiver();
    let mut gateway = Gateway::new("embedded", target);
    let Balance { lost, invented } = balance("embedded", &mut gateway, &seen, None).await;
    assert_eq!((lost, invented), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_loses_nothing_when_gateway_and_server_are_killed() {
    let (target, seen) = receiver();
    let mut server = Server::start().await;
    let mut gateway = Gateway::new(&server.url(), target);
    let Balance { lost, invented } = balance("redis, always", &mut gateway, &seen, Some(&mut server)).await;
    assert_eq!((lost, invented), (0, 0));
}

/// What was written to the operating system survives the kill of the server; what an `fsync` held up in the server's
/// own memory does not, so losses are printed and not asserted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_syncs_every_second_invents_nothing() {
    let (target, seen) = receiver();
    let mut server = Server::start_syncing("everysec").await;
    let mut gateway = Gateway::new(&server.url(), target);
    let Balance { invented, .. } = balance("redis, everysec", &mut gateway, &seen, Some(&mut server)).await;
    assert_eq!(invented, 0);
}
