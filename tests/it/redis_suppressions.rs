//! What Redis keeps of suppressed addresses, and the one key that all gateways hash them with.

use redis::Value;
use waypost::domain::address::Address;
use waypost::domain::plan::Unit;
use waypost::domain::suppression::{Reason, ToSuppress};
use waypost::store::Store;
use waypost::store::redis::RedisStore;

use crate::redis_fixture::{at, put, stored, unit};
use crate::redis_harness::Server;

fn address(number: u32) -> Address {
    Address::parse(&format!("nora{number}@customer.example")).unwrap()
}

fn bounce(number: u32) -> Unit {
    let name = format!("bounce-{number}");
    let suppresses = Some(ToSuppress { reason: Reason::Bounce, at: at(0), addresses: vec![address(number)] });
    Unit { suppresses, ..unit(&name, &name, "wh_1") }
}

async fn is_listed(store: &RedisStore, number: u32) -> bool {
    !store.suppressions(&address(number)).await.unwrap().is_empty()
}

async fn keys(server: &Server, pattern: &str) -> Vec<String> {
    redis::from_redis_value(server.command(&["KEYS", pattern]).await).unwrap()
}

#[tokio::test]
async fn gateways_that_suppress_first_at_the_same_time_agree_on_the_key() {
    let server = Server::start().await;
    let stores = [server.store().await, server.store().await, server.store().await];
    let puts = (0..30).map(|number| put(&stores[number as usize % 3], vec![bounce(number)]));
    assert_eq!(futures_util::future::join_all(puts).await, vec![stored(1, 0); 30]);
    for (number, store) in (0..30).flat_map(|number| stores.iter().map(move |store| (number, store))) {
        assert!(is_listed(store, number).await, "{number}");
    }
    assert!(is_listed(&server.store().await, 0).await, "one that comes later");
    let mut copies = Vec::new();
    for key in keys(&server, "*address_key").await {
        copies.push(server.command(&["GET", &key]).await);
    }
    copies.dedup();
    assert_eq!(copies.len(), 1, "partitions differ");
}

#[tokio::test]
async fn an_address_is_in_no_key_and_in_no_row_of_the_list_which_does_not_expire() {
    let server = Server::start().await;
    let store = server.store().await;
    put(&store, (0..8).map(bounce).collect()).await;
    let listed = keys(&server, "*sup:*").await;
    assert_eq!(listed.len(), 8);
    for key in &listed {
        assert_eq!(server.command(&["PTTL", key]).await, Value::Int(-1));
        let row: Vec<String> = redis::from_redis_value(server.command(&["HGETALL", key]).await).unwrap();
        assert!(matches!(&row[..], [reason, told] if reason == "bounce" && told.contains("|evt_")), "{row:?}");
        assert!(!row.concat().contains("nora"), "{row:?}");
    }
    let all = keys(&server, "*").await;
    assert!(all.iter().all(|key| !key.contains("nora") && !key.contains("customer")), "{all:?}");
}

#[tokio::test]
async fn a_dataset_that_is_gone_is_begun_anew_with_one_key() {
    let server = Server::start().await;
    let (old, older) = (server.store().await, server.store().await);
    put(&old, vec![bounce(0)]).await;
    assert!(is_listed(&older, 0).await);
    server.command(&["FLUSHALL"]).await;
    assert!(!is_listed(&old, 0).await && !is_listed(&older, 0).await);
    // One that knows no key, with one of its own; then those that still know the one from before.
    let new = server.store().await;
    for (number, store) in (1..).zip([&new, &old, &older]) {
        assert_eq!(
            put(store, vec![bounce(number), unit("plain", "plain", "wh_1")]).await,
            stored(2 - (number > 1) as u32, (number > 1) as u32)
        );
    }
    for (number, store) in (1..4).flat_map(|number| [&new, &old, &older].map(|store| (number, store))) {
        assert!(is_listed(store, number).await, "{number}");
    }
}

#[tokio::test]
async fn the_key_outlives_the_loss_of_a_partition() {
    let server = Server::start().await;
    put(&server.store().await, (0..20).map(bounce).collect()).await;
    // What the first partition had.
    for key in keys(&server, "{wp:0}:*").await {
        server.command(&["DEL", &key]).await;
    }
    let store = server.store().await;
    let mut left = 0;
    for number in 0..20 {
        left += u32::from(is_listed(&store, number).await);
    }
    assert_eq!(left as usize, keys(&server, "*sup:*").await.len());
    assert!(left > 0 && left < 20, "{left}");
    put(&store, (20..40).map(bounce).collect()).await;
    let other = server.store().await;
    for number in 20..40 {
        assert!(is_listed(&other, number).await, "{number}");
    }
    assert_eq!(keys(&server, "*address_key").await.len(), 4);
}
