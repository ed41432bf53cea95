//! `/v1/sources`: what came in at each source, from real requests, on both stores.

use serde_json::{Value, json};
use waypost_providers::Signed;

use crate::gateway::{Gateway, Poster, until};
use crate::gateways::pair;
use crate::redis_harness::Server;

/// What is counted at a source, as `<outcome> <type> <provider's type>`, and how often.
fn counts(source: &Value) -> Value {
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or("-").to_owned();
    let one = |one: &Value| {
        let key = ["outcome", "type", "provider_type"].map(|name| text(one, name)).join(" ");
        (key, one["count"].clone())
    };
    Value::Object(source["counts"].as_array().unwrap().iter().map(one).collect())
}

async fn source(gateway: &Gateway, name: &str) -> Value {
    let all = gateway.read("/v1/sources").await;
    all["data"].as_array().unwrap().iter().find(|source| source["name"] == name).unwrap().clone()
}

pub(crate) async fn until_counted(gateway: &Gateway, name: &str, expected: &Value) {
    until(&format!("{name} has {expected}"), async || counts(&source(gateway, name).await) == *expected).await;
}

/// Requests of every fate, by turns at these gateways.
async fn post_all(gateways: &[&Gateway]) {
    let poster = Poster::new();
    let bounce = |number: u8| {
        format!(
            r#"{{"email":"a{number}@b.example","timestamp":1773480415,"event":"bounce","type":"bounce","sg_event_id":"{number}"}}"#
        )
    };
    let odd = r#"{"email":"a@b.example","timestamp":1,"event":"delivered","sg_event_id":"d"},{"event":"made up"},7"#;
    let sendgrid = |body: String| ("sendgrid", poster.sign("sendgrid", &body, [0; 16]), 200);
    let forged = Signed { body: "[]".into(), ..poster.sign("sendgrid", "[1]", [0; 16]) };
    let large = Signed { body: vec![b' '; 5 << 20].into(), ..forged.clone() };
    let posts = [
        sendgrid(format!("[{},{},{odd}]", bounce(1), bounce(2))),
        // A batch of which a part has been stored.
        sendgrid(format!("[{},{}]", bounce(2), bounce(3))),
        ("sendgrid", forged, 401),
        ("sendgrid", large, 413),
        ("resend", poster.resend_event(1).1, 200),
        ("resend", poster.resend_event(1).1, 200),
        ("nobody", poster.resend_event(1).1, 404),
    ];
    for (turn, (source, signed, status)) in posts.into_iter().enumerate() {
        let gateway = gateways[turn % gateways.len()];
        assert_eq!(poster.post(&gateway.url(source), signed).await, Some(status), "{source}");
    }
}

fn expected() -> [(&'static str, Value); 3] {
    let sendgrid = json!({
        "stored email.bounced bounce": 3, "repeat email.bounced bounce": 1, "stored email.delivered delivered": 1,
        "unmapped - made up": 1, "unreadable - -": 1, "unverified - -": 1, "refused - -": 1,
    });
    let resend = json!({"stored email.delivered email.delivered": 1, "repeat email.delivered email.delivered": 1});
    [("sendgrid", sendgrid), ("resend", resend), ("mailgun", json!({}))]
}

async fn check(gateway: &Gateway) {
    for (name, expected) in expected() {
        until_counted(gateway, name, &expected).await;
    }
    let all = gateway.read("/v1/sources").await;
    let names: Vec<_> = all["data"].as_array().unwrap().iter().map(|source| source["name"].clone()).collect();
    assert_eq!(names, ["mailgun", "resend", "sendgrid"]);
    assert!(!all.to_string().contains("nobody"));
    for secret in [crate::gateway::SECRET, "test-signing-key", "MFkwEw"] {
        assert!(!all.to_string().contains(secret), "{all}");
    }
    let [mailgun, resend] = [&all["data"][0], &all["data"][1]];
    let bare =
        json!({"name": "mailgun", "provider": "mailgun", "verify": "signature", "counts": [], "signature_ages": {}});
    assert_eq!(*mailgun, bare, "one that never got anything");
    assert!(resend["last_success_at"].is_string(), "{resend}");
    let ages = resend["signature_ages"].as_object().unwrap();
    assert_eq!(ages.values().filter_map(Value::as_u64).sum::<u64>(), 2, "{ages:?}");
    assert!(ages.keys().all(|age| matches!(age.as_str(), "1s" | "10s" | "1m")), "{ages:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_in_is_counted_on_the_embedded_store_and_outlives_a_kill() {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    post_all(&[&gateway]).await;
    check(&gateway).await;
    gateway.down();
    gateway.up(None);
    gateway.until_alive().await;
    check(&gateway).await;
    // What was not yet added is added when it is told to stop.
    let poster = Poster::new();
    assert_eq!(poster.resend(&gateway.url("resend"), 2).await.1, Some(200));
    assert!(gateway.terminate(std::time::Duration::from_secs(20)).await);
    gateway.up(None);
    gateway.until_alive().await;
    let resend = json!({"stored email.delivered email.delivered": 2, "repeat email.delivered email.delivered": 1});
    assert_eq!(counts(&source(&gateway, "resend").await), resend);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_in_at_two_gateways_is_one_sum_on_redis() {
    let mut server = Server::start().await;
    let (one, other) = pair(&server, "").await;
    post_all(&[&one, &other]).await;
    check(&one).await;
    check(&other).await;
    let kept: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "*tally:*"]).await).unwrap();
    assert_eq!(kept.len(), 2, "a name that is no source's is counted: {kept:?}");
    // What is refused while the store is down is counted when it is back.
    server.down();
    let poster = Poster::new();
    let status = poster.resend(&one.url("resend"), 9).await.1;
    assert_eq!(status, Some(503));
    server.up().await;
    until("it answers again", async || other.get("/v1/sources").await.is_some_and(|reply| reply.status == 200)).await;
    let resend = json!({
        "stored email.delivered email.delivered": 1, "repeat email.delivered email.delivered": 1, "refused - -": 1,
    });
    until_counted(&other, "resend", &resend).await;
}
