//! What shows only from within: a commit that fails, and rows that nobody sees any more.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use waypost_providers::{Kind, Request};

use super::spaces::Space;
use super::*;
use crate::clock::SystemClock;
use crate::domain::delivery::{Class, EndReason};
use crate::domain::id::{MailKey, RequestId};
use crate::domain::plan::{PlannedDelivery, RawRequest, Unit};
use crate::store::Then;

const DAY: Duration = Duration::from_secs(24 * 3600);
const LIFETIMES: Lifetimes = Lifetimes { events: DAY, requests: DAY, tokens: DAY };

fn open(dir: &Path) -> Result<Embedded> {
    Embedded::open(dir, Arc::new(SystemClock::new()), LIFETIMES)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.unwrap()
}

async fn until(holds: impl Fn() -> bool) {
    soon(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_failed_commit_is_refused_and_the_engine_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let first = store.change_endpoints(Generation(0), &[]).await.unwrap().unwrap();
    store.shared.spaces().unwrap().fail_next.store(true, Ordering::SeqCst);
    let failed = store.change_endpoints(first, &[]).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    // Nobody calls the writer: it opens the engine by itself.
    let generation = soon(async {
        loop {
            match store.endpoints().await {
                Ok(endpoints) => return endpoints.generation,
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(generation.await, first);
    store.ready().await.unwrap();
    assert!(store.change_endpoints(first, &[]).await.unwrap().unwrap() > first);
}

/// The files that the engine reads when it is opened, with what tells a new file from an old one, and their bytes.
fn journals(dir: &Path) -> Vec<(PathBuf, u64, Vec<u8>)> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    paths.map(|path| (path.clone(), path.metadata().unwrap().ino(), std::fs::read(&path).unwrap())).collect()
}

#[tokio::test]
async fn what_is_trusted_after_a_failed_sync_was_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.ingest(many(1)).await.unwrap();
    let before = journals(dir.path());
    // The batch reached the file, and its sync failed: the disk may never get it.
    store.shared.spaces().unwrap().fail_sync_next.store(true, Ordering::SeqCst);
    assert!(matches!(store.ingest(many(2)).await, Err(StoreError::Unavailable(_))));
    soon(async {
        while store.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(store.ingest(many(2)).await.unwrap(), Ingested::Stored { new: 0, repeated: 2 });
    let after = journals(dir.path());
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before[0].1, after[0].1, "the repeat was answered from a file that nobody wrote since");
}

#[tokio::test]
async fn an_open_writes_each_journal_anew_without_changing_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.ingest(many(100)).await.unwrap();
    let before = journals(dir.path());
    // Whoever is refused the directory leaves it alone.
    assert!(open(dir.path()).is_err());
    assert_eq!(journals(dir.path()), before);
    drop(store);
    journal::write_anew(dir.path()).unwrap();
    let after = journals(dir.path());
    assert!(before.len() == after.len() && before[0].1 != after[0].1 && before[0].2 == after[0].2);
    assert_eq!(open(dir.path()).unwrap().ingest(many(100)).await.unwrap(), Ingested::Stored { new: 0, repeated: 100 });
}

#[tokio::test]
async fn a_second_opener_is_told_which_directory_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path()).unwrap();
    let second = open(dir.path()).err().unwrap().to_string();
    assert!(second.contains(&dir.path().display().to_string()), "{second}");
    assert!(second.contains("stop that process"), "{second}");
}

/// A wall clock that is set, in microseconds; time goes on all the same.
struct Set(AtomicU64, SystemClock);

impl Set {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_800_000_000_000_000), SystemClock::new()))
    }

    fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_micros()).unwrap() + 1, Ordering::SeqCst);
    }
}

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(i64::try_from(self.0.load(Ordering::SeqCst)).unwrap()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.1.elapsed()
    }
}

fn many(events: u32) -> Ingest {
    let unit = |number: u32| {
        let id = EventId::of("resend", &number.to_string());
        let mail = MailKey(number.into());
        Unit { id, kind: Kind::Opened, mail, json: "{}".into(), deliveries: vec![], condition: None }
    };
    let (source, received_at) = ("resend".into(), Timestamp::UNIX_EPOCH);
    let request = Request { source, received_at, headers: [("a", "b")].into_iter().collect(), body: "{}".into() };
    let raw = RawRequest { id: RequestId::of("resend", b"{}"), request, unmapped: 0, unreadable: 0 };
    Ingest { guard: None, raw, generation: Generation(0), units: (0..events).map(unit).collect() }
}

/// Twelve steps' worth: at one step a second it would take longer than the test waits.
#[tokio::test]
async fn what_expires_in_an_idle_store_is_removed_without_a_pause_between_steps() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Set::new();
    let store = Embedded::open(dir.path(), Arc::clone(&clock) as _, LIFETIMES).unwrap();
    store.ingest(many(4_000)).await.unwrap();
    let spaces = store.shared.spaces().unwrap();
    let left = || [Space::Events, Space::Feed, Space::Requests, Space::Expiry].map(|at| spaces.of(at).iter().count());
    assert_eq!(left(), [4_000, 4_000, 1, 4_001]);
    clock.advance(DAY);
    until(|| left() == [0; 4]).await;
    // What comes later expires too, though the sweep goes on from where it was.
    store.ingest(many(1)).await.unwrap();
    clock.advance(DAY);
    until(|| left() == [0; 4]).await;
}

#[tokio::test]
async fn an_end_after_its_event_expired_is_kept_for_a_lifetime_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Set::new();
    let store = Embedded::open(dir.path(), Arc::clone(&clock) as _, LIFETIMES).unwrap();
    let mut ingest = many(1);
    let planned = |endpoint: &str| PlannedDelivery { endpoint: endpoint.into(), class: Class::Normal, skipped: false };
    ingest.units[0].deliveries = vec![planned("wh_a"), planned("wh_b")];
    store.ingest(ingest).await.unwrap();
    let want = Want { endpoint: "wh_a".into(), limit: 1, hold: DAY * 2, rest: None };
    let lease = store.lease(&[want]).await.unwrap().leases.remove(0);
    let spaces = store.shared.spaces().unwrap();
    let left = || {
        [Space::Events, Space::Expiry, Space::Pending, Space::Ended, Space::ByStatus]
            .map(|at| spaces.of(at).iter().count())
    };
    clock.advance(DAY);
    let then = Then::End(Status::Failed, Some(EndReason::Expired));
    let finished = Finished { lease, attempt: None, then, lane: None };
    assert_eq!(store.finish(vec![finished]).await.unwrap(), []);
    // Its own entry stays when that of its event is worked off.
    until(|| left() == [0, 1, 1, 1, 1]).await;
    clock.advance(DAY);
    until(|| left() == [0, 0, 1, 0, 0]).await;
}
