//! The endpoint APIs of other senders: the commands of their documents, run by curl against a gateway, and the answers
//! that the documents show.

use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::Poster;
use crate::gateway::{API_KEY, endpoint};
use crate::gateways::accepted;
use crate::webhooks::{Inbox, OLD_KEY, Stage, text};

/// Runs a document's command, with this gateway in place of its host and a key of ours; the status and the answer.
fn curl(stage: &Stage, command: &str) -> (u16, Value) {
    let here = format!("http://127.0.0.1:{}", stage.gateway.port());
    let mut command = command.replace("YOUR_API_KEY", API_KEY).replace("$KEY", API_KEY);
    for host in ["https://api.yourdomain.com", "https://api.sentinmail.app", "HOST"] {
        command = command.replace(host, &here);
    }
    let shell = format!("{command} -s --max-time 20 -w '\\n%{{http_code}}'");
    let output = Command::new("sh").args(["-c", &shell]).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let (body, status) = output.rsplit_once('\n').unwrap_or_else(|| panic!("curl is installed: {output}"));
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

/// Each field that a document shows is in the answer and is equal, but for ids and times, which are alike.
fn assert_shown(answer: &Value, document: &Value) {
    for (name, shown) in document.as_object().unwrap() {
        match name.as_str() {
            "created_at" => {
                let is_alike = |time: &str| time.len() == "2026-03-03T10:00:00Z".len() && time.ends_with('Z');
                assert!(is_alike(&text(&answer[name])) && is_alike(&text(shown)), "{answer}");
            }
            _ => assert_eq!(&answer[name], shown, "{name} of {answer}"),
        }
    }
}

async fn platform(on: &str) {
    let inbox = Inbox::start();
    let stage = Stage::new(on, OLD_KEY).await;
    let manage = |method: &str, body: &Value| {
        let auth = "-H 'Authorization: Bearer $KEY' -H 'Content-Type: application/json'";
        curl(&stage, &format!("curl -X {method} HOST/api/webhooks/manage {auth} -d '{body}'"))
    };
    for number in 1..=2 {
        let url = inbox.url(&format!("/{number}"));
        let (status, made) = manage("POST", &json!({ "url": url, "events": "open, click" }));
        assert_eq!((status, &made["id"]), (201, &json!(number)), "{made}");
        assert!(text(&made["secret"]).starts_with("whsec_"), "one that is generated is shown once");
    }
    let (status, made) = manage(
        "POST",
        &json!({"url": "https://yourapp.com/hooks/email-events", "events": "open,click,bounce,unsubscribe",
            "secret": "whsec_your_secret_key_here"}),
    );
    let shown = json!({"id": 3, "url": "https://yourapp.com/hooks/email-events",
        "events": "open,click,bounce,unsubscribe", "active": true, "created_at": "2026-03-03T10:00:00Z"});
    assert_eq!((status, made.get("secret")), (201, None), "{made}");
    assert_shown(&made, &shown);
    let native = stage.done(&format!("GET /v1/webhooks/{}", text(&made["webhook_id"])), Value::Null).await;
    assert_eq!((&native["format"], &native["signatures"]), (&json!("platform"), &json!(["hex"])));

    let back = json!({"id": 3, "webhook_id": made["webhook_id"], "events": "bounce,unsubscribe", "active": false});
    let (status, changed) = manage("PUT", &back);
    assert_eq!((status, &changed["events"], &changed["active"]), (200, &json!("bounce,unsubscribe"), &json!(false)));
    assert_shown(&changed, &json!({"id": 3, "url": shown["url"], "created_at": shown["created_at"]}));
    assert_eq!(manage("DELETE", &json!({"id": 3})).0, 204);
    assert_eq!(manage("DELETE", &json!({"id": 3})).0, 404);
    let (_, made) = manage("POST", &json!({ "url": inbox.url("/4"), "events": "email.bounce" }));
    assert_eq!(made["id"], 4, "a number is not given twice");
    let (status, list) = curl(&stage, "curl HOST/api/webhooks/manage -H 'X-API-Key: $KEY'");
    let ids: Vec<_> = list["webhooks"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!((status, ids), (200, vec![json!(1), json!(2), json!(4)]), "{list}");

    // An event comes as that document has it.
    let (_, changed) = manage("PATCH", &json!({"id": 1, "events": "email.delivered"}));
    assert_eq!((&changed["events"], &changed["active"]), (&json!("email.delivered"), &json!(true)));
    let event = accepted(&Poster::new(), &stage.gateway, 1).await;
    let came = inbox.wait("/1", &event).await;
    let body: Value = serde_json::from_str(&came.body).unwrap();
    assert_eq!(body["type"], "email.delivered", "{body}");
    assert!(came.headers.contains_key("x-webhook-signature"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_managed_by_number_on_the_embedded_store() {
    platform("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_managed_by_number_on_redis() {
    platform("redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_last_over_a_restart_and_are_the_config_files_too() {
    let inbox = Inbox::start();
    let file = format!("{OLD_KEY}{}", endpoint("wh_file", &inbox.url("/file"), ""));
    let stage = Stage::new("embedded", &file).await;
    let body = json!({"url": inbox.url("/a"), "events": "*"});
    let post = format!("curl -X POST HOST/api/webhooks/manage -H 'X-API-Key: $KEY' -d '{body}'");
    let (_, made) = curl(&stage, &post);
    assert_eq!(made["id"], 2, "{made}");
    stage.done(&format!("DELETE /v1/webhooks/{}", text(&made["webhook_id"])), Value::Null).await;
    let stage = stage.restart(&file).await;
    assert_eq!(curl(&stage, &post).1["id"], 3);
    let (_, list) = curl(&stage, "curl HOST/api/webhooks/manage -H 'X-API-Key: $KEY'");
    assert_eq!((&list["webhooks"][0]["id"], &list["webhooks"][0]["events"]), (&json!(1), &json!("*")), "{list}");
    let (status, refused) =
        curl(&stage, "curl -X DELETE HOST/api/webhooks/manage -H 'X-API-Key: $KEY' -d '{\"id\":1}'");
    assert_eq!((status, &refused["type"]), (409, &json!("urn:waypost:problem:managed_by_file")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_as_everywhere() {
    let stage = Stage::new("embedded", OLD_KEY).await;
    let url = "https://a.example/";
    let (manage, endpoints) = ("/api/webhooks/manage", "/api/emails/webhook-endpoints/");
    let cases = [
        ("POST", manage, json!({"url": url}), 422, "events: is missing; name one event at least"),
        ("POST", manage, json!({"url": url, "events": ["open"]}), 422, "events: is no text; separate the names"),
        ("POST", manage, json!({"url": url, "events": "opne"}), 422, "events: unknown event `opne`"),
        ("POST", manage, json!({"events": "open"}), 422, "url: is no absolute"),
        ("PUT", manage, json!({"events": "open"}), 422, "id: is no webhook's number; send the `id`"),
        ("PUT", manage, json!({"id": "1"}), 422, "id: is no webhook's number"),
        ("PUT", manage, json!({"id": 1}), 404, "no such webhook"),
        ("POST", endpoints, json!({"url": url, "events": []}), 422, "events: names no event; name one"),
        ("POST", endpoints, json!({"url": url, "events": "opened"}), 422, "events: invalid type: string"),
        ("PUT", "/api/emails/webhook-endpoints/wh_1", json!({"events": null}), 422, "events: is missing"),
        ("DELETE", "/api/emails/webhook-endpoints/wh_1/", json!({}), 404, "no such webhook"),
    ];
    for (method, path, body, expected, detail) in cases {
        let (status, problem) = stage.call(&format!("{method} {path}"), body.clone()).await;
        let told = text(&problem["detail"]);
        assert!(status == expected && told.starts_with(detail), "{method} {path} {body}: {status} {told}");
    }
    for path in [manage, endpoints] {
        let (status, _) = stage.gateway.call("not-a-key", &format!("GET {path}"), "").await;
        assert_eq!(status, 401);
        assert_eq!(stage.call(&format!("TRACE {path}"), Value::Null).await.0, 405);
    }
}

async fn sentinmail(on: &str) {
    let stage = Stage::new(on, OLD_KEY).await;
    let (status, made) = curl(
        &stage,
        r#"curl -X POST "https://api.sentinmail.app/api/emails/webhook-endpoints/" \
 -H "X-API-Key: YOUR_API_KEY" \
 -H "Content-Type: application/json" \
 -d '{
 "url": "https://yourapp.com/webhooks/sentinmail",
 "events": ["delivered", "opened", "clicked", "bounced", "unsubscribed"]
 }'"#,
    );
    assert_eq!(status, 201, "{made}");
    assert_shown(
        &made,
        &json!({"url": "https://yourapp.com/webhooks/sentinmail", "active": true, "format": "sentinmail",
            "events": ["delivered", "opened", "clicked", "bounced", "unsubscribed"]}),
    );
    let list = || {
        let command = r#"curl -X GET "https://api.sentinmail.app/api/emails/webhook-endpoints/" \
 -H "X-API-Key: YOUR_API_KEY""#;
        curl(&stage, command)
    };
    let (status, all) = list();
    assert_eq!((status, all.as_array().unwrap().len(), &all[0]["id"]), (200, 1, &made["id"]), "a plain array: {all}");
    let put = r#"curl -X PUT "https://api.sentinmail.app/api/emails/webhook-endpoints/WEBHOOK_ID/" \
 -H "X-API-Key: YOUR_API_KEY" \
 -H "Content-Type: application/json" \
 -d '{
 "url": "https://yourapp.com/webhooks/sentinmail-v2",
 "events": ["bounced", "unsubscribed"]
 }'"#;
    let id = text(&made["id"]);
    let (status, changed) = curl(&stage, &put.replace("WEBHOOK_ID", &id));
    assert_eq!(status, 200);
    assert_shown(
        &changed,
        &json!({"id": id, "url": "https://yourapp.com/webhooks/sentinmail-v2", "events": ["bounced", "unsubscribed"]}),
    );
    for path in ["/api/emails/webhook-endpoints", "/api/emails/webhook-endpoints/"] {
        assert_eq!(stage.done(&format!("GET {path}"), Value::Null).await, json!([changed]));
    }
    for slash in ["", "/"] {
        assert_eq!(stage.done(&format!("GET /api/emails/webhook-endpoints/{id}{slash}"), Value::Null).await, changed);
    }
    let delete = r#"curl -X DELETE "https://api.sentinmail.app/api/emails/webhook-endpoints/WEBHOOK_ID/" \
 -H "X-API-Key: YOUR_API_KEY""#;
    assert_eq!(curl(&stage, &delete.replace("WEBHOOK_ID", &id)).0, 204);
    assert_eq!(list().1, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_a_plain_array_on_the_embedded_store() {
    sentinmail("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_a_plain_array_on_redis() {
    sentinmail("redis").await;
}

async fn selfhosted(on: &str) {
    let stage = Stage::new(on, OLD_KEY).await;
    let (status, made) = curl(
        &stage,
        r#"curl -X POST https://api.yourdomain.com/v1/webhooks \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "url": "https://yourapp.com/webhooks/email",
    "events": ["delivered", "bounced", "complained"],
    "secret": "your-webhook-secret"
  }'"#,
    );
    assert_eq!((status, made.get("secret")), (201, None), "{made}");
    assert_shown(
        &made,
        &json!({"url": "https://yourapp.com/webhooks/email", "events": ["delivered", "bounced", "complained"],
            "active": true, "created_at": "2024-01-15T10:30:00Z", "format": "selfhosted"}),
    );
    let id = text(&made["id"]);
    assert!(id.starts_with("wh_"));
    let (status, list) =
        curl(&stage, "curl https://api.yourdomain.com/v1/webhooks \\\n  -H \"Authorization: Bearer YOUR_API_KEY\"");
    assert_eq!((status, &list["data"][0]), (200, &made), "{list}");
    let put = r#"curl -X PUT https://api.yourdomain.com/v1/webhooks/wh_abc123 \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "events": ["delivered", "bounced", "complained", "opened"]
  }'"#;
    let (status, changed) = curl(&stage, &put.replace("wh_abc123", &id));
    assert_eq!(
        (status, &changed["events"]),
        (200, &json!(["delivered", "bounced", "complained", "opened"])),
        "{changed}"
    );
    let delete = "curl -X DELETE https://api.yourdomain.com/v1/webhooks/wh_abc123 \\\n  -H \"Authorization: Bearer YOUR_API_KEY\"";
    assert_eq!(curl(&stage, &delete.replace("wh_abc123", &id)).0, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_native_api_is_a_seeds_own_on_the_embedded_store() {
    selfhosted("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_native_api_is_a_seeds_own_on_redis() {
    selfhosted("redis").await;
}
