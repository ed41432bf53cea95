//! `/v1/webhooks/{id}/logs`.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use super::{Inbox, OLD_KEY, Stage, text};
use crate::gateway::{Poster, until};
use crate::hooks::Hooks;
use crate::port;

const READER: &str = "reader-0123456789abcdef0123456789abcdef";

async fn log(stage: &Stage, key: &str, id: &str, query: &str) -> Value {
    let (status, told) = stage.gateway.call(key, &format!("GET /v1/webhooks/{id}/logs{query}"), "").await;
    assert_eq!(status, 200, "{query}: {told}");
    told
}

fn fields(item: &Value) -> Vec<&str> {
    item.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn the_log_tells_each_attempt(on: &str) {
    let reader = format!("[[api.keys]]\nname = \"reader\"\nkey = \"{READER}\"\nscopes = [\"read\"]\n");
    let sick = Hooks::answering(|_| HttpResponse::InternalServerError().body("out of order"));
    let sick = sick.endpoints(0..1, "events = [\"email.delivered\"]\nretry = [1]\n");
    let (stage, fine) = (Stage::new(on, &format!("{OLD_KEY}{reader}{sick}")).await, Inbox::start());
    let admin = crate::gateway::API_KEY;
    let create = async |url: String| {
        text(&stage.done("POST /v1/webhooks", json!({ "url": url, "events": ["delivered"], "retry": [1] })).await["id"])
    };
    let (well, ill) = (create(fine.url("/a")).await, "wh_0".to_owned());
    let gone = create(format!("http://127.0.0.1:{}/c", port::free())).await;
    let poster = Poster::new();
    let mut events = Vec::new();
    for number in 1..=3 {
        let (id, signed) = poster.resend_event_of(number, number, "email.delivered");
        assert_eq!(poster.post(&stage.gateway.url("resend"), signed).await, Some(200));
        events.push(waypost::domain::id::EventId::of("resend", &id).to_string());
    }
    let len = async |id: &str| log(&stage, admin, id, "").await["data"].as_array().unwrap().len();
    until("all attempts are made", async || (len(&well).await, len(&ill).await, len(&gone).await) == (3, 6, 6)).await;
    // What seed 002 asks for, to whoever may read.
    let told = log(&stage, READER, &well, "").await;
    for item in told["data"].as_array().unwrap() {
        let expected = ["attempt", "created_at", "delivery_id", "duration_ms", "event_id", "id", "status", "type"];
        assert_eq!(fields(item), expected, "{item}");
        assert_eq!(
            (&item["attempt"], &item["status"], &item["type"]),
            (&json!(1), &json!(200), &json!("email.delivered"))
        );
        assert!(text(&item["id"]).starts_with("att_") && events.contains(&text(&item["event_id"])), "{item}");
        let delivery = stage.done(&format!("GET /v1/deliveries/{}", text(&item["delivery_id"])), Value::Null).await;
        assert_eq!(delivery["attempts"][0]["started_at"], item["created_at"]);
    }
    assert_eq!((&told["has_more"], told.get("truncated")), (&json!(false), None));
    // Blocked, refused and timed out read the same to who is no admin.
    let told = log(&stage, READER, &gone, "?limit=1").await;
    assert_eq!(
        fields(&told["data"][0]),
        ["attempt", "created_at", "delivery_id", "duration_ms", "event_id", "id", "type"]
    );
    let told = log(&stage, admin, &gone, "?status=none").await;
    assert_eq!((&told["data"][0]["error"], told["data"].as_array().unwrap().len()), (&json!("connect"), 6));
    assert!(text(&told["data"][0]["sent"]).contains("webhook-id"), "{told}");
    // In parts, latest first; and by what was answered.
    let first = log(&stage, admin, &ill, "?limit=4&status=5xx").await;
    let rest = log(&stage, admin, &ill, &format!("?limit=4&status=5xx&cursor={}", text(&first["cursor"]))).await;
    let all: Vec<_> = [&first, &rest].iter().flat_map(|part| part["data"].as_array().unwrap()).cloned().collect();
    assert_eq!(Value::from(all.clone()), log(&stage, admin, &ill, "").await["data"]);
    let numbers: Vec<_> = all.iter().map(|item| item["attempt"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 2, 2, 1, 1, 1], "what was under way together is in the order that it was recorded in");
    assert!(all.iter().all(|item| item["status"] == 500 && item["answer"] == "out of order"), "{all:?}");
    assert_eq!(log(&stage, admin, &ill, "?status=200").await["data"], json!([]));
    for (path, status) in [
        (format!("{ill}/logs?status=fine"), 400),
        (format!("{ill}/logs?cursor=what"), 400),
        (format!("{ill}/logs?type=email.sent"), 400),
        ("wh_nobody/logs".to_owned(), 404),
    ] {
        let (answered, told) = stage.call(&format!("GET /v1/webhooks/{path}"), Value::Null).await;
        assert_eq!(answered, status, "{path}: {told}");
    }
    assert_eq!(stage.gateway.call("stranger", &format!("GET /v1/webhooks/{ill}/logs"), "").await.0, 401);
    the_numbers_agree(&stage, [&well, &ill, &gone]).await;
}

async fn stats(stage: &Stage, key: &str, path: &str) -> Value {
    let (status, told) = stage.gateway.call(key, &format!("GET {path}"), "").await;
    assert_eq!(status, 200, "{path}: {told}");
    told
}

/// Of three events to each: one endpoint that takes them, one that answers 500 twice, one that nobody answers at.
async fn the_numbers_agree(stage: &Stage, [well, ill, gone]: [&String; 3]) {
    let admin = crate::gateway::API_KEY;
    let of = |id: &str| format!("/v1/webhooks/{id}/stats");
    let totals = async || stats(stage, admin, "/v1/stats").await;
    until("all is counted", async || totals().await["deliveries"]["ended"]["failed"] == 6).await;
    let told = stats(stage, admin, &of(well)).await;
    assert_eq!(told["attempts"], json!({"succeeded": 3, "failed": {}}));
    assert_eq!(told["ended"], json!({"delivered": 3, "failed": 0, "skipped": 0, "canceled": 0}));
    assert_eq!((&told["pending"], &told["success_rate"]), (&json!(0), &json!(1.0)));
    let shortened = |at: &Value| text(at)[..23].to_owned();
    // Of attempts that are made at once any may be recorded last.
    let log = log(stage, admin, well, "").await;
    let latest = log["data"].as_array().unwrap().iter().map(|one| shortened(&one["created_at"])).max();
    assert_eq!((Some(shortened(&told["last_success_at"])), told.get("last_failure_at")), (latest, None));
    let told = stats(stage, admin, &of(ill)).await;
    assert_eq!(
        (&told["attempts"], &told["ended"]["failed"]),
        (&json!({"succeeded": 0, "failed": {"5xx": 6}}), &json!(3))
    );
    let failed =
        async |key, query| stats(stage, key, &format!("{}{query}", of(gone))).await["attempts"]["failed"].clone();
    assert_eq!(failed(admin, "?hours=720").await, json!({"connect": 6}));
    assert_eq!(failed(READER, "").await, json!({"no_answer": 6}));
    let told = totals().await;
    let delivered = json!({"source": "resend", "type": "email.delivered", "outcome": "stored", "count": 3});
    assert!(told["received"].as_array().unwrap().contains(&delivered), "{told}");
    assert_eq!(
        (&told["received_total"]["stored"], &told["deliveries"]["attempts"]["succeeded"]),
        (&json!(3), &json!(3))
    );
    for (path, status) in [
        (of(well) + "?hours=0", 400),
        (of(well) + "?hours=721", 400),
        (of(well) + "?since=1", 400),
        (of("wh_nobody"), 404),
    ] {
        assert_eq!(stage.call(&format!("GET {path}"), Value::Null).await.0, status, "{path}");
    }
    assert_eq!(stage.gateway.call("stranger", "GET /v1/stats", "").await.0, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_webhook_tells_each_attempt_on_the_embedded_store() {
    the_log_tells_each_attempt("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_webhook_tells_each_attempt_on_redis() {
    the_log_tells_each_attempt("redis").await;
}
