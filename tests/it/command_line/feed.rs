//! `waypost feed`: what is printed, where it goes on, and that it goes on when the gateway is restarted.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::{command, waypost};
use crate::gateway::{Gateway, Poster, until};
use crate::signal::kill;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_where_it_was_also_when_all_were_restarted() {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    let post = async |gateway: &Gateway, number| {
        for (place, kind) in (0..).zip(["email.delivered", "email.opened"]) {
            let (_, signed) = poster.resend_event_of(number, number * 2 + place, kind);
            assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
        }
    };
    for number in 0..3 {
        post(&gateway, number).await;
    }
    let all = waypost(&gateway, &["feed", "--type", "email.*"]).lines();
    assert_eq!(all.len(), 6);
    let opened = waypost(&gateway, &["feed", "--type", "opened", "--source", "resend,other"]).lines();
    assert!(opened.len() == 3 && opened.iter().all(|event| event["type"] == "email.opened"));
    assert!(waypost(&gateway, &["feed", "--source", "other"]).lines().is_empty());
    assert!(waypost(&gateway, &["feed", "--after", "end"]).lines().is_empty());
    assert!(waypost(&gateway, &["feed", "--after", "nonsense"]).failure().contains("`after` is a `cursor`"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cursor");
    let arguments = ["feed", "--follow", "--json", "--type", "email.*", "--cursor-file", file.to_str().unwrap()];
    let mut seen = Vec::new();
    for round in 0..3 {
        let mut follower = command(&gateway, &arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        if round == 1 {
            gateway.down();
            gateway.up(None);
            gateway.until_alive().await;
        }
        post(&gateway, 3 + round).await;
        let expected = 6 + 2 * (usize::try_from(round).unwrap() + 1);
        while ids(&seen).len() < expected {
            let line = tokio::task::block_in_place(|| lines.next()).unwrap().unwrap();
            seen.push(serde_json::from_str::<Value>(&line).unwrap());
        }
        if round == 0 {
            until("the place is kept", async || {
                let after = std::fs::read_to_string(&file).unwrap_or_default();
                gateway.read(&format!("/v1/feed?after={}", after.trim())).await["data"] == Value::Array(Vec::new())
            })
            .await;
        }
        // In the middle of whatever it does.
        kill(&mut Some(follower));
    }
    let whole = waypost(&gateway, &["feed"]).lines();
    assert_eq!(ids(&seen), ids(&whole));
    assert!(seen.len() <= whole.len() + 4, "what was printed and not kept comes again: {}", seen.len());
}

fn ids(events: &[Value]) -> BTreeSet<String> {
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}
