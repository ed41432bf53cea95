//! The ledger: what was accepted is delivered, what was asked for is replayed, and nothing else is, whatever is killed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use waypost::clock::{Clock, SystemClock};
use waypost::domain::id::EventId;

use crate::gateway::{Gateway, Poster};
use crate::gateways::crowd;
use crate::hooks::until;
use crate::redis_harness::Server;

use self::receivers::{Arrival, Receivers, endpoints_of};
use self::replays::{Asker, Replays};

mod receivers;
mod replays;

/// A killed gateway's leases fall due again after their hold, which is 15 s longer than the endpoint's deadline of 1 s.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
/// What is missing for so long, when nothing comes any more, does not come: longer than a breaker rests.
const LOST_AFTER: Duration = Duration::from_secs(40);
const STEP: Duration = Duration::from_millis(100);

/// Events of a batch.
const BATCH: u32 = 20;
/// How many events are in before anything is killed: a job replays them.
const EARLY: usize = 300;
/// Between two requests of one generator: six endpoints have to keep up.
const PAUSE: Duration = Duration::from_millis(40);

/// What was posted, and what of it was accepted.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Each event, and whether it is a bounce.
    posted: Mutex<HashSet<(String, bool)>>,
    accepted: Mutex<Vec<(String, bool)>>,
    /// To whom a mail bounced, of what was accepted.
    bounced: Mutex<Vec<String>>,
    next: AtomicU32,
    pause: Duration,
    pub(crate) is_over: AtomicBool,
}

impl Ledger {
    /// Posts single events and batches, as fast as they are answered or with pauses, until it is over.
    pub(crate) async fn generate(self: Arc<Self>, poster: Poster, resend: String, sendgrid: String) {
        while !self.is_over.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let is_batch = number.is_multiple_of(10);
            if !self.post(&poster, if is_batch { &sendgrid } else { &resend }, number, is_batch).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    /// Posts a single event or a batch; whether it was accepted.
    async fn post(&self, poster: &Poster, url: &str, number: u32, is_batch: bool) -> bool {
        let is_bounce = !is_batch && number % 7 == 3;
        let kind = if is_bounce { "email.bounced" } else { "email.delivered" };
        let (source, ids, signed) = if is_batch {
            let (ids, signed) = poster.sendgrid_batch(number, BATCH);
            ("sendgrid", ids, signed)
        } else {
            let (id, signed) = poster.resend_event_of(number, number, kind);
            ("resend", vec![id], signed)
        };
        let events: Vec<_> = ids.iter().map(|id| (EventId::of(source, id).to_string(), is_bounce)).collect();
        self.posted.lock().unwrap().extend(events.iter().cloned());
        let is_accepted = poster.post(url, signed).await == Some(200);
        if is_accepted {
            self.accepted.lock().unwrap().extend(events);
            self.bounced.lock().unwrap().extend(is_bounce.then(|| format!("n{number}@customer.example")));
        }
        is_accepted
    }

    /// The events that were accepted, by the ids that Waypost gives them.
    pub(crate) fn accepted_events(&self) -> Vec<String> {
        self.accepted.lock().unwrap().iter().map(|(event, _)| event.clone()).collect()
    }

    /// One that was accepted.
    fn one(&self, number: usize) -> (String, bool) {
        let accepted = self.accepted.lock().unwrap();
        accepted[number * 7_919 % accepted.len()].clone()
    }
}

/// Each event at each endpoint that it goes to.
fn arrivals<'a>(events: impl IntoIterator<Item = &'a (String, bool)>) -> HashSet<Arrival> {
    let each = |(event, is_bounce): &'a (String, bool)| endpoints_of(*is_bounce).map(|id| (event.clone(), id, None));
    events.into_iter().flat_map(each).collect()
}

/// What came of a ledger.
struct Balance {
    lost: usize,
    invented: usize,
    /// Addresses that are not on the suppression list.
    unlisted: Vec<String>,
    /// Replays that were not granted, and what was not signed as it should be.
    denied: Vec<String>,
    wrong: Vec<String>,
    /// What each job counted, made, left out and has pending.
    jobs: Vec<[Value; 4]>,
}

impl Balance {
    fn is_even(&self) {
        assert_eq!((self.lost, self.invented), (0, 0));
        assert_eq!((&self.unlisted, &self.denied, &self.wrong), (&Vec::new(), &Vec::new(), &Vec::new()));
        let exact = [EARLY, EARLY, 0, 0].map(Value::from);
        assert_eq!(self.jobs, [exact.clone(), exact.clone(), exact]);
    }
}

/// Has the early events taken in and delivered; who asks for replays from then on.
async fn begun(ledger: &Arc<Ledger>, poster: &Poster, gateways: &[Gateway], receivers: &Receivers) -> Asker {
    while ledger.accepted_events().len() < EARLY {
        let number = ledger.next.fetch_add(1, Ordering::SeqCst);
        ledger.post(poster, &gateways[0].url("sendgrid"), number, true).await;
    }
    let early: HashSet<_> = ledger.accepted_events().into_iter().collect();
    let count = arrivals(&*ledger.accepted.lock().unwrap()).len();
    until(DRAINED_WITHIN, "the early ones come", || receivers.book.lock().unwrap().taken.len() == count).await;
    gateways[0].until_idle().await;
    Asker {
        ledger: Arc::clone(ledger),
        replays: Arc::new(Replays::default()),
        ports: gateways.iter().map(Gateway::port).collect(),
        until: SystemClock::new().now(),
        early,
    }
}

/// Kills the gateways by turns, and the server at every third time, and starts them again.
async fn storm(gateways: &mut [Gateway], mut server: Option<&mut Server>) {
    let kills = if std::env::var_os("WAYPOST_WHOLE").is_some() { 40_u32 } else { 10 };
    for kill in 0..kills {
        // Moments that differ from kill to kill, and are the same in every run.
        tokio::time::sleep(Duration::from_millis(300 + u64::from(kill * 7_919 % 500))).await;
        let turn = kill as usize % gateways.len();
        gateways[turn].down();
        if let Some(server) = server.as_deref_mut().filter(|_| kill % 3 == 2) {
            server.down();
            server.up().await;
        }
        gateways[turn].up(None);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Waits until nothing is missing, or nothing has come for long.
async fn drained(wanted: &HashSet<Arrival>, receivers: &Receivers) {
    let (mut missing, mut waited, mut idle) = (usize::MAX, Duration::ZERO, Duration::ZERO);
    while missing > 0 && idle < LOST_AFTER && waited < DRAINED_WITHIN {
        tokio::time::sleep(STEP).await;
        let now = wanted.iter().filter(|one| !receivers.book.lock().unwrap().taken.contains_key(*one)).count();
        let before = std::mem::replace(&mut missing, now);
        idle = if missing < before { Duration::ZERO } else { idle + STEP };
        waited += STEP;
    }
}

/// Whose bounce was accepted and who is not on the suppression list.
async fn unlisted(ledger: &Ledger, gateway: &Gateway) -> Vec<String> {
    let mut bounced = std::mem::take(&mut *ledger.bounced.lock().unwrap());
    assert!(!bounced.is_empty(), "no bounce was accepted");
    let mut is_listed = Vec::new();
    for address in &bounced {
        let answer = gateway.get(&format!("/v1/suppressions/{address}")).await.unwrap();
        is_listed.push(answer.status == 200);
    }
    let mut is_listed = is_listed.into_iter();
    bounced.retain(|_| is_listed.next() == Some(false));
    bounced
}

/// Generates and asks for replays while gateways and server are killed and started again; then waits until all is
/// delivered and draws the balance.
async fn balance(
    name: &str,
    mut gateways: Vec<Gateway>,
    receivers: &Receivers,
    server: Option<&mut Server>,
) -> Balance {
    let (ledger, poster) = (Arc::new(Ledger { pause: PAUSE, ..Ledger::default() }), Poster::new());
    let asker = begun(&ledger, &poster, &gateways, receivers).await;
    let replays = Arc::clone(&asker.replays);
    let mut tasks = vec![tokio::spawn(asker.run())];
    for turn in 0..4 {
        let gateway = &gateways[turn % gateways.len()];
        let (resend, sendgrid) = (gateway.url("resend"), gateway.url("sendgrid"));
        tasks.push(tokio::spawn(Arc::clone(&ledger).generate(poster.clone(), resend, sendgrid)));
    }
    storm(&mut gateways, server).await;
    ledger.is_over.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    let (accepted, granted) = (arrivals(&*ledger.accepted.lock().unwrap()), replays.granted());
    let wanted: HashSet<_> = accepted.union(&granted).cloned().collect();
    drained(&wanted, receivers).await;
    // What was under way at a kill may have been taken, and comes again.
    gateways[0].until_idle().await;
    let jobs = replays.jobs(&gateways[0]).await;
    let unlisted = unlisted(&ledger, &gateways[0]).await;
    let posted = arrivals(&*ledger.posted.lock().unwrap());
    let mut book = receivers.book.lock().unwrap();
    let lost = wanted.iter().filter(|one| !book.taken.contains_key(*one)).count();
    let invented = book.taken.keys().filter(|one| !posted.contains(*one) && !granted.contains(*one)).count();
    let repeated = book.taken.values().filter(|times| **times > 1).count();
    println!(
        "{name}: {} deliveries accepted, {} replays granted, {} taken, {repeated} more than once, {} refused; {lost} lost",
        accepted.len(),
        granted.len(),
        book.taken.len(),
        book.refused,
    );
    assert!(accepted.len() > 2_000 && granted.len() > 3 * EARLY + 20, "{name}: too few for a test");
    assert!(book.refused > 0 && repeated > 0, "{name}: nothing was refused, or nothing was under way at a kill");
    let (denied, wrong) = (std::mem::take(&mut *replays.denied.lock().unwrap()), std::mem::take(&mut book.wrong));
    Balance { lost, invented, unlisted, denied, wrong, jobs }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_loses_nothing_when_the_gateway_is_killed() {
    let receivers = Receivers::start();
    let mut gateway = Gateway::serving("embedded", &receivers.config());
    gateway.up(None);
    gateway.until_alive().await;
    balance("embedded", vec![gateway], &receivers, None).await.is_even();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_loses_nothing_when_gateway_and_server_are_killed() {
    let (receivers, mut server) = (Receivers::start(), Server::start().await);
    let gateways = crowd(&server, &receivers.config(), 1).await;
    balance("redis, always", gateways, &receivers, Some(&mut server)).await.is_even();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_loses_nothing_when_two_gateways_and_the_server_are_killed() {
    let (receivers, mut server) = (Receivers::start(), Server::start().await);
    let gateways = crowd(&server, &receivers.config(), 2).await;
    balance("redis, two gateways", gateways, &receivers, Some(&mut server)).await.is_even();
}

/// What was written to the operating system survives the kill of the server; what an `fsync` held up in the server's
/// own memory does not, so losses are printed and not asserted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_syncs_every_second_invents_nothing() {
    let (receivers, mut server) = (Receivers::start(), Server::start_syncing("everysec").await);
    let gateways = crowd(&server, &receivers.config(), 1).await;
    let Balance { invented, wrong, .. } = balance("redis, everysec", gateways, &receivers, Some(&mut server)).await;
    assert_eq!((invented, wrong), (0, vec![]));
}
