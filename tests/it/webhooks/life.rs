//! An endpoint is made, served, changed and deleted, on both stores.

use std::os::unix::fs::PermissionsExt;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use waypost::domain::id::EventId;

use super::{Came, Inbox, NEW_KEY, OLD_KEY, Stage, text, verifies};
use crate::gateway::{Poster, endpoint, until};
use crate::gateways::accepted;

const CREDENTIAL: &str = "Bearer hunter2-hunter2-hunter2";

/// Posts an event that is accepted; the request that it becomes.
async fn sent(stage: &Stage, inbox: &Inbox, path: &str, number: u32) -> Came {
    let event = accepted(&Poster::new(), &stage.gateway, number).await;
    inbox.wait(path, &event).await
}

async fn is_made_kept_sealed_and_served(on: &str) {
    let inbox = Inbox::start();
    let stage = Stage::new(on, OLD_KEY).await;
    let body = json!({"url": inbox.url("/a"), "events": ["email.*"], "headers": {"Authorization": CREDENTIAL}});
    let made = stage.done("POST /v1/webhooks", body).await;
    let (id, secret) = (text(&made["id"]), text(&made["secret"]));
    assert!(id.starts_with("wh_") && secret.starts_with("whsec_") && secret.len() == 38, "{made}");
    assert_eq!(
        (&made["active"], &made["managed_by"], &made["events"]),
        (&true.into(), &"api".into(), &json!(["email.*"]))
    );
    assert!(!text(&made["created_at"]).contains('.'), "{made}");

    // Posted right after the answer.
    let came = sent(&stage, &inbox, "/a", 1).await;
    assert!(verifies(&came, &secret) && !verifies(&came, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"));
    assert_eq!(came.headers["authorization"], CREDENTIAL);

    let shown = stage.done(&format!("GET /v1/webhooks/{id}"), Value::Null).await;
    assert_eq!((shown.get("secret"), &shown["headers"]["authorization"]), (None, &CREDENTIAL.into()));
    assert_eq!(stage.done("GET /v1/webhooks", Value::Null).await["data"], json!([shown]));
    assert_eq!(stage.done(&format!("GET /v1/webhooks/{id}/secret"), Value::Null).await["secret"], secret.as_str());

    // What is written is told apart from what is not.
    assert!(stage.holds(&id).await);
    let key = "whsec_".len();
    for plain in [&secret, &secret[key..], CREDENTIAL, "hunter2"] {
        assert!(!stage.holds(plain).await, "the store holds it in plain text");
        assert!(!stage.gateway.log().contains(plain), "the log has it");
    }

    let stage = stage.restart(OLD_KEY).await;
    let came = sent(&stage, &inbox, "/a", 2).await;
    assert!(verifies(&came, &secret));
    assert_eq!(came.headers["authorization"], CREDENTIAL);
    assert_eq!(stage.done(&format!("GET /v1/webhooks/{id}"), Value::Null).await, shown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_the_api_is_sealed_and_served_after_a_restart_too_embedded() {
    is_made_kept_sealed_and_served("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_the_api_is_sealed_and_served_after_a_restart_too_on_redis() {
    is_made_kept_sealed_and_served("redis").await;
}

/// Seed 002's own example: its fields come back equal, and its own secret signs as it shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_of_the_selfhosted_api_find_their_own() {
    let inbox = Inbox::start();
    let stage = Stage::new("embedded", "").await;
    let secret = "your-webhook-secret";
    let body = json!({"url": inbox.url("/email"), "events": ["delivered", "bounced", "complained"], "secret": secret});
    let made = stage.done("POST /v1/webhooks", body.clone()).await;
    assert_eq!((&made["url"], &made["events"], &made["active"]), (&body["url"], &body["events"], &true.into()));
    assert_eq!((&made["format"], &made["signatures"]), (&"selfhosted".into(), &json!(["sha256"])));
    assert_eq!((made.get("secret"), text(&made["created_at"]).len()), (None, "2024-01-15T10:30:00Z".len()));
    accepted(&Poster::new(), &stage.gateway, 1).await;
    until("it comes", async || !inbox.came("/email").is_empty()).await;
    let came = &inbox.came("/email")[0];
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(came.body.as_bytes());
    let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(came.headers["x-webhook-signature"], expected);
    assert!(came.body.contains(r#""type":"delivered""#), "{}", came.body);
    // An update, as it shows it.
    let route = format!("PUT /v1/webhooks/{}", text(&made["id"]));
    let events = json!(["delivered", "bounced", "complained", "opened"]);
    let changed = stage.done(&route, json!({"events": events})).await;
    assert_eq!((&changed["events"], &changed["format"]), (&events, &"selfhosted".into()));
}

async fn waits_for_its_key(on: &str) {
    let inbox = Inbox::start();
    let stage = Stage::new(on, OLD_KEY).await;
    let (id, secret) = stage.create(&inbox.url("/a")).await;
    let file = endpoint("wh_file", &inbox.url("/file"), "");
    let stage = stage.restart(&format!("{NEW_KEY}{file}")).await;
    let event = accepted(&Poster::new(), &stage.gateway, 1).await;
    // The file's endpoint needs no key.
    inbox.wait("/file", &event).await;
    let warned = || {
        stage.gateway.logged(
        "a secret or header of the endpoint does not open, so its deliveries wait; give this gateway the master key that \
         sealed it in store.master_keys; if that is lost, rotate the secret, and give the headers again",
    )
    };
    until("it tells which key is missing", async || !warned().is_empty()).await;
    assert_eq!((&warned()[0]["endpoint.id"], &warned()[0]["master_key.id"]), (&id.as_str().into(), &"old".into()));
    let (status, problem) = stage.call(&format!("GET /v1/webhooks/{id}/secret"), Value::Null).await;
    assert_eq!((status, &problem["type"]), (409, &"urn:waypost:problem:no_master_key".into()));
    assert!(text(&problem["detail"]).contains("the master key `old`"), "{problem}");
    assert!(inbox.came("/a").is_empty());

    let stage = stage.restart(&format!("{NEW_KEY}{OLD_KEY}{file}")).await;
    assert!(verifies(&inbox.wait("/a", &event).await, &secret));
    assert_eq!(stage.gateway.logged("webhook created").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_waits_and_is_delivered_when_the_key_is_back_embedded() {
    waits_for_its_key("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_waits_and_is_delivered_when_the_key_is_back_on_redis() {
    waits_for_its_key("redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_without_a_master_key_serves_the_file_and_names_the_key_that_a_secret_needs() {
    let inbox = Inbox::start();
    let stage = Stage::new("redis", &endpoint("wh_file", &inbox.url("/file"), "headers = { x-team = \"a\" }\n")).await;
    let (status, problem) = stage.call("POST /v1/webhooks", json!({"url": inbox.url("/a")})).await;
    assert_eq!((status, &problem["type"]), (409, &"urn:waypost:problem:no_master_key".into()));
    assert!(text(&problem["detail"]).contains("`store.master_keys`"), "{problem}");
    let event = accepted(&Poster::new(), &stage.gateway, 1).await;
    assert_eq!(inbox.wait("/file", &event).await.headers["x-team"], "a");
    let all = stage.done("GET /v1/webhooks", Value::Null).await;
    assert_eq!((&all["data"][0]["id"], all["data"].as_array().unwrap().len()), (&"wh_file".into(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_makes_its_key_on_first_need_and_keeps_it() {
    let inbox = Inbox::start();
    let stage = Stage::new("embedded", "").await;
    let path = stage.gateway.data().join("master.key");
    stage.done("GET /v1/webhooks", Value::Null).await;
    assert!(!path.exists(), "nobody needed it yet");
    let (id, secret) = stage.create(&inbox.url("/a")).await;
    let key = std::fs::read_to_string(&path).unwrap();
    assert!(!stage.gateway.log().contains(key.trim_end()));
    // Whoever restores it from a backup may leave it open to others.
    let warned = "others may read the key in this file; chmod 600 it";
    assert!(stage.gateway.logged(warned).is_empty());
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    // A key of the config is first from now on, and that of the store still opens.
    let stage = stage.restart(NEW_KEY).await;
    let told = stage.gateway.logged(warned);
    assert_eq!((&told[0]["path"], &told[0]["mode"]), (&path.to_str().unwrap().into(), &"640".into()));
    let came = sent(&stage, &inbox, "/a", 1).await;
    assert!(verifies(&came, &secret));
    let rotated = stage.done(&format!("POST /v1/webhooks/{id}/rotate"), Value::Null).await;
    let came = sent(&stage, &inbox, "/a", 2).await;
    assert!(verifies(&came, &secret) && verifies(&came, &text(&rotated["secret"])));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_master_key_costs_the_secret_that_it_sealed_and_no_second_one_takes_its_place() {
    let inbox = Inbox::start();
    let stage = Stage::new("embedded", "").await;
    let (id, _) = stage.create(&inbox.url("/a")).await;
    std::fs::remove_file(stage.gateway.data().join("master.key")).unwrap();
    let stage = stage.restart("").await;
    let (status, problem) = stage.call("POST /v1/webhooks", json!({"url": inbox.url("/b")})).await;
    assert_eq!((status, &problem["type"]), (409, &"urn:waypost:problem:no_master_key".into()), "{problem}");
    assert!(!stage.gateway.data().join("master.key").exists(), "it would be in the way of the one from a backup");
    // With a new key of the config the endpoint gets another secret, and the lost one does not hold it back.
    let stage = stage.restart(NEW_KEY).await;
    let rotated = stage.done(&format!("POST /v1/webhooks/{id}/rotate"), Value::Null).await;
    let came = sent(&stage, &inbox, "/a", 1).await;
    assert!(verifies(&came, &text(&rotated["secret"])) && came.signatures() == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_whose_key_is_lost_can_be_given_again() {
    let inbox = Inbox::start();
    let stage = Stage::new("embedded", OLD_KEY).await;
    let body = json!({"url": inbox.url("/a"), "headers": {"authorization": CREDENTIAL, "x-b": "2"}});
    let route = format!("/v1/webhooks/{}", text(&stage.done("POST /v1/webhooks", body).await["id"]));
    let stage = stage.restart(NEW_KEY).await;
    let event = accepted(&Poster::new(), &stage.gateway, 1).await;
    let headers = json!({"headers": {"authorization": "Bearer another"}});
    assert_eq!(stage.call(&format!("PATCH {route}"), headers.clone()).await.0, 409, "its secret does not open");
    let secret = text(&stage.done(&format!("POST {route}/rotate"), Value::Null).await["secret"]);
    // One that overlaps is not ended for a header's sake.
    let next = text(&stage.done(&format!("POST {route}/rotate"), Value::Null).await["secret"]);
    assert!(inbox.came("/a").is_empty(), "nothing is sent without its headers");
    stage.done(&format!("PATCH {route}"), headers).await;
    let came = inbox.wait("/a", &event).await;
    assert!(verifies(&came, &secret) && verifies(&came, &next));
    assert_eq!((came.headers["authorization"].as_str(), came.headers.get("x-b")), ("Bearer another", None));
}

async fn is_deleted(on: &str) {
    let inbox = Inbox::answering(500);
    let stage = Stage::new(on, OLD_KEY).await;
    let made = stage.done("POST /v1/webhooks", json!({"url": inbox.url("/a"), "retry": [2]})).await;
    let id = text(&made["id"]);
    let came = sent(&stage, &inbox, "/a", 1).await;
    let event = came.event().to_owned();
    assert_eq!(stage.call(&format!("DELETE /v1/webhooks/{id}"), Value::Null).await, (204, Value::Null));
    for (route, body) in [("GET", Value::Null), ("DELETE", Value::Null), ("PATCH", json!({"url": "https://a.example"}))]
    {
        let (status, problem) = stage.call(&format!("{route} /v1/webhooks/{id}"), body).await;
        assert_eq!((status, &problem["detail"]), (404, &"no such webhook".into()), "{route}");
    }
    stage.gateway.until_idle().await;
    let ended = stage.gateway.read(&format!("/v1/events/{event}/deliveries")).await;
    assert_eq!((&ended["data"][0]["status"], &ended["data"][0]["reason"]), (&"canceled".into(), &"deleted".into()));
    let stage = stage.restart(OLD_KEY).await;
    assert_eq!(stage.done("GET /v1/webhooks", Value::Null).await["data"], json!([]));
    let next = accepted(&Poster::new(), &stage.gateway, 2).await;
    assert_eq!(stage.gateway.read(&format!("/v1/events/{next}/deliveries")).await["data"], json!([]));
    assert_eq!(inbox.came("/a").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_endpoint_stays_deleted_and_what_was_pending_is_canceled_embedded() {
    is_deleted("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_endpoint_stays_deleted_and_what_was_pending_is_canceled_on_redis() {
    is_deleted("redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_what_waits() {
    let (wrong, right) = (Inbox::answering(500), Inbox::start());
    let stage = Stage::new("embedded", "").await;
    let body = json!({"url": wrong.url("/a"), "retry": [1, 1, 1], "headers": {"x-a": "1", "x-b": "2"}});
    let made = stage.done("POST /v1/webhooks", body).await;
    let route = format!("/v1/webhooks/{}", text(&made["id"]));
    let event = accepted(&Poster::new(), &stage.gateway, 1).await;
    wrong.wait("/a", &event).await;
    // What was shown may come back with a change in it; a header without a value keeps it.
    let mut shown = stage.done(&format!("GET {route}"), Value::Null).await;
    shown["url"] = right.url("/b").into();
    shown["headers"] = json!({"x-b": null, "x-c": "3"});
    let changed = stage.done(&format!("PUT {route}"), shown).await;
    assert_eq!((&changed["retry"], changed.get("secret")), (&json!([1, 1, 1]), None));
    let came = right.wait("/b", &event).await;
    assert!(verifies(&came, &text(&made["secret"])));
    let header = |name| came.headers.get(name).map(String::as_str);
    assert_eq!((header("x-a"), header("x-b"), header("x-c")), (None, Some("2"), Some("3")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_disabled_is_skipped_until_it_is_enabled_and_a_reload_changes_nothing() {
    let inbox = Inbox::start();
    let file = endpoint("wh_file", &inbox.url("/file"), "");
    let stage = Stage::new("embedded", &file).await;
    let (id, _) = stage.create(&inbox.url("/api")).await;
    for id in ["wh_file", &id] {
        let off = stage.done(&format!("POST /v1/webhooks/{id}/disable"), Value::Null).await;
        assert_eq!(off["active"], false, "{off}");
    }
    let stage = stage.restart(&file).await;
    let skipped = accepted(&Poster::new(), &stage.gateway, 1).await;
    let ended = stage.gateway.read(&format!("/v1/events/{skipped}/deliveries")).await;
    assert!(ended["data"].as_array().unwrap().iter().all(|one| one["status"] == "skipped"), "{ended}");
    for id in ["wh_file", &id] {
        let on = stage.done(&format!("POST /v1/webhooks/{id}/enable"), Value::Null).await;
        assert_eq!((&on["active"], on.get("disabled")), (&true.into(), None));
    }
    for path in ["/file", "/api"] {
        let came = sent(&stage, &inbox, path, 2).await;
        assert_eq!(inbox.came(path).len(), 1);
        assert_ne!(came.event(), EventId::of("resend", "1").as_str());
    }
}
