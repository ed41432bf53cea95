//! What shows only from within: a commit that fails, and rows that nobody sees any more.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::value::RawValue;
use waypost_providers::{Kind, Request};

use super::layers::Row;
use super::range::Span;
use super::spaces::{Space, Spaces};
use super::*;
use crate::clock::SystemClock;
use crate::domain::delivery::{Attempt, Class, EndReason, ErrorClass, Split};
use crate::domain::id::{MailKey, RequestId, hash128};
use crate::domain::plan::{Condition, Copies, Fingerprint, PlannedDelivery, RawRequest, Unit};
use crate::domain::state::State;
use crate::store::{Fate, Ingested, Then};

mod address_key;
mod ids;
mod log;
#[cfg(target_os = "linux")]
mod reads;
mod replays;
mod retention;
mod search;
mod syncs;
mod trees;

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
    assert!(second.contains(&*dir.path().to_string_lossy()) && second.contains("stop that process"), "{second}");
}

/// How many rows a space has.
fn count(spaces: &Spaces, space: Space) -> usize {
    spaces.range(&Span::from(space, [])).count()
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

pub(super) fn many(events: u32) -> Ingest {
    let unit = |number: u32| {
        let id = EventId::of("resend", &number.to_string());
        let (kind, mail, json) = (Kind::Opened.into(), MailKey::of("mail", &number.to_string()), "{}".into());
        let event = Arc::new(StoredEvent {
            id: id.clone(),
            kind,
            created_at: String::new(),
            data: RawValue::from_string("{}".into()).unwrap(),
            source: Some("resend".into()),
            received_at: Timestamp::UNIX_EPOCH,
            request_id: Some(RequestId::of("resend", b"{}")),
            mail,
            possible_duplicate_of: None,
            endpoints: vec![],
        });
        Unit { id, kind, mail, fingerprint: None, event, json, deliveries: vec![], condition: None, suppresses: None }
    };
    let (id, source, received_at) = (RequestId::of("resend", b"{}"), "resend".into(), Timestamp::UNIX_EPOCH);
    let request = Request { source, received_at, headers: [("a", "b")].into_iter().collect(), body: "{}".into() };
    let raw = RawRequest { id, provider: "resend", request, unmapped: 0, unreadable: 0 };
    let (guards, generation, units, states) = (vec![], Generation(0), (0..events).map(unit).collect(), vec![]);
    Ingest { guards, raw: Some(raw), generation, units, states }
}

/// Twelve steps' worth: at one step a second it would take longer than the test waits.
#[tokio::test]
async fn what_expires_in_an_idle_store_is_removed_without_a_pause_between_steps() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Set::new();
    let store = Embedded::open(dir.path(), Arc::clone(&clock) as _, LIFETIMES).unwrap();
    store.ingest(many(12_000)).await.unwrap();
    let spaces = store.shared.spaces().unwrap();
    let left = || [Space::Events, Space::Requests, Space::Expiry].map(|at| count(&spaces, at));
    assert_eq!(left(), [12_000, 1, 2]);
    until(|| spaces.ids.counts() == [0, 0, 12_001]).await;
    clock.advance(DAY);
    until(|| left() == [0; 3]).await;
    until(|| spaces.ids.counts() == [0; 3]).await;
    // What comes later expires too, though the sweep goes on from where it was.
    store.ingest(many(1)).await.unwrap();
    clock.advance(DAY);
    until(|| left() == [0; 3]).await;
}

/// A request with an unmapped part, and nothing else.
fn incomplete(body: &'static str) -> Ingest {
    let mut ingest = many(0);
    ingest.raw.as_mut().unwrap().id = RequestId::of("resend", body.as_bytes());
    ingest.raw.as_mut().unwrap().unmapped = 1;
    ingest
}

#[tokio::test]
async fn requests_of_one_batch_are_removed_each_in_its_own_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Set::new();
    let lifetimes = Lifetimes { events: DAY * 3, ..LIFETIMES };
    let store = Embedded::open(dir.path(), Arc::clone(&clock) as _, lifetimes).unwrap();
    let calls = [many(0), incomplete("a"), incomplete("b")].map(|ingest| store.ingest(ingest));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    let spaces = store.shared.spaces().unwrap();
    let left = || [Space::Requests, Space::Expiry].map(|at| count(&spaces, at));
    assert_eq!(left()[0], 3);
    clock.advance(DAY);
    until(|| left() == [2, 1] || left() == [2, 2]).await;
    assert!(store.request(&incomplete("a").raw.unwrap().id).await.unwrap().is_some());
    assert!(store.request(&many(0).raw.unwrap().id).await.unwrap().is_none());
    // One that comes again after its time is a new one, and the old one's time is not its own.
    store.ingest(many(0)).await.unwrap();
    clock.advance(DAY * 2);
    until(|| left() == [0; 2]).await;
}

fn attempt() -> Attempt {
    Attempt {
        number: 1,
        started_at: Timestamp::UNIX_EPOCH,
        duration_ms: 7,
        split: Split { connect_ms: Some(5), ..Split::default() },
        sent: "a".into(),
        status: None,
        error: Some(ErrorClass::Proxy),
        answer: Some("no".into()),
        truncated: false,
    }
}

#[tokio::test]
async fn what_a_row_of_a_delivery_says_stays_where_it_is() {
    use super::delivery::{Ended, Made, Row};
    let ended = Ended {
        event: [1; 16],
        endpoint: "wh_a".into(),
        replay: None,
        status: Status::Canceled,
        reason: Some(EndReason::Deleted),
        begun: 2,
        begun_at: None,
        ended_at: 3,
        expires: 4,
        attempts: vec![Made::new(&attempt(), 5, 6)],
    };
    // An enum's value is its place in it: a value that is added goes last.
    let packed = hex::encode(rows::pack(&Row::Ended(ended)).unwrap());
    assert_eq!(packed, format!("01{}0477685f6100040104020003040101000700010500000001070506", "01".repeat(16)));
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
    let want = Want { endpoint: "wh_a".into(), limit: 1, replays: 1, hold: DAY * 2, rest: None };
    let lease = store.lease(&[want]).await.unwrap().leases.remove(0);
    let spaces = store.shared.spaces().unwrap();
    let left = || {
        [Space::Events, Space::Expiry, Space::Waiting, Space::Deliveries, Space::ByStatus].map(|at| count(&spaces, at))
    };
    clock.advance(DAY);
    let then = Then::End(Status::Failed, Some(EndReason::Expired));
    let finished = |lease| Finished { lease, attempt: None, then, lane: None };
    assert_eq!(store.finish(vec![finished(lease)]).await.unwrap(), []);
    // Its own entry stays when that of its event is worked off.
    until(|| left() == [0, 1, 1, 1, 1]).await;
    clock.advance(DAY);
    until(|| left() == [0, 0, 1, 0, 0]).await;
    let lease = take(&store, "wh_b").await.remove(0);
    assert_eq!(store.finish(vec![finished(lease)]).await.unwrap(), []);
    assert_eq!(left(), [0, 1, 0, 1, 1]);
    clock.advance(DAY);
    until(|| left() == [0; 5]).await;
}

fn to(identity: &str, endpoint: &str) -> Ingest {
    let mut ingest = many(1);
    let unit = &mut ingest.units[0];
    unit.id = EventId::of("resend", identity);
    unit.deliveries = vec![PlannedDelivery { endpoint: endpoint.into(), class: Class::Normal, skipped: false }];
    ingest
}

async fn take(store: &Embedded, endpoint: &str) -> Vec<crate::store::Lease> {
    let want = Want { endpoint: endpoint.into(), limit: 10, replays: 10, hold: DAY, rest: None };
    store.lease(&[want]).await.unwrap().leases
}

/// Overwrites the first rows of a space.
fn break_rows(store: &Embedded, space: Space, len: usize) {
    let spaces = store.shared.spaces().unwrap();
    let keys = spaces.range(&Span::from(space, [])).take(len).map(|row| row.unwrap().0);
    let row = |key| Row { space, key, value: Some("no".into()), is_new: false };
    spaces.commit(keys.map(row).collect::<Vec<_>>().into()).unwrap();
}

#[tokio::test]
async fn an_unreadable_pending_row_keeps_the_store_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    // All of one mail, so that those to one endpoint are a chain.
    for (identity, endpoint) in [("a", "wh_a"), ("b", "wh_a"), ("c", "wh_a"), ("d", "wh_b")] {
        store.ingest(to(identity, endpoint)).await.unwrap();
    }
    break_rows(&store, Space::Waiting, 1);
    drop(store);
    let store = open(dir.path()).unwrap();
    let all = PageQuery { cursor: None, limit: 10 };
    assert_eq!(store.deliveries(Status::Pending, &all).await.unwrap().items.len(), 3);
    let leases = take(&store, "wh_a").await;
    assert!(matches!(&leases[..], [lease] if lease.event_id == EventId::of("resend", "b")), "{leases:?}");
    // Again, with the engine open: of what is due.
    let finished = |lease, then| Finished { lease, attempt: None, then, lane: None };
    let again = leases.into_iter().map(|lease| finished(lease, Then::Retry(Duration::ZERO))).collect();
    assert_eq!(store.finish(again).await.unwrap(), []);
    break_rows(&store, Space::Deliveries, 1);
    let wants = ["wh_a", "wh_b"].map(|endpoint| Want {
        endpoint: endpoint.into(),
        limit: 9,
        replays: 9,
        hold: DAY,
        rest: None,
    });
    let leases = store.lease(&wants).await.unwrap().leases;
    assert!(matches!(&leases[..], [lease] if lease.endpoint == "wh_b".into()), "{leases:?}");
    assert_eq!(store.deliveries(Status::Pending, &all).await.unwrap().items.len(), 2);
    let mut leases = take(&store, "wh_a").await;
    assert!(matches!(&leases[..], [lease] if lease.event_id == EventId::of("resend", "c")), "{leases:?}");
    // And of what is under way, where only the row knows what was tried.
    let attempt = attempt();
    let tried = |lease| Finished { attempt: Some(attempt.clone()), ..finished(lease, Then::Retry(Duration::ZERO)) };
    assert_eq!(store.finish(vec![tried(leases.remove(0))]).await.unwrap(), []);
    let mut leases = take(&store, "wh_a").await;
    break_rows(&store, Space::Deliveries, usize::MAX);
    assert_eq!(store.finish(vec![tried(leases.remove(0))]).await.unwrap().len(), 1);
    store.ingest(to("e", "wh_a")).await.unwrap();
    assert_eq!(take(&store, "wh_a").await.len(), 1);
    assert_eq!(store.due(Shards::ALL).await.unwrap().lanes, []);
    drop(store);
    assert_eq!(take(&open(dir.path()).unwrap(), "wh_a").await.len(), 0);
}

#[tokio::test]
async fn what_meets_something_unreadable_fails_alone_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let known = || {
        let mut ingest = to("known", "wh_a");
        ingest.units[0].condition = Some(Condition { entity: [1; 16], state: State { at_ms: 0, holds: true } });
        ingest
    };
    store.ingest(known()).await.unwrap();
    break_rows(&store, Space::States, 1);
    let mut ingests = (0..60).map(|number| {
        let mut ingest = to(&format!("new {number}"), "wh_b");
        ingest.units[0].mail = MailKey::of("mail", &number.to_string());
        if number % 3 == 0 {
            ingest.units[0].deliveries[0].endpoint = "wh_c".into();
            ingest.units.extend(known().units);
            ingest.units[1].id = EventId::of("resend", "its state is looked for");
        }
        ingest
    });
    let calls = [1, 1, 1, 20, 7, 30].map(|len| store.ingest_all(ingests.by_ref().take(len).collect()));
    let answers = futures_util::future::join_all(calls).await.concat();
    assert_eq!(answers.len(), 60);
    for (number, answer) in answers.into_iter().enumerate() {
        match number % 3 {
            0 => assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{number}: {answer:?}"),
            _ => assert_eq!(answer.unwrap(), Committed::Stored(vec![Fate::New])),
        }
    }
    assert!(store.event(&EventId::of("resend", "new 0")).await.unwrap().is_none());
    assert_eq!(store.due(Shards::ALL).await.unwrap().lanes, ["wh_a".into(), "wh_b".into()]);
    let (mut taken, mut some) = (0, 1);
    while some > 0 {
        some = take(&store, "wh_b").await.len();
        taken += some;
    }
    assert_eq!((taken, take(&store, "wh_c").await.len()), (40, 0));
    assert_eq!(store.ingest(to("new 0", "wh_c")).await.unwrap(), Ingested::Stored { new: 1, repeated: 0 });
}
