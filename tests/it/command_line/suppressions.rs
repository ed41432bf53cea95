//! The suppression list by commands.

use serde_json::{Value, json};

use super::{command, ran, waypost};
use crate::gateway::{Gateway, Poster};
use crate::redis_harness::Server;

async fn are_asked_and_changed(store: &str) {
    let mut gateway = Gateway::serving(store, "");
    gateway.up(None);
    gateway.until_alive().await;
    let (poster, run) = (Poster::new(), |arguments: &[&str]| waypost(&gateway, arguments));
    let (_, signed) = poster.resend_event_of(1, 1, "email.complained");
    assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));

    let added = run(&["suppressions", "add", "Hand <hand@rs.example>"]).one();
    assert_eq!((&added["address"], &added["reasons"][0]["reason"]), (&"hand@rs.example".into(), &"manual".into()));
    run(&["suppressions", "add", "hand@rs.example", "--reason", "complaint"]).one();
    let input = "hand@rs.example\n\n  free/slash@rs.example \r\n";
    let check = ["suppressions", "check", "N1@customer.example", "-"];
    let checked = ran(&mut command(&gateway, &check), input).lines();
    let told =
        |one: &Value| (one["address"].clone(), one["suppressed"].clone(), one["reasons"].as_array().unwrap().len());
    let expected =
        [("N1@customer.example", true, 1), ("hand@rs.example", true, 2), ("free/slash@rs.example", false, 0)];
    let expected = expected.map(|(address, is_listed, len)| (json!(address), json!(is_listed), len));
    assert_eq!(checked.iter().map(told).collect::<Vec<_>>(), expected);

    let all = run(&["suppressions", "list", "--all"]).lines();
    assert_eq!(all.len(), 2, "{all:?}");
    let by_hand = run(&["suppressions", "list", "--reason", "manual"]).lines();
    assert_eq!((by_hand.len(), by_hand[0]["reasons"].as_array().unwrap().len()), (1, 2), "{by_hand:?}");

    let removed = run(&["suppressions", "remove", "hand@rs.example"]).one();
    assert_eq!(removed, json!({"address": "hand@rs.example", "suppressed": false}));
    assert_eq!(run(&["suppressions", "check", "hand@rs.example"]).one()["suppressed"], false);
    assert!(run(&["suppressions", "remove", "hand@rs.example"]).failure().contains("no such suppression"));
    // A person is erased, and stays on the list.
    let found = || run(&["events", "list", "--recipient", "n1@customer.example"]).lines().len();
    assert_eq!(found(), 1);
    let erased = run(&["erase", "N1@customer.example"]);
    let job: Value = serde_json::from_str(&erased.out).unwrap();
    assert_eq!((erased.is_done, &job["state"], found()), (true, &"done".into(), 0), "{erased:?}");
    assert!(!erased.err.contains("n1@") && !erased.out.contains("n1@"), "{erased:?}");
    assert_eq!(run(&["suppressions", "check", "n1@customer.example"]).one()["suppressed"], true);
    // What is no address is said of the one that it is.
    let wrong = run(&["suppressions", "check", "nobody"]);
    assert!(wrong.failure().starts_with("nobody: It is no email address"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suppressions_are_asked_and_changed_embedded() {
    are_asked_and_changed("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suppressions_are_asked_and_changed_on_redis() {
    let server = Server::start().await;
    are_asked_and_changed(&server.url()).await;
}
