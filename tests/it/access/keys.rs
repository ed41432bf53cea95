//! Wrong keys run out, and right ones are known by when they were used.

use serde_json::{Value, json};
use waypost::domain::guesses::TRIES;

use super::{ask, json_of};
use crate::gateway::{API_KEY, Gateway, Poster, until};
use crate::gateways::pair;
use crate::redis_harness::Server;

const OTHER_KEY: &str = "other-0123456789abcdef0123456789abcdef";

fn other() -> String {
    format!("[[api.keys]]\nname = \"other\"\nkey = \"{OTHER_KEY}\"\nscopes = [\"read\", \"write\"]\n")
}

async fn started(store: &str) -> Gateway {
    let mut gateway = Gateway::serving(store, &other());
    gateway.up(None);
    gateway.until_alive().await;
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_run_out_and_lock_out_nobody_who_was_there() {
    let gateway = started("embedded").await;
    let sources = async |key: &str| ask(gateway.port(), "GET /v1/sources", &[("x-api-key", key)], "").await;
    assert_eq!(sources(API_KEY).await.status, 200);
    let mut refused = sources("guess").await;
    for _ in 0..2 * TRIES {
        assert!(matches!(refused.status, 401 | 429), "{refused:?}");
        assert_eq!(refused.header("retry-after").is_some(), refused.status == 429);
        refused = sources("guess").await;
        if refused.status == 429 {
            break;
        }
    }
    assert_eq!((refused.status, refused.header("content-type")), (429, Some("application/problem+json")));
    assert!(matches!(refused.header("retry-after").unwrap().parse::<u64>().unwrap(), 1..=4), "{refused:?}");
    let told = json_of(&refused);
    assert_eq!(told["type"], "urn:waypost:problem:too_many_wrong_keys");
    // It was here before; the other may be the guess that hits, and is let in when there is a try left.
    assert_eq!(sources(API_KEY).await.status, 200);
    until("there is a try left", async || sources(OTHER_KEY).await.status == 200).await;
    // Providers have no key, and probes neither.
    assert_eq!(Poster::new().resend(&gateway.url("resend"), 1).await.1, Some(200));
    for _ in 0..2 * TRIES {
        assert_eq!(ask(gateway.port(), "GET /v1/sources", &[], "").await.status, 401);
    }
    assert!(!gateway.log().contains("guess"));
}

fn last_used(keys: &Value, name: &str) -> Value {
    let found = keys["data"].as_array().unwrap().iter().find(|key| key["name"] == name);
    found.unwrap_or_else(|| panic!("no key `{name}`: {keys}"))["last_used_at"].clone()
}

/// One that is used at `one` is known to have been used at `other`.
async fn the_last_use_is_known(one: &Gateway, other: &Gateway) {
    let keys = one.read("/v1/keys").await;
    let names: Vec<_> = keys["data"].as_array().unwrap().iter().map(|key| (&key["name"], &key["scopes"])).collect();
    assert_eq!(names, [(&json!("test"), &json!(["admin"])), (&json!("other"), &json!(["read", "write"]))]);
    assert!(!keys.to_string().contains("0123456789"), "{keys}");
    assert_eq!(last_used(&keys, "other"), Value::Null);
    assert!(last_used(&keys, "test").as_str().unwrap().ends_with(":00Z"), "to the minute: {keys}");
    for (route, status) in [("GET /v1/keys", 403), ("GET /v1/sources", 200)] {
        assert_eq!(one.call(OTHER_KEY, route, "").await.0, status, "{route}");
    }
    until("it is known", async || last_used(&other.read("/v1/keys").await, "other") != Value::Null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keys_last_use_outlives_the_gateway_on_the_embedded_store() {
    let mut gateway = started("embedded").await;
    the_last_use_is_known(&gateway, &gateway).await;
    assert!(gateway.terminate(std::time::Duration::from_secs(20)).await);
    gateway.up(None);
    gateway.until_alive().await;
    assert_ne!(last_used(&gateway.read("/v1/keys").await, "other"), Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keys_last_use_is_known_to_every_gateway_on_redis() {
    let server = Server::start().await;
    let (one, two) = pair(&server, &other()).await;
    the_last_use_is_known(&one, &two).await;
}
