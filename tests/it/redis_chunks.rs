//! Large bodies on Redis, in parts that are there before what refers to them.

use std::time::Duration;

use redis::from_redis_value;
use waypost::domain::id::RequestId;
use waypost::domain::plan::{Generation, Ingest, Unit};
use waypost::store::redis::RedisStore;
use waypost::store::{Erasures, Store, StoreError};
use xxhash_rust::xxh3::xxh3_64;

use crate::redis_fixture::{ingest_of, stored, unit};
use crate::redis_harness::Server;

/// Of so many parts that it takes a while.
const LEN: u32 = 20_000_000;
/// How long a part lives before something refers to it, in seconds, and what does longer.
const ALONE_S: i64 = 3_600;

fn body(len: u32) -> Vec<u8> {
    (0..len / 8).flat_map(|n| xxh3_64(&n.to_be_bytes()).to_be_bytes()).collect()
}

fn large(body: &[u8], units: Vec<Unit>) -> Ingest {
    Ingest { generation: Generation(0), ..ingest_of(body, units) }
}

async fn keys(server: &Server, pattern: &str) -> Vec<String> {
    from_redis_value(server.command(&["KEYS", pattern]).await).unwrap()
}

async fn parts(server: &Server) -> Vec<String> {
    keys(server, "*r:req_*:*").await
}

/// The shortest and the longest life of them.
async fn lives(server: &Server) -> (i64, i64) {
    let mut lives = Vec::new();
    for part in parts(server).await {
        lives.push(from_redis_value::<i64>(server.command(&["TTL", &part]).await).unwrap());
    }
    (lives.iter().copied().min().unwrap(), lives.iter().copied().max().unwrap())
}

async fn is_whole(store: &RedisStore, body: &[u8]) -> bool {
    let stored = store.request(&RequestId::of("main", body)).await.unwrap();
    stored.is_some_and(|stored| stored.request.body == body)
}

/// Stores it, and does something else as soon as its first part is there.
async fn meanwhile(server: &Server, store: &RedisStore, body: &[u8], other: impl AsyncFn()) -> Result<(), StoreError> {
    let change = async {
        while parts(server).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        other().await;
    };
    let (ingested, ()) = tokio::join!(store.ingest(large(body, vec![unit("a", "m", "wh_1")])), change);
    ingested.map(drop)
}

#[tokio::test]
async fn a_body_that_is_not_all_there_is_not_referred_to() {
    let (server, body) = (Server::start().await, body(LEN));
    let store = server.store().await;
    let lose = async || drop(server.command(&["DEL", &parts(&server).await[0]]).await);
    let failed = meanwhile(&server, &store, &body, lose).await;
    assert!(matches!(&failed, Err(StoreError::Unavailable(told)) if told.contains("a part")), "{failed:?}");
    assert!(!is_whole(&store, &body).await);
    assert!(lives(&server).await.1 <= ALONE_S);
    // It is sent again.
    assert_eq!(store.ingest(large(&body, vec![unit("a", "m", "wh_1")])).await.unwrap(), stored(1, 0));
    assert!(is_whole(&store, &body).await);
    assert!(lives(&server).await.0 > ALONE_S);
}

#[tokio::test]
async fn a_body_whose_request_is_erased_meanwhile_is_gone() {
    let (server, body) = (Server::start().await, body(LEN));
    let store = server.store().await;
    let id = RequestId::of("main", &body);
    let erase = async || store.erase_requests(std::slice::from_ref(&id)).await.unwrap();
    meanwhile(&server, &store, &body, erase).await.unwrap();
    assert_eq!(parts(&server).await, [] as [&str; 0]);
    assert!(!is_whole(&store, &body).await);
}

#[tokio::test]
async fn parts_that_nothing_refers_to_are_removed_and_others_are_not() {
    let (server, body) = (Server::start().await, body(1_000_000));
    let store = server.store().await;
    store.ingest(large(&body, Vec::new())).await.unwrap();
    let number = parts(&server).await.len();
    let left = format!("{{wp:1}}:r:{}:0123456789abcdef:", RequestId::of("main", b"b"));
    for (part, life_s) in [(0, ALONE_S - 5), (1, 7), (2, ALONE_S), (3, ALONE_S + 1_000)] {
        server.command(&["SET", &format!("{left}{part}"), "a part", "EX", &life_s.to_string()]).await;
    }
    server.command(&["SET", &format!("{left}4"), "a part"]).await;
    let mut cursor = None;
    loop {
        cursor = store.remove_left_parts(cursor.as_deref(), 1, Duration::from_secs(3)).await.unwrap();
        if cursor.is_none() {
            break;
        }
    }
    // Of these one may be being written, and one is none of ours.
    let mut stay = keys(&server, &format!("{left}*")).await;
    stay.sort();
    assert_eq!(stay, [2, 4].map(|part| format!("{left}{part}")));
    assert_eq!(parts(&server).await.len(), number + 2);
    assert!(is_whole(&store, &body).await);
}

/// What is there is the same: whoever is sent a request while another gateway stores it does not shorten its life.
#[tokio::test]
async fn two_who_store_one_body_at_once_keep_it() {
    let (server, body) = (Server::start().await, body(LEN));
    let (one, other) = (server.store().await, server.store().await);
    let store = async |store: &RedisStore| store.ingest(large(&body, Vec::new())).await.unwrap();
    tokio::join!(store(&one), store(&other));
    assert!(is_whole(&one, &body).await);
    assert!(lives(&server).await.0 > ALONE_S);
}
