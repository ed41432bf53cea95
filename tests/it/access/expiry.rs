//! What the store keeps of those who use the API, and for how long.

use std::time::Duration;

use waypost::domain::audit::{Action, Entry, LIFETIME};
use waypost::store::access::{Access, CLAIM_LIFETIME, Claim};
use waypost::store::embedded::Embedded;
use waypost::store::{PageQuery, Store};

use crate::embedded::LIFETIMES;
use crate::redis_harness::Server;
use crate::support::{TestClock, at};

const SECOND: Duration = Duration::from_secs(1);

fn claim(bits: u8) -> Claim {
    Claim { digest: [bits; 16], bits: [bits; 16], made: None }
}

fn entry(number: i64) -> Entry {
    Entry::new(at(number), "ops", Action::StoreConfirmed, None)
}

async fn listed(store: &dyn Store) -> Vec<Entry> {
    let page = store.audit(&PageQuery { cursor: None, limit: 10 }).await.unwrap();
    assert_eq!(page.next, None);
    page.items.into_iter().map(|kept| kept.entry).collect()
}

#[tokio::test]
async fn an_entry_is_kept_for_90_days_and_a_claim_for_one() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let store = Embedded::open(dir.path(), clock.clone(), LIFETIMES).unwrap();
    store.note(&[entry(1)]).await.unwrap();
    assert_eq!(store.claim([0; 16], &claim(1)).await.unwrap(), claim(1));
    clock.advance(CLAIM_LIFETIME - SECOND);
    assert_eq!(store.claim([0; 16], &claim(2)).await.unwrap(), claim(1));
    clock.advance(2 * SECOND);
    assert_eq!(store.claim([0; 16], &claim(3)).await.unwrap(), claim(3));
    // The row of the one before is swept, and that of this one is not.
    clock.advance(2 * SECOND);
    store.ready().await.unwrap();
    store.ready().await.unwrap();
    assert_eq!(store.claim([0; 16], &claim(4)).await.unwrap(), claim(3));
    clock.advance(LIFETIME - CLAIM_LIFETIME - 10 * SECOND);
    store.note(&[entry(2)]).await.unwrap();
    assert_eq!(listed(&store).await, [entry(2), entry(1)]);
    clock.advance(20 * SECOND);
    assert_eq!(listed(&store).await, [entry(2)]);
    clock.advance(LIFETIME);
    store.ready().await.unwrap();
    assert_eq!(listed(&store).await, []);
}

#[tokio::test]
async fn what_redis_keeps_of_them_expires_too() {
    let server = Server::start().await;
    let store = server.store().await;
    // As one that was written in 1970.
    server.command(&["XADD", "{wp:0}:audit", "1-0", "e", &serde_json::to_string(&entry(1)).unwrap()]).await;
    store.note(&[entry(2)]).await.unwrap();
    assert_eq!(listed(&store).await, [entry(2)]);
    // Whole pages of old ones go.
    for number in 2..500 {
        let id = format!("1-{number}");
        if number == 2 {
            server.command(&["DEL", "{wp:0}:audit"]).await;
        }
        server.command(&["XADD", "{wp:0}:audit", &id, "e", "{}"]).await;
    }
    store.note(&[entry(3)]).await.unwrap();
    let len: usize = redis::from_redis_value(server.command(&["XLEN", "{wp:0}:audit"]).await).unwrap();
    assert!(len <= 101, "{len}");
    let ttl = async |key: &str| redis::from_redis_value::<u64>(server.command(&["TTL", key]).await).unwrap();
    let least = LIFETIME.as_secs() - 60;
    assert!((least..=LIFETIME.as_secs()).contains(&ttl("{wp:0}:audit").await));

    store.claim([0; 16], &claim(1)).await.unwrap();
    store.settle([0; 16], "wh_a").await.unwrap();
    let keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "*claim:*"]).await).unwrap();
    let [key] = &keys[..] else { panic!("{keys:?}") };
    let least = CLAIM_LIFETIME.as_secs() - 60;
    assert!((least..=CLAIM_LIFETIME.as_secs()).contains(&ttl(key).await));
}
