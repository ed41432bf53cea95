//! Several gateways on one Redis agree on the endpoints that the API makes.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Inbox, NEW_KEY, call, text, verifies};
use crate::gateway::{Gateway, Poster};
use crate::gateways::{accepted, pair};
use crate::redis_harness::Server;

/// So many that chance does not give all of them to one gateway.
const WEBHOOKS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_makes_the_other_serves_at_once_and_writers_at_once_lose_nothing() {
    let (server, inbox) = (Server::start().await, Inbox::start());
    let (one, other) = pair(&server, NEW_KEY).await;
    // Both at the same time, so that each is often not the first.
    let create = async |number: usize| {
        let body = json!({"url": inbox.url(&format!("/{number}"))});
        let gateway = if number.is_multiple_of(2) { &one } else { &other };
        let (status, made) = call(gateway, "POST /v1/webhooks", body).await;
        assert_eq!(status, 201, "{made}");
        (text(&made["id"]), text(&made["secret"]))
    };
    let made = join_all((0..WEBHOOKS).map(create)).await;
    let event = accepted(&Poster::new(), &other, 1).await;
    for (number, (_, secret)) in made.iter().enumerate() {
        let came = inbox.wait(&format!("/{number}"), &event).await;
        assert!(number > 3 || verifies(&came, secret));
    }
    let ids: BTreeSet<&str> = made.iter().map(|(id, _)| id.as_str()).collect();
    for gateway in [&one, &other] {
        let attempts = gateway.logged("attempt ended");
        assert!(!attempts.is_empty(), "it served none");
        let (mut listed, mut cursor) = (BTreeSet::new(), String::new());
        loop {
            let (status, page) = call(gateway, &format!("GET /v1/webhooks?limit=5&cursor={cursor}"), Value::Null).await;
            assert_eq!(status, 200, "{page}");
            for webhook in page["data"].as_array().unwrap() {
                assert!(listed.insert(text(&webhook["id"])), "listed twice");
            }
            match page["cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(listed.iter().map(String::as_str).collect::<BTreeSet<_>>(), ids);
    }
    // A rotation and a deletion on one hold on the other at once.
    let (rotated, deleted) = (&made[0], &made[1]);
    let (_, answer) = call(&one, &format!("POST /v1/webhooks/{}/rotate", rotated.0), json!({"overlap_s": 0})).await;
    let secret = text(&answer["secret"]);
    let (status, _) = call(&one, &format!("DELETE /v1/webhooks/{}", deleted.0), Value::Null).await;
    assert_eq!(status, 204);
    let event = accepted(&Poster::new(), &other, 2).await;
    let came = inbox.wait("/0", &event).await;
    assert!(verifies(&came, &secret) && !verifies(&came, &rotated.1));
    one.until_idle().await;
    assert_eq!(inbox.came("/1").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_lost_what_the_api_made_takes_nothing_in_until_it_is_confirmed() {
    let (server, inbox, poster) = (Server::start().await, Inbox::start(), Poster::new());
    let mut gateway = Gateway::serving(&server.url(), NEW_KEY);
    gateway.up(None);
    gateway.until_alive().await;
    let (status, _) = call(&gateway, "POST /v1/store/confirm", Value::Null).await;
    assert_eq!(status, 200);
    let (status, made) = call(&gateway, "POST /v1/webhooks", json!({"url": inbox.url("/0")})).await;
    assert_eq!(status, 201, "{made}");
    accepted(&poster, &gateway, 1).await;
    server.command(&["FLUSHALL"]).await;
    for number in 2..5 {
        let (_, status) = poster.resend(&gateway.url("resend"), number).await;
        assert_eq!(status, Some(503), "planned for the endpoints that are left, it would be lost for the others");
    }
    let (status, told) = call(&gateway, "POST /v1/store/confirm", Value::Null).await;
    assert_eq!((status, &told), (200, &json!({"lost": true})));
    accepted(&poster, &gateway, 6).await;
    let (status, told) = call(&gateway, "GET /v1/webhooks", Value::Null).await;
    assert_eq!((status, told["data"].as_array().map(Vec::len)), (200, Some(0)));
    assert_eq!(call(&gateway, "POST /v1/store/confirm", Value::Null).await.1, json!({"lost": false}));
}
