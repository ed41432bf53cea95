//! The audit log through running gateways: what is done is told, by whom, and nothing of what nobody is to know.

use serde_json::{Value, json};

use crate::gateway::{API_KEY, Gateway, Poster, SECRET, endpoint, until};
use crate::gateways::accepted;
use crate::webhooks::{Inbox, OLD_KEY, Stage, text};

const WRITER_KEY: &str = "writer-0123456789abcdef0123456789abcdef";

fn writer() -> String {
    format!("[[api.keys]]\nname = \"writer\"\nkey = \"{WRITER_KEY}\"\nscopes = [\"write\"]\n")
}

/// The whole log, oldest first: of each entry who, what, to what, and which fields.
pub(super) async fn audit(gateway: &Gateway) -> Vec<(String, String, String, Vec<String>)> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = gateway.read(&format!("/v1/audit?limit=3{cursor}")).await;
        for entry in page["data"].as_array().unwrap() {
            assert!(text(&entry["id"]).starts_with("aud_") && text(&entry["at"]).ends_with('Z'), "{entry}");
            let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let changed = entry["changed"].as_array().into_iter().flatten().map(text).collect();
            all.insert(0, (word("actor"), word("action"), word("target"), changed));
        }
        if page["has_more"] == false {
            return all;
        }
        cursor = format!("&cursor={}", text(&page["cursor"]));
    }
}

/// What is told beyond what was.
struct Log<'a> {
    stage: &'a Stage,
    seen: usize,
}

impl Log<'_> {
    async fn tells(&mut self, expected: &[(&str, &str, &str, &[&str])]) {
        let all = audit(&self.stage.gateway).await;
        let new: Vec<_> =
            all[self.seen..].iter().map(|(who, what, to, fields)| (&**who, &**what, &**to, fields)).collect();
        let expected: Vec<_> =
            expected.iter().map(|(who, what, to, fields)| (*who, *what, *to, fields.to_vec())).collect();
        assert_eq!(
            new.iter().map(|(a, b, c, d)| (*a, *b, *c, d.iter().map(String::as_str).collect())).collect::<Vec<_>>(),
            expected
        );
        self.seen = all.len();
    }

    /// Makes this call, and holds what it tells.
    async fn after(&mut self, route: &str, body: Value, action: &str, target: &str) -> Value {
        let answer = self.stage.done(route, body).await;
        self.tells(&[("test", action, target, &[])]).await;
        answer
    }
}

async fn endpoints(log: &mut Log<'_>, inbox: &Inbox) {
    let url = inbox.url("/api");
    let made = log.stage.done("POST /v1/webhooks", json!({ "url": url, "secret": "a secret that nobody sees" })).await;
    let id = text(&made["id"]);
    log.tells(&[("test", "webhook.created", &id, &[])]).await;
    let one = format!("/v1/webhooks/{id}");
    let patch = format!("PATCH {one}");
    let fields =
        json!({"timeout_s": 3, "description": "x", "headers": {"authorization": "Bearer nobody"}, "active": false});
    log.stage.done(&patch, fields).await;
    let changed: &[&str] = &["description", "headers", "timeout_s"];
    log.tells(&[("test", "webhook.updated", &id, changed), ("test", "webhook.disabled", &id, &[])]).await;
    log.stage.done(&patch, json!({"timeout_s": 3})).await;
    log.tells(&[]).await;
    log.after(&format!("POST {one}/enable"), Value::Null, "webhook.enabled", &id).await;
    log.after(&format!("POST {one}/disable"), Value::Null, "webhook.disabled", &id).await;
    log.stage.done(&format!("POST {one}/enable"), Value::Null).await;
    log.tells(&[("test", "webhook.enabled", &id, &[])]).await;
    log.after(&format!("POST {one}/rotate"), json!({}), "webhook.secret_rotated", &id).await;
    log.after(&format!("GET {one}/secret"), Value::Null, "webhook.secret_shown", &id).await;
    log.after(&format!("DELETE {one}/secrets/old"), Value::Null, "webhook.secret_revoked", &id).await;
    log.after(&format!("POST {one}/test"), Value::Null, "webhook.tested", &id).await;
    log.after(&format!("DELETE {one}"), Value::Null, "webhook.deleted", &id).await;
    // By the APIs of other senders, and by somebody else.
    let platform = json!({"url": url, "events": "open,click"}).to_string();
    let (status, made) = log.stage.gateway.call(WRITER_KEY, "POST /api/webhooks/manage", &platform).await;
    assert_eq!(status, 201, "{made}");
    let (number, id) = (&made["id"], text(&made["webhook_id"]));
    log.tells(&[("writer", "webhook.created", &id, &[])]).await;
    log.stage.done("PUT /api/webhooks/manage", json!({"id": number, "events": "open"})).await;
    log.tells(&[("test", "webhook.updated", &id, &["events"])]).await;
    log.after("DELETE /api/webhooks/manage", json!({"id": number}), "webhook.deleted", &id).await;
    let made = log.stage.done("POST /api/emails/webhook-endpoints/", json!({"url": url, "events": ["*"]})).await;
    log.tells(&[("test", "webhook.created", &text(&made["id"]), &[])]).await;
    log.after(
        &format!("DELETE /api/emails/webhook-endpoints/{}", text(&made["id"])),
        Value::Null,
        "webhook.deleted",
        &text(&made["id"]),
    )
    .await;
    // What is refused changes nothing.
    for (route, status) in [("PATCH /v1/webhooks/wh_file", 409), ("DELETE /v1/webhooks/wh_none", 404)] {
        assert_eq!(log.stage.call(route, json!({"timeout_s": 4})).await.0, status);
    }
    log.tells(&[]).await;
}

async fn events(log: &mut Log<'_>) {
    let gateway = &log.stage.gateway;
    let event = accepted(&Poster::new(), gateway, 1).await;
    gateway.until_idle().await;
    let deliveries = gateway.read(&format!("/v1/events/{event}/deliveries")).await;
    let delivery = text(&deliveries["data"][0]["id"]);
    log.tells(&[]).await;
    log.after(&format!("POST /v1/deliveries/{delivery}/retry"), Value::Null, "delivery.retried", &delivery).await;
    log.after(&format!("POST /v1/events/{event}/replay"), Value::Null, "event.replayed", &event).await;
    let mut since = json!({"since": "2026-01-01T00:00:00Z"});
    let job = log.after("POST /v1/webhooks/wh_file/replay", since.clone(), "webhook.replayed", "wh_file").await;
    let (status, _) = log.stage.call(&format!("DELETE /v1/replays/{}", text(&job["id"])), Value::Null).await;
    let canceled = [("test", "replay.canceled", &*text(&job["id"]), &[][..])];
    // It may have come to its end before.
    log.tells(if status == 202 { &canceled } else { &[] }).await;
    since["dry_run"] = true.into();
    log.stage.done("POST /v1/webhooks/wh_file/replay", since).await;
    log.tells(&[]).await;
    let request = text(&gateway.read(&format!("/v1/events/{event}")).await["request_id"]);
    log.after(&format!("POST /v1/requests/{request}/reprocess"), Value::Null, "request.reprocessed", &request).await;
    log.after("POST /v1/requests/reprocess", json!({}), "requests.reprocessed", "").await;
    let nora = json!({"address": "nora@customer.example"});
    let (status, _) = log.stage.call("POST /v1/suppressions", nora).await;
    assert_eq!(status, 201);
    let id = text(&gateway.read("/v1/suppressions").await["data"][0]["id"]);
    log.tells(&[("test", "address.suppressed", &id, &[])]).await;
    let one = "DELETE /v1/suppressions/nora%40customer.example";
    log.after(one, Value::Null, "address.unsuppressed", &id).await;
    assert_eq!(log.stage.call(one, Value::Null).await.0, 404);
    log.tells(&[]).await;
    log.after("POST /v1/store/confirm", Value::Null, "store.confirmed", "").await;
}

async fn every_change_is_told(on: &str) {
    let (inbox, gone) = (Inbox::start(), Inbox::answering(410));
    let file = endpoint("wh_file", &inbox.url("/file"), "events = [\"email.delivered\"]\nretry = [1]\n");
    let keys = format!("{OLD_KEY}{}", writer());
    let stage = Stage::new(on, &format!("{keys}{file}")).await;
    let mut log = Log { stage: &stage, seen: 0 };
    log.tells(&[("config", "webhook.created", "wh_file", &[])]).await;
    endpoints(&mut log, &inbox).await;
    events(&mut log).await;
    assert_eq!(stage.gateway.call(WRITER_KEY, "GET /v1/audit", "").await.0, 403);
    let all = stage.gateway.read("/v1/audit?limit=100").await.to_string();
    for secret in ["nora", "customer.example", "nobody", "whsec_", SECRET, API_KEY] {
        assert!(!all.contains(secret), "`{secret}` is told: {all}");
    }
    // What the file says now, and what an endpoint answers.
    let seen = log.seen;
    let changed = endpoint("wh_file", &inbox.url("/file"), "events = [\"email.sent\"]\nretry = [1]\n");
    let asks = endpoint("wh_gone", &gone.url("/gone"), "retry = [1]\n");
    stage.gateway.configure(&format!("{keys}{changed}{asks}"));
    stage.gateway.signal("HUP");
    let is_told = async |what: &str, count| {
        until(what, async || audit(&stage.gateway).await.iter().filter(|entry| entry.1 == what).count() > count).await;
    };
    is_told("webhook.updated", 2).await;
    let mut log = Log { stage: &stage, seen };
    log.tells(&[("config", "webhook.updated", "wh_file", &["events"]), ("config", "webhook.created", "wh_gone", &[])])
        .await;
    accepted(&Poster::new(), &stage.gateway, 2).await;
    is_told("webhook.disabled", 2).await;
    log.tells(&[("gateway", "webhook.disabled", "wh_gone", &[])]).await;
    let seen = log.seen;
    let stage = stage.restart(&format!("{keys}{asks}")).await;
    let mut log = Log { stage: &stage, seen };
    log.tells(&[("config", "webhook.disabled", "wh_file", &[])]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_told_on_the_embedded_store() {
    every_change_is_told("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_told_on_redis() {
    every_change_is_told("redis").await;
}
