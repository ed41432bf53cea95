//! `Idempotency-Key`: what is asked for again is made once, and a key is for one request.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ask, json_of};
use crate::gateway::{API_KEY, Gateway, Poster, endpoint};
use crate::gateways::accepted;
use crate::webhooks::{Inbox, OLD_KEY, Stage, text};

const OTHER_KEY: &str = "other-0123456789abcdef0123456789abcdef";

async fn keyed(gateway: &Gateway, route: &str, key: &str, body: &Value) -> (u16, Value) {
    let headers = [("x-api-key", API_KEY), ("idempotency-key", key)];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = ask(gateway.port(), route, &headers, &body).await;
    (reply.status, serde_json::from_str(&reply.body).unwrap_or_default())
}

fn other() -> String {
    format!("[[api.keys]]\nname = \"other\"\nkey = \"{OTHER_KEY}\"\nscopes = [\"write\"]\n")
}

async fn a_key_is_for_one_request(stage: &Stage) {
    let gateway = &stage.gateway;
    // Nobody is there, and nothing is sent there.
    let asks = json!(["domain.verified"]);
    let weak = json!({"url": "https://a.example/", "events": asks, "secret": "a weak text secret"});
    let (status, made) = keyed(gateway, "POST /v1/webhooks", "one", &weak).await;
    assert_eq!(status, 201, "{made}");
    let changed = json!({"url": "https://a.example/", "events": asks, "secret": "a weak text secreT"});
    let id = text(&made["id"]);
    let others = [
        ("POST /v1/webhooks".to_owned(), &changed),
        ("POST /api/emails/webhook-endpoints/".to_owned(), &changed),
        (format!("POST /v1/webhooks/{id}/rotate"), &Value::Null),
        (format!("POST /v1/webhooks/{id}/test"), &Value::Null),
        (format!("POST /v1/webhooks/{id}/replay"), &json!({"since": "2026-01-01T00:00:00Z", "dry_run": true})),
        ("POST /v1/requests/reprocess".to_owned(), &json!({"dry_run": true})),
        ("POST /v1/suppressions".to_owned(), &json!({"address": "nora@customer.example"})),
    ];
    for (route, body) in &others {
        let body = if body.is_null() { &json!({}) } else { *body };
        let (status, told) = keyed(gateway, route, "one", body).await;
        let expected = (409, &json!("urn:waypost:problem:idempotency_key_reused"));
        assert_eq!((status, &told["type"]), expected, "{route}: {told}");
    }
    // A body that is wrong was no request yet.
    let (status, _) = keyed(gateway, "POST /v1/webhooks", "two", &json!({"url": "nowhere"})).await;
    assert_eq!(status, 422);
    let right = json!({"url": "https://b.example/", "events": asks});
    assert_eq!(keyed(gateway, "POST /v1/webhooks", "two", &right).await.0, 201);
    // Everybody has keys of their own.
    let theirs = [("x-api-key", OTHER_KEY), ("idempotency-key", "one")];
    let reply = ask(gateway.port(), "POST /v1/webhooks", &theirs, &changed.to_string()).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_ne!(json_of(&reply)["id"], made["id"]);
    for told in ["a weak text secret", "\"one\""] {
        assert!(!stage.holds(told).await, "`{told}` is in the store");
    }
    // What was made is not made again when it has been deleted.
    assert_eq!(stage.call(&format!("DELETE /v1/webhooks/{id}"), Value::Null).await.0, 204);
    let (status, told) = keyed(gateway, "POST /v1/webhooks", "one", &weak).await;
    assert_eq!((status, told["detail"].as_str().unwrap().contains("deleted")), (404, true), "{told}");
}

async fn a_rotation_is_made_once(stage: &Stage) {
    let made = json!({"url": "https://c.example/", "events": ["domain.verified"]});
    let made = stage.done("POST /v1/webhooks", made).await;
    let (id, first) = (text(&made["id"]), text(&made["secret"]));
    let rotate = format!("POST /v1/webhooks/{id}/rotate");
    let (status, rotated) = keyed(&stage.gateway, &rotate, "r1", &json!({})).await;
    assert_eq!(status, 200, "{rotated}");
    assert_ne!(rotated["secret"], json!(first));
    for _ in 0..2 {
        assert_eq!(keyed(&stage.gateway, &rotate, "r1", &json!({})).await, (200, rotated.clone()));
    }
    // Its own change is not held against it.
    let headers = [("x-api-key", API_KEY), ("idempotency-key", "r1"), ("if-match", "\"of before\"")];
    assert_eq!(json_of(&ask(stage.gateway.port(), &rotate, &headers, "{}").await), rotated);
    let secrets = stage.done(&format!("GET /v1/webhooks/{id}/secret"), Value::Null).await;
    assert_eq!((&secrets["secret"], &secrets["old"]["secret"]), (&rotated["secret"], &json!(first)));
    // Another takes its place; then it is answered without a secret, and changes nothing.
    assert_eq!(keyed(&stage.gateway, &rotate, "r2", &json!({"overlap_s": 0})).await.0, 200);
    let before = stage.done(&format!("GET /v1/webhooks/{id}/secret"), Value::Null).await;
    let (status, again) = keyed(&stage.gateway, &rotate, "r1", &json!({})).await;
    assert_eq!((status, again.get("secret")), (200, None), "{again}");
    assert_eq!(stage.done(&format!("GET /v1/webhooks/{id}/secret"), Value::Null).await, before);
}

async fn the_rest_is_made_once(stage: &Stage, inbox: &Inbox) {
    let gateway = &stage.gateway;
    let event = accepted(&Poster::new(), gateway, 1).await;
    inbox.wait("/file", &event).await;
    gateway.until_idle().await;
    let deliveries = gateway.read(&format!("/v1/events/{event}/deliveries")).await;
    let delivery = text(&deliveries["data"][0]["id"]);
    let same = async |route: &str, body: Value, what: &str| {
        let (status, first) = keyed(gateway, route, route, &body).await;
        assert!((200..300).contains(&status), "{route}: {first}");
        let (_, again) = keyed(gateway, route, route, &body).await;
        assert_eq!(first[what], again[what], "{route}");
        text(&first[what])
    };
    same(&format!("POST /v1/deliveries/{delivery}/retry"), Value::Null, "id").await;
    same(&format!("POST /v1/events/{event}/replay"), Value::Null, "replay_id").await;
    gateway.until_idle().await;
    let since = json!({"since": "2026-01-01T00:00:00Z"});
    let mut jobs = BTreeSet::new();
    jobs.insert(same("POST /v1/webhooks/wh_file/replay", since, "id").await);
    jobs.insert(same("POST /v1/requests/reprocess", json!({}), "id").await);
    let listed = gateway.read("/v1/replays").await;
    let listed = listed["data"].as_array().unwrap().iter().map(|job| text(&job["id"])).collect::<BTreeSet<_>>();
    assert_eq!(listed, jobs);
    // One that comes late does not put back on the list who was taken off.
    let put = async || keyed(gateway, "POST /v1/suppressions", "s", &json!({"address": "late@customer.example"})).await;
    assert_eq!(put().await.0, 201);
    assert_eq!(stage.call("DELETE /v1/suppressions/late%40customer.example", Value::Null).await.0, 204);
    assert_eq!(put().await.0, 201);
    assert_eq!(stage.call("GET /v1/suppressions/late%40customer.example", Value::Null).await.0, 404);
}

async fn nothing_is_made_twice(on: &str) {
    let inbox = Inbox::start();
    let file = endpoint("wh_file", &inbox.url("/file"), "retry = [1]\n");
    let stage = Stage::new(on, &format!("{OLD_KEY}{}{file}", other())).await;
    // Alone, for it looks at all that the store holds.
    a_key_is_for_one_request(&stage).await;
    tokio::join!(a_rotation_is_made_once(&stage), the_rest_is_made_once(&stage, &inbox));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_again_is_made_once_on_the_embedded_store() {
    nothing_is_made_twice("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_again_is_made_once_on_redis() {
    nothing_is_made_twice("redis").await;
}
