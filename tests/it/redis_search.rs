//! What Redis keeps for searches: how much, how long, and under which key.

use std::time::Duration;

use serde_json::json;
use waypost::domain::address::Address;
use waypost::domain::retention::Lifetimes;
use waypost::domain::search::Search;
use waypost::store::redis::RedisStore;
use waypost::store::{PageQuery, Searches};

use crate::contract::search::saying;
use crate::redis_fixture::put;
use crate::redis_harness::Server;

async fn found(store: &RedisStore, recipient: &str) -> usize {
    let search = Search { recipient: Some(Address::parse(recipient).unwrap()), ..Search::default() };
    store.search(&search, &PageQuery { cursor: None, limit: 1_000 }).await.unwrap().items.len()
}

async fn keys(server: &Server, pattern: &str) -> Vec<String> {
    redis::from_redis_value(server.command(&["KEYS", pattern]).await).unwrap()
}

fn about(number: usize, recipient: &str) -> waypost::domain::plan::Unit {
    saying(&number.to_string(), &json!({"id": format!("m{number}"), "to": recipient}))
}

#[tokio::test]
async fn an_address_is_in_no_key_and_what_leads_to_nothing_is_passed_over() {
    let server = Server::start().await;
    let store = server.store().await;
    put(&store, (0..8).map(|number| about(number, "nora@customer.example")).collect()).await;
    assert_eq!(found(&store, "nora@customer.example").await, 8);
    let all = keys(&server, "*").await;
    assert!(all.iter().all(|key| !key.contains("nora") && !key.contains("customer")), "{all:?}");
    for key in keys(&server, "*:e:*").await.iter().take(5) {
        server.command(&["DEL", key]).await;
    }
    assert_eq!(found(&store, "nora@customer.example").await, 3);
    for feed in keys(&server, "*:feed").await {
        server.command(&["DEL", &feed]).await;
    }
    assert_eq!(found(&store, "nora@customer.example").await, 0);
}

#[tokio::test]
async fn where_words_led_is_swept_once_that_has_expired() {
    let server = Server::start().await;
    let lasting = server.store().await;
    put(&lasting, vec![about(1_000, "omar@customer.example")]).await;
    let life = Duration::from_secs(2);
    let short = server.connect_for(Lifetimes { events: life, requests: life, tokens: life }, &[]).await.unwrap();
    // More of one word than are read at once.
    for part in 0..2 {
        let many = (part * 400..part * 400 + 400).map(|number| about(number, "nora@customer.example"));
        put(&short, many.collect()).await;
    }
    assert_eq!(found(&short, "nora@customer.example").await, 800);
    let swept = async {
        while !keys(&server, "*:w:*").await.is_empty() {
            put(&short, vec![about(2_000, "live@customer.example")]).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            if keys(&server, "*:w:*").await.len() <= 4 {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), swept).await.unwrap();
    tokio::time::sleep(life).await;
    put(&short, vec![about(3_000, "live@customer.example")]).await;
    assert_eq!(found(&short, "live@customer.example").await, 1, "what is alive stays");
}

#[tokio::test]
async fn a_search_goes_by_the_key_that_the_dataset_has() {
    let server = Server::start().await;
    let (old, new) = (server.store().await, server.store().await);
    assert_eq!(found(&old, "nora@customer.example").await, 0, "there is no key");
    put(&old, vec![about(1, "nora@customer.example")]).await;
    assert_eq!((found(&old, "nora@customer.example").await, found(&new, "nora@customer.example").await), (1, 1));
    server.command(&["FLUSHALL"]).await;
    let newest = server.store().await;
    put(&newest, vec![about(2, "nora@customer.example")]).await;
    for store in [&old, &new, &newest] {
        assert_eq!(found(store, "nora@customer.example").await, 1);
    }
    // What is put by who knew the other key is found by all.
    put(&old, vec![about(3, "nora@customer.example")]).await;
    for store in [&old, &new, &newest] {
        assert_eq!(found(store, "nora@customer.example").await, 2);
    }
}

/// What the server holds, without buffers.
async fn memory(server: &Server) -> usize {
    let mut all = 0;
    for key in keys(server, "*").await {
        let size: Option<usize> =
            redis::from_redis_value(server.command(&["MEMORY", "USAGE", &key, "SAMPLES", "0"]).await).unwrap();
        // Each key has a place in a table, and most of ours in another.
        all += size.unwrap_or_default() + 16;
    }
    all
}

#[tokio::test]
async fn an_event_with_its_identity_and_index_takes_little_more_than_twice_its_json_at_most() {
    let server = Server::start().await;
    let store = server.store().await;
    let mut json = 0;
    for part in 0..8 {
        let event = |number: usize| {
            let data = json!({
                "id": format!("{number:08}-6a44-4b2a-8a2b-1d5a0d8a5e21"), "message_id": format!("<{number:08}-8e02@send.lanyard.example>"),
                "to": format!("customer{number:06}@customer.example"), "from": "billing@send.lanyard.example",
                "subject": "Invoice 4473", "tags": ["invoice"], "metadata": {"kind": "invoice", "customer": "4473"},
                "bounce": {"class": "hard", "code": "550", "status": "5.1.1", "reason": "NoEmail", "message": "smtp; 550 5.1.1 no such user here"},
                "provider": {"name": "resend", "source": "resend", "type": "email.bounced", "event_id": "msg_2b8f0a1c2d3e4f50617283940a1b2c3d"}
            });
            saying(&number.to_string(), &data)
        };
        let units: Vec<_> = (part * 250..part * 250 + 250).map(event).collect();
        json += units.iter().map(|unit| unit.json.len()).sum::<usize>();
        put(&store, units).await;
    }
    let raw: Vec<_> = keys(&server, "*:r:*").await;
    for key in raw {
        server.command(&["DEL", &key]).await;
    }
    let times = memory(&server).await as f64 / json as f64;
    println!("{times:.2} times {} bytes", json / 2_000);
    assert!(times < 2.2, "{times}");
}
