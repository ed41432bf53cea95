//! Replays next to what cannot be read.

use super::*;
use crate::domain::id::ReplayId;
use crate::domain::replay::Replay;
use crate::store::{Replayed, Replays};

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
