//! Replays over a real gateway: one delivery, one event, and many by a job that is watched, canceled and killed.

use std::time::Duration;

use serde_json::{Value, json};
use waypost::domain::id::{DeliveryId, EventId};

use crate::client_of_api::{Api, call};
use crate::gateway::{Gateway, Poster};
use crate::gateways::accepted;
use crate::hooks::{Arrival, Hooks, until};
use crate::redis_harness::Server;

mod jobs;

const SOON: Duration = Duration::from_secs(20);
const MORE: &str = "timeout_s = 1\nretry = [1, 1, 1, 1, 1, 1]\n";
const READER: &str = "reader-0123456789abcdef0123456789abcdef";

/// A gateway that serves these endpoints, and knows a key that may only read.
async fn serving(store: &str, hooks: &Hooks, endpoints: u32, more: &str) -> Gateway {
    let key = format!("[[api.keys]]\nname = \"reader\"\nkey = \"{READER}\"\nscopes = [\"read\"]\n");
    let mut gateway = Gateway::serving(store, &(hooks.endpoints(0..endpoints, more) + &key));
    gateway.up(None);
    gateway.until_alive().await;
    gateway
}

/// The deliveries of an event, once all have ended.
async fn settled(gateway: &Gateway, event: &str) -> Vec<Value> {
    for _ in 0..1_000 {
        let list = gateway.read(&format!("/v1/events/{event}/deliveries")).await;
        let all = list["data"].as_array().unwrap().clone();
        if all.iter().all(|one| one["status"] != "pending") {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never settled: {event}");
}

fn replays(hooks: &Hooks) -> Vec<Arrival> {
    hooks.arrivals().into_iter().filter(|arrival| arrival.replay.is_some()).collect()
}

async fn one_is_sent_again(store: &str) {
    let hooks = Hooks::start();
    let gateway = serving(store, &hooks, 2, MORE).await;
    let event = accepted(&Poster::new(), &gateway, 1).await;
    let first = settled(&gateway, &event).await;
    assert_eq!((first.len(), replays(&hooks).len()), (2, 0), "no live delivery says that it is a replay");

    let delivery = first[0]["id"].as_str().unwrap();
    assert_eq!(gateway.read(&format!("/v1/deliveries/{delivery}")).await, first[0]);
    let (status, made) = call(&gateway, "POST", &format!("/v1/deliveries/{delivery}/retry"), "").await;
    assert_eq!(status, 201, "{made}");
    let of = |one: &Value| (one["event_id"].clone(), one["endpoint_id"].clone());
    assert_eq!(of(&made), of(&first[0]));
    assert_ne!(made["id"], first[0]["id"]);
    until(SOON, "it comes", || replays(&hooks).len() == 1).await;
    let arrival = replays(&hooks).remove(0);
    assert_eq!((arrival.event, arrival.attempt), (event.clone(), 1));
    assert_eq!(arrival.replay.as_deref(), made["replay_id"].as_str());
    let all = settled(&gateway, &event).await;
    let (id, status) = (made["id"].as_str().unwrap(), all[2]["status"].as_str());
    assert_eq!((all[2]["id"].as_str(), status), (Some(id), Some("delivered")));
    assert_eq!(gateway.read(&format!("/v1/deliveries/{id}")).await, all[2]);

    let path = format!("/v1/events/{event}/replay");
    let both = Api::new("POST", &path).with("idempotency-key", "k1").call(&gateway).await;
    assert_eq!((both.0, both.1["data"].as_array().unwrap().len()), (201, 2), "{both:?}");
    let again = Api::new("POST", &path).with("idempotency-key", "k1").call(&gateway).await;
    assert_eq!(again.1["replay_id"], both.1["replay_id"], "the same request");
    assert_eq!(settled(&gateway, &event).await.len(), 5);
    let (status, alone) = call(&gateway, "POST", &path, r#"{"endpoint_id":"wh_1"}"#).await;
    assert_eq!((status, &alone["data"][0]["endpoint_id"]), (201, &json!("wh_1")), "{alone}");
    assert_eq!(settled(&gateway, &event).await.len(), 6);
    assert_eq!(replays(&hooks).len(), 4);
    let listed = gateway.read("/v1/events").await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "a replay is no event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_and_an_event_are_sent_again_embedded() {
    one_is_sent_again("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_and_an_event_are_sent_again_on_redis() {
    one_is_sent_again(&Server::start().await.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_again_says_why() {
    let hooks = Hooks::start();
    let gateway = serving("embedded", &hooks, 2, MORE).await;
    let event = accepted(&Poster::new(), &gateway, 1).await;
    let first = settled(&gateway, &event).await;
    let delivery = first[0]["id"].as_str().unwrap().to_owned();
    let gone = DeliveryId::of(&EventId::of("resend", "nobody's"), &"wh_0".into(), None);
    let replay = format!("/v1/events/{event}/replay");
    for (method, path, body, status, problem) in [
        ("POST", "/v1/deliveries/dlv_1/retry".to_owned(), "", 404, "not_found"),
        ("POST", format!("/v1/deliveries/{gone}/retry"), "", 410, "expired"),
        ("POST", format!("/v1/deliveries/{delivery}/retry"), r#"{"a":1}"#, 422, "bad_body"),
        ("GET", format!("/v1/deliveries/{delivery}/retry"), "", 405, "method_not_allowed"),
        ("GET", format!("/v1/deliveries/{gone}"), "", 404, "not_found"),
        ("POST", "/v1/events/evt_1/replay".to_owned(), "", 404, "not_found"),
        ("POST", replay.clone(), r#"{"endpoint_id":"wh_9"}"#, 404, "not_found"),
        ("POST", "/v1/webhooks/wh_9/replay".to_owned(), r#"{"since":"2026-01-01T00:00:00Z"}"#, 404, "not_found"),
        ("POST", "/v1/webhooks/wh_0/replay".to_owned(), "", 422, "bad_body"),
        ("POST", "/v1/webhooks/wh_0/replay".to_owned(), r#"{"since":"soon"}"#, 422, "bad_body"),
        ("GET", "/v1/replays/rpl_1".to_owned(), "", 404, "not_found"),
        ("DELETE", "/v1/replays/rpl_1".to_owned(), "", 404, "not_found"),
        ("POST", "/v1/replays/rpl_1".to_owned(), "", 405, "method_not_allowed"),
    ] {
        let (answered, answer) = call(&gateway, method, &path, body).await;
        assert_eq!(answered, status, "{method} {path}: {answer}");
        assert_eq!(answer["type"], format!("urn:waypost:problem:{problem}"), "{method} {path}");
    }
    for (body, told) in [
        (json!({"since": "2026-01-01T00:00:00Z", "types": ["email.nothing"]}), "email.nothing"),
        (json!({"since": "2026-01-01T00:00:00Z", "status": ["canceled"]}), "canceled"),
        (json!({"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}), "`until`"),
        (json!({"until": "2026-01-01T00:00:00Z"}), "`since`"),
    ] {
        let (status, answer) = call(&gateway, "POST", "/v1/webhooks/wh_0/replay", &body.to_string()).await;
        assert!(status == 422 && answer["detail"].as_str().unwrap().contains(told), "{body}: {answer}");
    }
    let (status, answer) = call(&gateway, "POST", &replay, &" ".repeat(300 * 1024)).await;
    assert_eq!((status, &answer["type"]), (413, &json!("urn:waypost:problem:body_too_large")), "{answer}");
    for (method, path) in [("POST", replay.as_str()), ("POST", "/v1/webhooks/wh_0/replay"), ("DELETE", "/v1/replays/a")]
    {
        let (status, _) = Api::new(method, path).with("x-api-key", READER).call(&gateway).await;
        assert_eq!(status, 403, "{path}");
        let (status, _) = Api::new(method, path).with("x-api-key", "no").call(&gateway).await;
        assert_eq!(status, 401, "{path}");
    }
    let (status, _) = Api::new("GET", "/v1/replays").with("x-api-key", READER).call(&gateway).await;
    assert_eq!(status, 200);

    // The endpoint goes from the config file, and with that is disabled.
    gateway.configure(&hooks.endpoints(1..2, MORE));
    gateway.signal("HUP");
    let retry = format!("/v1/deliveries/{delivery}/retry");
    let mut answer = (201, Value::Null);
    for _ in 0..1_000 {
        answer = call(&gateway, "POST", &retry, "").await;
        if answer.0 != 201 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((answer.0, &answer.1["type"]), (409, &json!("urn:waypost:problem:not_replayable")), "{answer:?}");
    let detail = answer.1["detail"].as_str().unwrap();
    assert!(detail.contains("`wh_0` is disabled") && detail.contains("config file"), "{detail}");
    let (status, made) = call(&gateway, "POST", &replay, "").await;
    assert_eq!((status, made["data"].as_array().unwrap().len()), (201, 1), "the other gets it: {made}");
    assert_eq!(made["left_out"][0]["endpoint_id"], "wh_0");
}
