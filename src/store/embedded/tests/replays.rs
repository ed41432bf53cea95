//! Replays next to what cannot be read; and what is reprocessed, removed in its own time.

use super::super::ids::Kind as IdKind;
use super::*;
use crate::domain::id::ReplayId;
use crate::domain::job::{Job, Task};
use crate::domain::replay::Replay;
use crate::domain::reprocess::{Filter, Outcome};
use crate::store::{Replayed, Replays, Requests};

fn both(replay: u8) -> Vec<Replay> {
    let one = |name| {
        let Unit { id, mail, .. } = to(name, "wh_a").units.remove(0);
        Replay { replay: ReplayId::from_bits([replay; 16]), event_id: id, mail, endpoint: "wh_a".into() }
    };
    ["a", "b"].map(one).into()
}

#[tokio::test]
async fn what_cannot_be_read_is_passed_over_and_the_rest_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for name in ["a", "b"] {
        store.ingest(to(name, "wh_a")).await.unwrap();
    }
    assert_eq!(store.replay(both(1)).await.unwrap(), [Replayed::Made, Replayed::Made]);
    break_rows(&store, Space::Replays, 1);
    assert_eq!(store.replay(both(2)).await.unwrap(), [Replayed::Gone, Replayed::Made]);
    assert_eq!(store.replay(both(2)).await.unwrap(), [Replayed::Gone, Replayed::Known]);
    assert_eq!(store.pending_of(&ReplayId::from_bits([2; 16])).await.unwrap(), 1);
}

#[tokio::test]
async fn an_unreadable_job_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let now = SystemClock::new().now();
    let jobs = [1, 2, 3].map(|number| {
        let filter = Filter { since: None, until: now, source: None, status: Vec::new() };
        let task = Task::Reprocess { filter, outcome: Outcome::default() };
        Job::new(ReplayId::from_bits([number; 16]), task, false, now)
    });
    for job in &jobs {
        assert!(store.keep_job(job).await.unwrap());
    }
    let key = [b"j".as_slice(), &jobs[1].id.bits().unwrap()].concat().into();
    let row = Row { space: Space::Jobs, key, value: Some("no".into()), is_new: false };
    store.shared.spaces().unwrap().commit(vec![row].into()).unwrap();
    let expected = [jobs[2].clone(), jobs[0].clone()];
    assert_eq!(store.jobs(&PageQuery { cursor: None, limit: 10 }).await.unwrap().items, expected);
    assert_eq!(store.active_jobs().await.unwrap(), expected);
    assert!(matches!(store.job(&jobs[1].id).await, Err(StoreError::Corrupt(_))));
}

/// As a request says it that was received then.
fn again(mut ingest: Ingest, raw: &Ingest) -> Ingest {
    ingest.raw.clone_from(&raw.raw);
    ingest.raw.as_mut().unwrap().unmapped = 0;
    ingest
}

#[tokio::test]
async fn what_is_reprocessed_is_removed_when_its_request_is_and_nothing_else_with_it() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Set::new());
    let store = Embedded::open(dir.path(), Arc::clone(&clock) as _, LIFETIMES).unwrap();
    let spaces = store.shared.spaces().unwrap();
    let left = || [Space::Events, Space::Requests, Space::Incomplete].map(|at| count(&spaces, at));
    let mut kept = incomplete("a");
    kept.raw.as_mut().unwrap().request.received_at = clock.now();
    store.ingest(kept.clone()).await.unwrap();
    store.ingest(incomplete("b")).await.unwrap();
    clock.advance(DAY / 2);
    // Before and after what is live, in one batch or several.
    let live = async |name| store.ingest(again(to(name, "wh_a"), &incomplete("live"))).await.unwrap();
    let late = async |name| Ingested::from(store.reprocess(again(to(name, "wh_b"), &kept)).await.unwrap().unwrap());
    let new = Ingested::Stored { new: 1, repeated: 0 };
    assert_eq!(tokio::join!(late("1"), live("2"), late("3"), live("4")), (new, new, new, new));
    assert_eq!((left()[0], left()[2]), (4, 1));
    clock.advance(DAY / 2);
    until(|| (left()[0], left()[2]) == (2, 0)).await;
    let stays = |name| spaces.ids.get(IdKind::Event, &to(name, "").units[0].id.bits().unwrap()).unwrap().is_some();
    assert_eq!(["1", "2", "3", "4"].map(stays), [false, true, false, true]);
    clock.advance(DAY / 2);
    until(|| left() == [0; 3]).await;
}

/// So that a batch of such calls is no larger than one of what comes in.
#[tokio::test]
async fn what_is_reprocessed_counts_with_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    let (calls, mut asked) = mpsc::channel(1);
    store.calls = Some(calls);
    let _waits = tokio::spawn(async move { store.reprocess(again(many(3), &incomplete("a body"))).await });
    let bytes = soon(asked.recv()).await.unwrap().bytes();
    assert_eq!(bytes, incomplete("a body").raw.unwrap().request.body.len() + 3 * "{}".len());
}
