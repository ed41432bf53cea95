//! Many large mails at once: the gateway's memory stays within its budget, nothing that was taken is lost, and no command
//! keeps Redis from others. `WAYPOST_WHOLE=1` sends mails of 30 MiB.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use waypost::clock::{Clock, SystemClock};
use waypost::domain::id::RequestId;
use waypost::store::embedded::Embedded;
use waypost::store::{PageQuery, Store};
use waypost_providers::Signed;

use crate::embedded::LIFETIMES;
use crate::gateway::{Gateway, receiver};
use crate::redis_fixture::ingest_of;
use crate::redis_harness::Server;
use crate::shapes::{SHAPES, Shape, sources};
use crate::wire;

const MIB: usize = 1 << 20;
/// What the gateway may have beside its budget of bodies.
const BESIDE: usize = 64 * MIB;

/// No command may keep Redis from others for longer.
const COMMAND_MAX: Duration = Duration::from_millis(5);

fn is_whole() -> bool {
    std::env::var_os("WAYPOST_WHOLE").is_some()
}

/// Base64 of what does not compress.
fn noise(len: usize) -> String {
    let mut seed: u64 = 1;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    let bytes: Vec<u8> = (0..len / 4 * 3).map(|_| random()).collect();
    STANDARD.encode(bytes)
}

/// How many, how large, and within which budget.
struct Load {
    count: usize,
    len: usize,
    budget: usize,
}

/// The most memory that a gateway ever had, in bytes.
fn memory_peak(gateway: &Gateway) -> usize {
    let status = format!("/proc/{}/status", gateway.process.as_ref().unwrap().id());
    let status = std::fs::read_to_string(status).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// One of several mails, in the shapes of all providers by turns.
struct Mail {
    shape: Shape,
    signed: Signed,
}

impl Mail {
    fn new(number: usize, noise: &str) -> Self {
        let shape = SHAPES[number % SHAPES.len()];
        // As many bytes as the others have, though each that is escaped takes three.
        let len = if shape.name == "Mailgun, url-encoded" { noise.len() / 10 * 8 } else { noise.len() };
        Self { shape, signed: shape.mail(&format!("mail-{number}"), &noise[..len]) }
    }

    async fn post(&self, port: u16) -> Option<u16> {
        let head = wire::head(&self.shape.path(), &self.signed, self.signed.body.len());
        wire::upload(port, &[&head, &self.signed.body]).await.ok()
    }
}

/// Posts all of them at once, and what is refused again, as the providers do. How each round ended.
async fn post_all(gateway: &Gateway, mails: &[Mail]) -> Vec<(usize, usize, usize)> {
    let clock = SystemClock::new();
    let (mut left, mut rounds) = (mails.iter().collect::<Vec<_>>(), Vec::new());
    while !left.is_empty() {
        let answers = join_all(left.iter().map(|mail| mail.post(gateway.port()))).await;
        let counted = |wanted| answers.iter().filter(|status| **status == wanted).count();
        rounds.push((counted(Some(200)), counted(Some(503)), counted(None)));
        assert!(answers.iter().all(|status| matches!(status, Some(200 | 503) | None)), "{answers:?}");
        let again = left.into_iter().zip(answers).filter(|(_, status)| *status != Some(200));
        left = again.map(|(mail, _)| mail).collect();
        assert!(clock.elapsed() < Duration::from_secs(300), "{rounds:?}");
    }
    rounds
}

async fn many_at_once(on: &str, load: Load) {
    let server = if on == "redis" { Some(Server::start_syncing("everysec").await) } else { None };
    let store = server.as_ref().map_or_else(|| "embedded".to_owned(), Server::url);
    let Load { count, len, budget } = load;
    let limits = format!("body_budget_bytes = {budget}\nmail_bytes_max = {}", len + MIB);
    let mut gateway = Gateway::with(&store, receiver().0, &limits, &sources());
    gateway.up(None);
    gateway.until_alive().await;
    let (idle, noise, clock) = (memory_peak(&gateway), noise(len), SystemClock::new());
    let mails: Vec<_> = (0..count).map(|number| Mail::new(number, &noise)).collect();
    let rounds = post_all(&gateway, &mails).await;
    let (peak, took) = (memory_peak(&gateway), clock.elapsed());
    println!(
        "{on}: {count} mails of {} MiB in {took:?}, in rounds of (200, 503, cut off) {rounds:?}; memory {} MiB, idle {} MiB",
        len / MIB,
        peak / MIB,
        idle / MIB
    );
    assert!(peak < budget + BESIDE, "{on}: {peak} bytes");

    assert!(gateway.terminate(Duration::from_secs(10)).await);
    let store: Box<dyn Store> = match &server {
        Some(server) => Box::new(server.store().await),
        None => Box::new(Embedded::open(&gateway.data(), Arc::new(SystemClock::new()), LIFETIMES).unwrap()),
    };
    let events = store.events(&PageQuery { cursor: None, limit: 1_000 }).await.unwrap().items;
    assert_eq!(events.len(), count, "{on}");
    let mut bodies: BTreeSet<_> = mails.iter().map(|mail| mail.signed.body.clone()).collect();
    for event in events {
        let stored = store.request(&event.request_id.unwrap()).await.unwrap().unwrap();
        assert!(bodies.remove(&stored.request.body), "{on}: a body that nobody sent, or one twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_within_the_budget_and_nothing_taken_is_lost() {
    for on in ["embedded", "redis"] {
        let load = match is_whole() {
            true => Load { count: 50, len: 30 * MIB, budget: 128 * MIB },
            false => Load { count: 12, len: 6 * MIB, budget: 48 * MIB },
        };
        many_at_once(on, load).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_is_decoded_may_be_as_large_as_the_budget() {
    let limits = format!("body_bytes_max = {MIB}\nbody_budget_bytes = {}\nmail_bytes_max = {}", 3 * MIB, 3 * MIB);
    let mut gateway = Gateway::with("embedded", receiver().0, &limits, &sources());
    gateway.up(None);
    gateway.until_alive().await;
    let mail = Mail::new(3, &noise(3 * MIB));
    assert!(mail.shape.name == "Mailgun, url-encoded" && mail.signed.body.len() > 2 * MIB);
    assert_eq!(mail.post(gateway.port()).await, Some(200));
}

/// What of a try kept Redis from others.
#[derive(Debug)]
struct Stalls {
    /// How long each command took that took longer than it may.
    slow: Vec<Duration>,
    /// How long the server was ready to go on and had no processor, which others had.
    waited: Duration,
}

impl Stalls {
    /// How much longer commands took than they may, but for what the server waited.
    fn excess(&self) -> Duration {
        self.slow.iter().map(|took| *took - COMMAND_MAX).sum::<Duration>().saturating_sub(self.waited)
    }
}

/// How long a server has been ready and had no processor (Linux, "scheduler statistics").
fn waited(server: &Server) -> Duration {
    let told = std::fs::read_to_string(format!("/proc/{}/schedstat", server.id())).unwrap();
    Duration::from_nanos(told.split(' ').nth(1).unwrap().parse().unwrap())
}

/// Stores this, and reads it, while another client of the server asks for nothing, every millisecond.
async fn beside(server: &Server, body: &[u8]) -> Stalls {
    server.command(&["SLOWLOG", "RESET"]).await;
    let before = waited(server);
    let client = redis::Client::open(server.url()).unwrap();
    let mut other = client.get_multiplexed_async_connection().await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let pinging = tokio::spawn({
        let is_over = Arc::clone(&is_over);
        async move {
            let (clock, mut waits) = (SystemClock::new(), Vec::new());
            while !is_over.load(Ordering::SeqCst) {
                let asked = clock.elapsed();
                redis::cmd("PING").query_async::<String>(&mut other).await.unwrap();
                waits.push(clock.elapsed() - asked);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            waits.sort();
            waits
        }
    });
    let store = server.store().await;
    store.ingest(ingest_of(body, vec![])).await.unwrap();
    assert!(store.request(&RequestId::of("main", body)).await.unwrap().unwrap().request.body == body);
    is_over.store(true, Ordering::SeqCst);
    let waits = pinging.await.unwrap();
    println!(
        "of {} pings the longest {:?}, p99 {:?}",
        waits.len(),
        waits[waits.len() - 1],
        waits[waits.len() * 99 / 100]
    );
    let slow = server.command(&["SLOWLOG", "GET", "-1"]).await;
    let slow: Vec<Vec<redis::Value>> = redis::from_redis_value(slow).unwrap();
    // The third of each is how long it took, in microseconds.
    let took = |entry: &Vec<redis::Value>| redis::from_redis_value::<u64>(entry[2].clone()).unwrap();
    Stalls {
        slow: slow.iter().map(|entry| Duration::from_micros(took(entry))).collect(),
        waited: waited(server) - before,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_of_a_large_mail_keeps_redis_from_others() {
    let server = Server::start_syncing("everysec").await;
    let limit = COMMAND_MAX.as_micros().to_string();
    server.command(&["CONFIG", "SET", "slowlog-log-slower-than", &limit]).await;
    let text = noise(30 * MIB);
    for number in 0..3 {
        let stalls = beside(&server, format!("{number}{text}").as_bytes()).await;
        println!("{stalls:?}");
        assert!(stalls.excess() == Duration::ZERO, "{stalls:?}");
    }
}
