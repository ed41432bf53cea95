//! A Redis store in steady use stops growing, and one that is idle is nearly empty at last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use waypost::clock::{Clock, SystemClock};
use waypost::domain::delivery::{Class, EndReason, Status};
use waypost::domain::delivery_counts::{DeliveryCounts, Hour};
use waypost::domain::id::{EventId, ReplayId};
use waypost::domain::job::{Job, JobState};
use waypost::domain::plan::{Copies, Fingerprint};
use waypost::domain::replay::Replay;
use waypost::domain::retention::Lifetimes;
use waypost::domain::tally::{Outcome, Tally};
use waypost::store::redis::RedisStore;
use waypost::store::{Counts, Replays, Store, Then};
use waypost_providers::ReplayGuard;

use crate::contract::replays::job;
use crate::redis_fixture::*;
use crate::redis_harness::Server;

const SECOND: Duration = Duration::from_secs(1);

/// Events of every end, one that is sent again, a job, and numbers.
async fn step(store: &RedisStore, clock: &SystemClock, number: u32) {
    let now = clock.now();
    for which in 0..4_u8 {
        let name = format!("{number}-{which}");
        let mut unit = unit_of(&name, &name, &[("wh_1", Class::Normal, false), ("wh_2", Class::Normal, true)]);
        // It is found by two words, one of them that of all others too.
        let data = serde_json::json!({ "to": "all@a.example", "id": name });
        Arc::make_mut(&mut unit.event).data = serde_json::value::to_raw_value(&data).unwrap();
        let mut bits = [which; 16];
        bits[..4].copy_from_slice(&number.to_be_bytes());
        unit.fingerprint = Some(Fingerprint { bits, copies: Copies::Repeat });
        let mut ingest = ingest_of(name.as_bytes(), vec![unit]);
        ingest.raw.as_mut().unwrap().unmapped = u32::from(which == 0);
        let mut token = [which; 32];
        token[..4].copy_from_slice(&number.to_be_bytes());
        ingest.guards = vec![ReplayGuard { token, digest: [1; 32] }];
        assert_eq!(store.ingest(ingest).await.unwrap(), stored(1, 0));
    }
    let name = format!("{number}-1");
    let (event_id, mail) = (EventId::of("main", &name), unit(&name, &name, "").mail);
    let replay = ReplayId::of(&[&number.to_be_bytes()]);
    store.replay(vec![Replay { replay, event_id, mail, endpoint: "wh_1".into() }]).await.unwrap();
    let ends = [LANDED, Then::End(Status::Failed, Some(EndReason::Exhausted)), Then::Retry(Duration::ZERO)];
    for (place, lease) in take(store, "wh_1", 50, LONG).await.into_iter().enumerate() {
        let then = if lease.number > 1 { LANDED } else { ends[place % 3] };
        finish(store, &lease, then).await;
    }
    let made = Job { created_at: now, ..job(&number.to_string(), 0) };
    assert!(store.keep_job(&made).await.unwrap() && store.keep_job(&made.to(JobState::Done, now)).await.unwrap());
    let mut counts = DeliveryCounts::default();
    counts.ended(Status::Delivered);
    // As if each step took an hour.
    let hour = Hour(Hour::of(now).0 + number);
    store.count_deliveries(&[(("wh_1".into(), hour), counts)].into()).await.unwrap();
}

async fn number(server: &Server, words: &[&str]) -> usize {
    let redis::Value::Int(number) = server.command(words).await else { panic!("{words:?} answers no number") };
    usize::try_from(number).unwrap()
}

/// The keys that have not expired, by what they begin with, each with how much it holds.
async fn held(server: &Server) -> BTreeMap<String, usize> {
    let keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "*"]).await).unwrap();
    let mut held = BTreeMap::new();
    for key in keys {
        let redis::Value::SimpleString(kind) = server.command(&["TYPE", &key]).await else { panic!("no type") };
        let size = match kind.as_str() {
            "string" => 1,
            "hash" => number(server, &["HLEN", &key]).await,
            "zset" => number(server, &["ZCARD", &key]).await,
            "set" => number(server, &["SCARD", &key]).await,
            "stream" => number(server, &["XLEN", &key]).await,
            "list" => number(server, &["LLEN", &key]).await,
            // It has expired since.
            _ => 0,
        };
        let name = key.split_once('}').unwrap().1.trim_start_matches(':');
        let name = name.split(':').next().unwrap().to_owned();
        *held.entry(name).or_default() += size;
    }
    held
}

/// How many bytes its data takes.
async fn memory(server: &Server) -> usize {
    let info: String = redis::from_redis_value(server.command(&["INFO", "memory"]).await).unwrap();
    let bytes = info.lines().find_map(|line| line.strip_prefix("used_memory_dataset:"));
    bytes.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_in_steady_use_stops_growing_and_an_idle_one_keeps_little() {
    let server = Server::start().await;
    let lifetimes = Lifetimes { events: SECOND, requests: SECOND, tokens: SECOND };
    let store = server.connect_for(lifetimes, &[]).await.unwrap();
    let clock = SystemClock::new();
    let mut tally = Tally::default();
    tally.refused(Outcome::Refused);
    store.count(&[("gone".to_owned(), tally)].into()).await.unwrap();
    let left = number(&server, &["TTL", "{wp:0}:tally:gone"]).await;
    assert!((1..=Lifetimes::OF_TALLIES as usize).contains(&left), "it stays for {left} s");
    let (mut samples, mut bytes, mut steps) = (Vec::new(), Vec::new(), 0);
    for lifetime in 1..=9_u32 {
        while clock.elapsed() < SECOND * lifetime {
            let next = clock.elapsed() + Duration::from_millis(30);
            step(&store, &clock, steps).await;
            steps += 1;
            tokio::time::sleep(next.saturating_sub(clock.elapsed())).await;
        }
        samples.push(held(&server).await);
        bytes.push(memory(&server).await);
    }
    assert!(steps > 20, "too slow to tell: {steps}");
    let all = |sample: &BTreeMap<String, usize>| sample.values().sum::<usize>();
    let (early, late) = (samples[1..4].iter().map(all).max().unwrap(), samples[6..].iter().map(all).max().unwrap());
    assert!(early > 50 && late < early * 2, "it grows: {samples:#?}");
    assert!(bytes[6..].iter().max().unwrap() < &(bytes[1..4].iter().max().unwrap() * 2), "{bytes:?}");
    // What is pending is delivered; then nothing comes for longer than all indexes take to be looked through.
    for lease in take(&store, "wh_1", 500, LONG).await {
        finish(&store, &lease, LANDED).await;
    }
    let mut left = held(&server).await;
    for _ in 0..60 {
        if left.get("w").is_none_or(|words| *words == 0) && !left.contains_key("e") {
            break;
        }
        tokio::time::sleep(SECOND / 2).await;
        left = held(&server).await;
    }
    tokio::time::sleep(SECOND * 3 / 2).await;
    left = held(&server).await;
    // Ends of streams and indexes are cut when something is added, so no more than a few lifetimes' worth of ids is left.
    // The key that words are hashed with is kept for good.
    let kept = ["feed", "st", "jobs", "incomplete", "announce", "stamp", "lanes", "cd", "tally", "address_key"];
    let others: Vec<_> = left.iter().filter(|(name, size)| **size > 0 && !kept.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "{others:?} of {left:?}");
    assert!(all(&left) < early, "{left:?}");
}
