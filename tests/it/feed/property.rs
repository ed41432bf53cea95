//! Every event, in the order of its mail, none skipped: with writers side by side, a reader at their heels, and a store that
//! is opened again in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use waypost::domain::delivery::Class;
use waypost::domain::feed::Cursor;
use waypost::domain::plan::Generation;
use waypost::store::Store;

use crate::contract::Harness;
use crate::embedded::OnDisk;
use crate::redis_contract::OnRedis;
use crate::support::{ingest, unit};

/// What one writer stores between two openings: so many events of its mails in each of its calls.
type Calls = Vec<usize>;

#[derive(Clone, Debug)]
struct Run {
    /// For each time the store is open, the calls of each writer.
    rounds: Vec<Vec<Calls>>,
    mails: usize,
    /// How much the reader asks for, in turns.
    limits: Vec<usize>,
}

fn run() -> impl Strategy<Value = Run> {
    let calls = prop::collection::vec(0_usize..12, 1..12);
    let writers = prop::collection::vec(calls, 1..6);
    let limits = prop_oneof![1_usize..4, 1_usize..40, Just(1_000)];
    (prop::collection::vec(writers, 1..4), 1_usize..5, prop::collection::vec(limits, 1..5))
        .prop_map(|(rounds, mails, limits)| Run { rounds, mails, limits })
}

/// Stores what it is to, and tells what it stored: the numbers of each mail, in their order.
async fn write(
    store: Arc<dyn Store>,
    round: usize,
    writer: usize,
    calls: Calls,
    mails: usize,
) -> Vec<(String, String)> {
    let (mut written, mut number) = (Vec::new(), 0);
    for len in calls {
        let mut units = Vec::new();
        for _ in 0..len {
            let (mail, identity) = (format!("{writer}.{}", number % mails), format!("{round}.{writer}.{number}"));
            let class = if number % 3 == 0 { Class::High } else { Class::Normal };
            units.push(unit("resend", &identity, &mail, class, &["wh_a", "wh_b"][..number % 3]));
            written.push((mail, identity));
            number += 1;
        }
        store.ingest(ingest(Generation(0), units)).await.unwrap();
    }
    written
}

/// Reads at the heels of the writers, and once more when they are done.
async fn read(
    store: Arc<dyn Store>,
    mut cursor: Option<Cursor>,
    limits: Vec<usize>,
    is_done: Arc<AtomicBool>,
) -> (Vec<(String, String)>, Option<Cursor>) {
    let mut found = Vec::new();
    for limit in limits.into_iter().cycle() {
        let was_done = is_done.load(Ordering::SeqCst);
        let part = store.feed(cursor.as_ref(), limit).await.unwrap();
        assert_eq!((part.missed, part.is_rewound), (0, false));
        for entry in part.entries {
            let data: serde_json::Value = serde_json::from_str(entry.event.data.get()).unwrap();
            let identity = data["identity"].as_str().unwrap().to_owned();
            found.push((format!("{:?}", entry.event.mail), identity));
        }
        cursor = Some(part.cursor);
        if was_done && !part.has_more {
            return (found, cursor);
        }
        tokio::task::yield_now().await;
    }
    unreachable!()
}

fn by_mail(all: Vec<(String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut mails: BTreeMap<_, Vec<_>> = BTreeMap::new();
    all.into_iter().for_each(|(mail, identity)| mails.entry(mail).or_default().push(identity));
    mails
}

async fn none_is_skipped<H: Harness>(run: Run) {
    let mut harness = H::start().await;
    let (mut cursor, mut found, mut written) = (None, Vec::new(), Vec::new());
    for (round, writers) in run.rounds.into_iter().enumerate() {
        let is_done = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn(read(harness.store(), cursor, run.limits.clone(), Arc::clone(&is_done)));
        let writers = writers.into_iter().enumerate();
        let writing =
            writers.map(|(writer, calls)| tokio::spawn(write(harness.store(), round, writer, calls, run.mails)));
        for writer in writing.collect::<Vec<_>>() {
            written.extend(writer.await.unwrap());
        }
        is_done.store(true, Ordering::SeqCst);
        let (more, end) = reader.await.unwrap();
        found.extend(more);
        cursor = end;
        harness.reopen().await;
    }
    let key = |(mail, identity): (String, String)| {
        (format!("{:?}", waypost::domain::id::MailKey::of("mail", &mail)), identity)
    };
    assert_eq!(by_mail(found), by_mail(written.into_iter().map(key).collect()));
}

fn holds<H: Harness>(cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let config = Config { cases, max_shrink_iters: 20, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&run(), |run| {
        runtime.block_on(none_is_skipped::<H>(run));
        Ok(())
    });
    result.unwrap();
}

#[test]
fn none_is_skipped_embedded() {
    holds::<OnDisk>(24);
}

#[test]
fn none_is_skipped_on_redis() {
    holds::<OnRedis>(12);
}
