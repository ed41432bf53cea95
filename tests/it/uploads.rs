//! Many large mails at once: the gateway's memory stays within its budget, nothing that was taken is lost, and no command
//! keeps Redis from others. `WAYPOST_WHOLE=1` sends mails of 30 MiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use waypost::clock::{Clock, SystemClock};
use waypost::domain::id::RequestId;
use waypost::store::Store;
use waypost::store::embedded::Embedded;
use waypost_providers::Signed;

use crate::embedded::LIFETIMES;
use crate::gateway::{Gateway, receiver};
use crate::mails::{SOURCE, proven};
use crate::redis_fixture::ingest_of;
use crate::redis_harness::Server;
use crate::wire;

const MIB: usize = 1 << 20;
/// What the gateway may have beside its budget of bodies, and what one mail at a time is read into.
const BESIDE: usize = 64 * MIB;
/// The same where parts of mails are on their way to Redis, in several buffers each.
const BESIDE_ON_REDIS: usize = 96 * MIB;
/// What is measured is what the gateway holds, not what its allocator keeps for a second for whoever asks next.
const KEEPS_NOTHING: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "0");

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

/// A mail with much text: what is before it, and after it.
fn parts(number: usize) -> (String, String) {
    let mail = String::from_utf8(proven(&format!("mail-{number}"), "TEXT").body.to_vec()).unwrap();
    let (before, after) = mail.split_once("TEXT").unwrap();
    (before.to_owned(), after.to_owned())
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

async fn upload(port: u16, number: usize, text: &str) -> Option<u16> {
    let (before, after) = parts(number);
    let len = before.len() + text.len() + after.len();
    let head = wire::head("/in/mail", &Signed { body: Default::default(), ..proven("", "") }, len);
    let parts = [&head, before.as_bytes(), text.as_bytes(), after.as_bytes()];
    wire::upload(port, &parts).await.ok()
}

async fn many_at_once(on: &str, load: Load) {
    let server = if on == "redis" { Some(Server::start_syncing("everysec").await) } else { None };
    let store = server.as_ref().map_or_else(|| "embedded".to_owned(), Server::url);
    let Load { count, len, budget } = load;
    let limits = format!("body_budget_bytes = {budget}\nmail_bytes_max = {}", len + MIB);
    let mut gateway = Gateway::with(&store, receiver().0, &limits, SOURCE);
    gateway.start(Some(KEEPS_NOTHING));
    gateway.until_alive().await;
    let (idle, text, clock) = (memory_peak(&gateway), noise(len), SystemClock::new());
    // Refused ones come again, as those of a provider do.
    let (mut left, mut rounds) = ((0..count).collect::<Vec<_>>(), Vec::new());
    while !left.is_empty() {
        let answers = join_all(left.iter().map(|number| upload(gateway.port(), *number, &text))).await;
        let counted = |wanted| answers.iter().filter(|status| **status == wanted).count();
        rounds.push((counted(Some(200)), counted(Some(503)), counted(None)));
        assert!(answers.iter().all(|status| matches!(status, Some(200 | 503) | None)), "{answers:?}");
        left = left
            .into_iter()
            .zip(answers)
            .filter(|(_, status)| *status != Some(200))
            .map(|(number, _)| number)
            .collect();
        assert!(clock.elapsed() < Duration::from_secs(300), "{rounds:?}");
    }
    let (peak, took) = (memory_peak(&gateway), clock.elapsed());
    println!(
        "{on}: {count} mails of {} MiB in {took:?}, in rounds of (200, 503, cut off) {rounds:?}; memory {} MiB, idle {} MiB",
        len / MIB,
        peak / MIB,
        idle / MIB
    );
    let beside = if on == "redis" { BESIDE_ON_REDIS } else { BESIDE };
    assert!(peak < budget + beside + len, "{on}: {peak} bytes");

    assert!(gateway.terminate(Duration::from_secs(10)).await);
    let store: Box<dyn Store> = match &server {
        Some(server) => Box::new(server.store().await),
        None => Box::new(Embedded::open(&gateway.data(), Arc::new(SystemClock::new()), LIFETIMES).unwrap()),
    };
    for number in 0..count {
        let (before, after) = parts(number);
        let body = [&before, &text, &after].map(String::as_str).concat();
        let stored = store.request(&RequestId::of("mail", body.as_bytes())).await.unwrap();
        assert!(stored.is_some_and(|stored| stored.request.body == body), "{on}: mail {number}");
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

/// Stores this while another client of the server asks for nothing, every millisecond. How many commands were slower than
/// 5 ms, and how long the other waited, the shortest first.
async fn beside(server: &Server, body: &[u8]) -> (i64, Vec<Duration>) {
    server.command(&["SLOWLOG", "RESET"]).await;
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
    let slow = redis::from_redis_value(server.command(&["SLOWLOG", "LEN"]).await).unwrap();
    (slow, pinging.await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_of_a_large_mail_keeps_redis_from_others() {
    let server = Server::start_syncing("everysec").await;
    server.command(&["CONFIG", "SET", "slowlog-log-slower-than", "5000"]).await;
    let text = noise(30 * MIB);
    let mut slow = Vec::new();
    // The scheduler may stop any command; what is slow by itself is so each time.
    for number in 0..3 {
        let (count, waits) = beside(&server, format!("{number}{text}").as_bytes()).await;
        let p99 = waits[waits.len() * 99 / 100];
        println!(
            "{count} slow commands; of {} pings p99 {p99:?}, the longest {:?}",
            waits.len(),
            waits[waits.len() - 1]
        );
        slow.push(count);
        if count == 0 {
            return;
        }
    }
    panic!("slow commands each time: {slow:?}");
}
