//! Who waits for a sync, and what becomes of what nobody waits for.

use super::super::batch::{Call, decide};
use super::super::ids::Kind;
use super::super::open::{LATE_US, UNSYNCED_MAX, wait};
use super::super::sweep::SWEEP_EVERY;
use super::*;
use crate::store::Erasures;

const END: Then = Then::End(Status::Delivered, None);

/// A clock whose time passes when it is told to, so that nothing is synced, and no turn of the log ends, for its time.
struct Stands(Mutex<Duration>);

impl Clock for Stands {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

fn stands(dir: &Path) -> (Embedded, Arc<Stands>) {
    let clock = Arc::new(Stands(Mutex::default()));
    (Embedded::open(dir, Arc::clone(&clock) as _, LIFETIMES).unwrap(), clock)
}

async fn deliver(store: &Embedded) {
    let lease = take(store, "wh_a").await.remove(0);
    assert_eq!(lease.number, 1);
    assert_eq!(store.finish(vec![Finished { lease, attempt: None, then: END, lane: None }]).await.unwrap(), []);
}

/// Hands the calls to the writer, one after the other, so that they are in one batch.
async fn together(store: &Embedded, calls: Vec<Call>) {
    let (started, is_started) = oneshot::channel();
    let (go, gone) = std::sync::mpsc::channel();
    let (answer, answered) = oneshot::channel();
    let hold = decide(answer, move |_, _, _| {
        let _ = started.send(());
        gone.recv().map_err(|_| StoreError::Unavailable("the test has gone".into()))
    });
    let queue = store.calls.as_ref().unwrap();
    assert!(queue.send(hold).await.is_ok());
    is_started.await.unwrap();
    for call in calls {
        assert!(queue.send(call).await.is_ok());
    }
    go.send(()).unwrap();
    answered.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lease_and_an_end_do_not_wait_for_the_sync_of_what_comes_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.ingest(to("a", "wh_a")).await.unwrap();
    store.ingest(to("b", "wh_b")).await.unwrap();
    let lease = take(&store, "wh_a").await.remove(0);
    let spaces = store.shared.spaces().unwrap();
    spaces.fail_sync_next.store(true, Ordering::SeqCst);
    let ((answer, ingested), (taken, leased), (ended, finished)) =
        (oneshot::channel(), oneshot::channel(), oneshot::channel());
    let want = Want { endpoint: "wh_b".into(), limit: 2, replays: 0, hold: DAY, rest: None };
    let arrival = store.arrive(to("c", "wh_b")).await;
    let end = Finished { lease, attempt: None, then: END, lane: None };
    let calls =
        vec![Call::Ingest(vec![arrival], answer), Call::Lease(vec![want], taken), Call::Finish(vec![end], ended)];
    together(&store, calls).await;
    let failed = ingested.await.unwrap();
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "it is not synced: {:?}", failed.err());
    assert_eq!(finished.await.unwrap().unwrap(), []);
    let leases = leased.await.unwrap().unwrap().leased.leases;
    assert!(matches!(&leases[..], [lease] if lease.event_id == EventId::of("resend", "b")), "{leases:?}");
    // They count in the engine that is opened again.
    drop(spaces);
    soon(async {
        while store.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let finished = leases.into_iter().map(|lease| Finished { lease, attempt: None, then: END, lane: None });
    assert_eq!(store.finish(finished.collect()).await.unwrap(), []);
}

#[tokio::test]
async fn what_nobody_waits_for_is_synced_by_itself_and_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let (store, clock) = stands(dir.path());
    store.ingest(to("a", "wh_a")).await.unwrap();
    let spaces = store.shared.spaces().unwrap();
    deliver(&store).await;
    store.ready().await.unwrap();
    assert!(spaces.is_unsynced(), "it was waited for");
    *clock.0.lock().unwrap() += UNSYNCED_MAX;
    until(|| !spaces.is_unsynced()).await;
}

#[test]
fn who_waits_for_calls_wakes_in_time_to_sync() {
    let ms = Duration::from_millis;
    let waits = |unsynced, elapsed| wait(false, unsynced, ms(elapsed));
    assert_eq!([waits(Some(ms(10)), 50), waits(Some(ms(10)), 110), waits(Some(ms(10)), 999)], [ms(60), ms(0), ms(0)]);
    assert_eq!((waits(None, 50), wait(true, None, ms(50))), (SWEEP_EVERY, ms(0)));
}

#[tokio::test]
async fn what_was_written_last_is_synced_when_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _clock) = stands(dir.path());
    store.ingest(to("a", "wh_a")).await.unwrap();
    let spaces = store.shared.spaces().unwrap();
    deliver(&store).await;
    assert!(spaces.is_unsynced());
    drop(store);
    assert!(!spaces.is_unsynced());
}

/// An event that goes to both endpoints, read for the first of them; and what is leased for the second, which is not read.
async fn read_for_one(store: &Embedded) -> Vec<Event> {
    let lease = take(store, "wh_a").await.remove(0);
    assert!(lease.event.is_some());
    let want = Want { endpoint: "wh_b".into(), limit: 1, replays: 1, hold: DAY, rest: None };
    store.ask(|answer| Call::Lease(vec![want], answer)).await.unwrap().events
}

#[tokio::test]
async fn an_event_is_read_once_for_several_endpoints_and_forgotten_when_one_is_erased() {
    let dir = tempfile::tempdir().unwrap();
    let mut ingest = to("a", "wh_a");
    ingest.units[0].deliveries.extend(to("a", "wh_b").units.remove(0).deliveries);
    let unit = &mut ingest.units[0];
    let event = StoredEvent { id: unit.id.clone(), ..(*unit.event).clone() };
    unit.json = encode(&event).unwrap().into();
    open(dir.path()).unwrap().ingest(ingest).await.unwrap();
    // What was committed last is no longer in memory.
    let store = open(dir.path()).unwrap();
    let events = read_for_one(&store).await;
    let is_known = || {
        let mut events: Vec<_> = events
            .iter()
            .map(|event| match event {
                Event::Stored(seq) => Event::Stored(*seq),
                Event::Here(_) | Event::Expired => panic!("it was read"),
            })
            .collect();
        store.shared.read_last.look(&mut events);
        matches!(events[..], [Event::Here(_)])
    };
    assert!(is_known());
    store.erase_event(&event).await.unwrap();
    assert!(!is_known());
}

#[tokio::test]
async fn an_end_that_the_disk_never_got_is_forgotten_and_the_delivery_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _clock) = stands(dir.path());
    store.ingest(to("a", "wh_a")).await.unwrap();
    let synced = usize::try_from(store.shared.spaces().unwrap().turn_len().unwrap()).unwrap();
    deliver(&store).await;
    assert!(store.shared.spaces().unwrap().is_unsynced() && take(&store, "wh_a").await.is_empty());
    drop(store);
    // Nothing is on the disk that was written since the last sync.
    let path = dir.path().join("log.1");
    let mut log = std::fs::read(&path).unwrap();
    assert!(log[synced..].iter().any(|byte| *byte != 0));
    log[synced..].fill(0);
    std::fs::write(&path, log).unwrap();
    let (store, _clock) = stands(dir.path());
    deliver(&store).await;
    drop(store);
    assert!(take(&stands(dir.path()).0, "wh_a").await.is_empty());
}

/// A store with a lane that is behind, and a sync that does not end before what is answered is dropped.
fn behind(store: &Embedded) -> impl Drop + use<> {
    std::thread::sleep(Duration::from_micros(2 * LATE_US));
    let gate = Arc::clone(&store.shared.spaces().unwrap().sync_gate);
    let (held, is_held) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let holds = std::thread::spawn(move || {
        let _held = gate.lock();
        held.send(()).unwrap();
        let _ = released.recv();
    });
    is_held.recv().unwrap();
    Released(Some(release), Some(holds))
}

struct Released(Option<std::sync::mpsc::Sender<()>>, Option<JoinHandle<()>>);

impl Drop for Released {
    fn drop(&mut self) {
        drop(self.0.take());
        self.1.take().unwrap().join().unwrap();
    }
}

type Ingested = oneshot::Receiver<Result<Vec<Result<Committed>>>>;

/// Hands an event to the writer, when something may have been leased.
async fn send(store: &Embedded, identity: &str, endpoint: &str) -> Ingested {
    store.ready().await.unwrap();
    let (answer, answered) = oneshot::channel();
    let arrival = store.arrive(to(identity, endpoint)).await;
    assert!(store.calls.as_ref().unwrap().send(Call::Ingest(vec![arrival], answer)).await.is_ok());
    answered
}

/// The same, written and not synced.
async fn begin(store: &Embedded, identity: &str, endpoint: &str) -> Ingested {
    let answered = send(store, identity, endpoint).await;
    until(|| store.shared.spaces().unwrap().is_unsynced()).await;
    answered
}

fn is_new(answer: Result<Vec<Result<Committed>>>) -> bool {
    matches!(&answer.unwrap()[..], [Ok(Committed::Stored(fates))] if fates == &[Fate::New])
}

#[tokio::test]
async fn where_a_lane_is_behind_leases_and_ends_go_on_while_what_comes_in_is_synced_and_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.ingest(to("a", "wh_a")).await.unwrap();
    let synced = behind(&store);
    let mut answered = begin(&store, "b", "wh_a").await;
    // Of the first alone.
    deliver(&store).await;
    assert!(take(&store, "wh_a").await.is_empty());
    let bits = EventId::of("resend", "b").bits();
    let is_seen = || store.read(move |view| Ok(view.place(Kind::Event, bits)?.is_some()));
    assert!(!is_seen().await.unwrap());
    assert!(answered.try_recv().is_err(), "it is not synced");
    drop(synced);
    assert!(is_new(answered.await.unwrap()));
    assert!(is_seen().await.unwrap());
    deliver(&store).await;
    // As it is in the log.
    drop(store);
    assert!(take(&open(dir.path()).unwrap(), "wh_a").await.is_empty());
}

#[tokio::test]
async fn what_comes_in_is_synced_by_the_writer_where_no_lane_is_behind_or_nothing_is_leased() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let synced = behind(&store);
    assert!(is_new(soon(send(&store, "a", "wh_a").await).await.unwrap()));
    drop(synced);
    let _synced = behind(&store);
    soon(store.ingest(to("b", "wh_b"))).await.unwrap();
}

#[tokio::test]
async fn what_takes_the_place_of_a_pending_delivery_is_synced_by_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let lifetimes = Lifetimes { events: Duration::from_millis(1), ..LIFETIMES };
    let store = Embedded::open(dir.path(), Arc::new(SystemClock::new()), lifetimes).unwrap();
    store.ingest(to("a", "wh_a")).await.unwrap();
    let _synced = behind(&store);
    assert!(is_new(soon(send(&store, "a", "wh_a").await).await.unwrap()));
    assert_eq!(take(&store, "wh_a").await.len(), 1);
}

#[tokio::test]
async fn a_sync_that_fails_while_a_lane_is_behind_fails_what_came_in_and_no_lease_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.ingest(to("a", "wh_a")).await.unwrap();
    let synced = behind(&store);
    let answered = begin(&store, "b", "wh_b").await;
    let lease = take(&store, "wh_a").await.remove(0);
    store.shared.spaces().unwrap().fail_sync_next.store(true, Ordering::SeqCst);
    drop(synced);
    assert!(matches!(answered.await.unwrap(), Err(StoreError::Unavailable(_))));
    soon(async { while store.ready().await.is_err() {} }).await;
    // The provider sends it again.
    store.ingest(to("b", "wh_b")).await.unwrap();
    assert_eq!(store.finish(vec![Finished { lease, attempt: None, then: END, lane: None }]).await.unwrap(), []);
    assert_eq!((take(&store, "wh_a").await.len(), take(&store, "wh_b").await.len()), (0, 1));
}

#[tokio::test]
async fn a_lease_that_fails_while_something_is_synced_fails_that_too_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.ingest(to("a", "wh_a")).await.unwrap();
    let synced = behind(&store);
    let answered = begin(&store, "b", "wh_b").await;
    store.shared.spaces().unwrap().fail_next.store(true, Ordering::SeqCst);
    let want = Want { endpoint: "wh_a".into(), limit: 1, replays: 0, hold: DAY, rest: None };
    assert!(store.lease(&[want]).await.is_err());
    assert!(matches!(answered.await.unwrap(), Err(StoreError::Unavailable(_))));
    drop(synced);
    soon(async { while store.ready().await.is_err() {} }).await;
    store.ingest(to("b", "wh_b")).await.unwrap();
    assert_eq!((take(&store, "wh_a").await.len(), take(&store, "wh_b").await.len()), (1, 1));
}

#[tokio::test]
async fn what_is_being_synced_when_the_store_is_closed_is_there_and_so_is_what_waited_for_that() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.ingest(to("a", "wh_a")).await.unwrap();
    let synced = behind(&store);
    let first = begin(&store, "b", "wh_b").await;
    let second = send(&store, "c", "wh_c").await;
    let closing = tokio::task::spawn_blocking(move || drop(store));
    drop(synced);
    closing.await.unwrap();
    assert!(is_new(first.await.unwrap()) && is_new(second.await.unwrap()));
    let store = open(dir.path()).unwrap();
    for endpoint in ["wh_a", "wh_b", "wh_c"] {
        assert_eq!(take(&store, endpoint).await.len(), 1, "{endpoint}");
    }
}
