//! Where words lead: in memory only, while that is written, and once it has been.

use fjall::AbstractTree;

use super::*;
use crate::domain::address::Address;
use crate::domain::search::Search;
use crate::store::{Page, Searched, Searches};

/// Enough to be written in one go.
const MANY: u32 = 40;

/// Events about nora and about somebody each, and each about a mail.
fn named(name: &str) -> Ingest {
    let mut ingest = many(MANY);
    ingest.raw.as_mut().unwrap().id = RequestId::of("resend", name.as_bytes());
    for (number, unit) in ingest.units.iter_mut().enumerate() {
        unit.id = EventId::of("resend", &format!("{name} {number}"));
        let data = format!(r#"{{"id":"{name}","recipients":["nora@a.example","{name}{number}@a.example"]}}"#);
        let event =
            StoredEvent { id: unit.id.clone(), data: RawValue::from_string(data).unwrap(), ..(*unit.event).clone() };
        unit.json = encode(&event).unwrap().into();
        unit.event = Arc::new(event);
    }
    ingest
}

fn to(recipient: &str) -> Search {
    Search { recipient: Some(Address::parse(recipient).unwrap()), ..Search::default() }
}

async fn found(store: &Embedded, recipient: &str) -> usize {
    let Searched { items, next } =
        store.search(&to(recipient), &PageQuery { cursor: None, limit: 1_000 }).await.unwrap();
    assert_eq!(next, None);
    let mut ids: Vec<_> = items.into_iter().map(|event| event.id).collect();
    let len = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), len, "each once");
    len
}

async fn put(store: &Embedded, name: &str) {
    assert_eq!(store.ingest(named(name)).await.unwrap(), Ingested::Stored { new: MANY, repeated: 0 });
}

fn words(spaces: &Spaces) -> usize {
    spaces.ids.trees.words.rows.approximate_len()
}

#[tokio::test]
async fn an_event_is_found_wherever_its_place_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let spaces = store.shared.spaces().unwrap();
    put(&store, "a").await;
    until(|| words(&spaces) == 120).await;
    until(|| spaces.ids.counts()[1] == 0).await;
    let held = Arc::clone(&spaces.ids.hold);
    let held = held.lock().await;
    put(&store, "b").await;
    until(|| spaces.ids.counts()[1] > 0).await;
    put(&store, "c").await;
    for _ in 0..2 {
        assert_eq!(found(&store, "nora@a.example").await, 120);
        for name in ["a", "b", "c"] {
            assert_eq!(found(&store, &format!("{name}7@a.example")).await, 1, "{name}");
            let id = crate::domain::search::MailId::parse(name).unwrap();
            let page = PageQuery { cursor: None, limit: 1_000 };
            let Page { items, next } = store.events_of_mail(&[id], &page).await.unwrap();
            assert_eq!((items.len(), next), (40, None), "{name}");
        }
        // Only what has not been written is read again, and it is there once.
        if words(&spaces) == 120 {
            break;
        }
    }
    drop((held, store, spaces));
    let store = open(dir.path()).unwrap();
    assert_eq!(found(&store, "nora@a.example").await, 120);
}

#[tokio::test]
async fn what_leads_to_nothing_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    put(&store, "a").await;
    let spaces = store.shared.spaces().unwrap();
    let gone =
        (3_u64..40).map(|seq| Row { space: Space::Events, key: seq.to_be_bytes().into(), value: None, is_new: false });
    spaces.commit(gone.collect::<Vec<_>>().into()).unwrap();
    assert_eq!(found(&store, "nora@a.example").await, 3);
    assert_eq!((found(&store, "a5@a.example").await, found(&store, "a39@a.example").await), (0, 1));
}

#[tokio::test]
async fn where_a_word_led_is_left_out_once_that_has_expired() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Set::new();
    let store = Embedded::open(dir.path(), Arc::clone(&clock) as _, LIFETIMES).unwrap();
    let spaces = store.shared.spaces().unwrap();
    for name in ["a", "b"] {
        put(&store, name).await;
        until(|| words(&spaces) == 120).await;
        assert_eq!(found(&store, "nora@a.example").await, 40);
        clock.advance(DAY);
        assert_eq!(found(&store, "nora@a.example").await, 0);
        until(|| words(&spaces) == 0).await;
    }
}

#[tokio::test]
async fn a_commit_that_fails_leads_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.shared.spaces().unwrap().fail_next.store(true, Ordering::SeqCst);
    assert!(store.ingest(named("a")).await.is_err());
    soon(async {
        while store.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(found(&store, "nora@a.example").await, 0);
    put(&store, "b").await;
    assert_eq!(found(&store, "nora@a.example").await, 40);
}

#[tokio::test]
async fn the_key_is_not_to_be_lost_while_events_are_found_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    put(&store, "a").await;
    drop(store);
    std::fs::remove_file(dir.path().join("address.key")).unwrap();
    let told = open(dir.path()).err().unwrap().to_string();
    assert!(told.contains("index of events"), "{told}");
}
