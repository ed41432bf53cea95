//! Who waits for a sync, and what becomes of what nobody waits for.

use super::super::batch::{Call, decide};
use super::*;

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
    *clock.0.lock().unwrap() += Duration::from_millis(100);
    until(|| !spaces.is_unsynced()).await;
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
    // All that was written before and after it is on the disk, and nothing of it.
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
