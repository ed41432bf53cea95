//! Who may do what, and what is said of a body that is wrong.

use serde_json::{Value, json};

use super::{Inbox, Stage, text};
use crate::gateway::endpoint;

const READ: &str = "read-0123456789abcdef0123456789abcdef";
const WRITE: &str = "write-0123456789abcdef0123456789abcdef";

fn keys() -> String {
    [("read", READ), ("write", WRITE)]
        .map(|(scope, key)| {
            format!("[[api.keys]]\nname = \"{scope}\"\nkey = \"{key}\"\nscopes = [\"read\", \"{scope}\"]\n")
        })
        .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_scope_may_do_its_own() {
    let stage = Stage::new("embedded", &keys()).await;
    let body = json!({"url": "https://a.example/", "headers": {"x-a": "hunter2"}});
    let id = text(&stage.done("POST /v1/webhooks", body).await["id"]);
    let url = json!({"url": "https://a.example/2"});
    let cases = [
        ("GET /v1/webhooks".to_owned(), Value::Null, 200, 200),
        (format!("GET /v1/webhooks/{id}"), Value::Null, 200, 200),
        ("POST /v1/webhooks".to_owned(), url.clone(), 403, 201),
        (format!("PATCH /v1/webhooks/{id}"), url, 403, 200),
        (format!("POST /v1/webhooks/{id}/disable"), Value::Null, 403, 200),
        (format!("POST /v1/webhooks/{id}/rotate"), Value::Null, 403, 200),
        (format!("DELETE /v1/webhooks/{id}/secrets/old"), Value::Null, 403, 204),
        (format!("GET /v1/webhooks/{id}/secret"), Value::Null, 403, 403),
        (format!("DELETE /v1/webhooks/{id}"), Value::Null, 403, 204),
    ];
    for (route, body, of_read, of_write) in cases {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        assert_eq!(stage.gateway.call("", &route, &body).await.0, 401, "{route}");
        for (key, expected) in [(READ, of_read), (WRITE, of_write)] {
            let (status, answer) = stage.gateway.call(key, &route, &body).await;
            assert_eq!(status, expected, "{route}: {answer}");
            // The value of a header may be a credential.
            assert!(!answer.to_string().contains("hunter2"), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_see_a_header_cannot_have_it_sent_elsewhere() {
    let stage = Stage::new("embedded", &keys()).await;
    let body = json!({"url": "https://a.example/1", "headers": {"authorization": "hunter2"}});
    let route = format!("PATCH /v1/webhooks/{}", text(&stage.done("POST /v1/webhooks", body).await["id"]));
    let cases = [
        (WRITE, json!({"url": "https://evil.example/1"}), 422),
        (WRITE, json!({"url": "https://a.example:8443/1"}), 422),
        (WRITE, json!({"url": "https://evil.example/1", "headers": {"authorization": null}}), 422),
        (WRITE, json!({"url": "https://A.example/2"}), 200),
        (WRITE, json!({"url": "https://b.example/", "headers": {"authorization": "another"}}), 200),
        (crate::gateway::API_KEY, json!({"url": "https://c.example/"}), 200),
        (WRITE, json!({"url": "https://d.example/", "headers": {}}), 200),
    ];
    for (key, body, expected) in cases {
        let (status, answer) = stage.gateway.call(key, &route, &body.to_string()).await;
        assert_eq!(status, expected, "{body}: {answer}");
        assert!(expected == 200 || answer["field"] == "headers", "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_wrong_is_told_what_is_and_makes_nothing() {
    let stage = Stage::new("embedded", "").await;
    let cases = [
        ("[]", 422, "bad_body", ""),
        ("{\"url\":", 422, "bad_body", ""),
        ("", 422, "bad_body", "url: is no absolute `https` URL; write one such as"),
        ("{\"url\":\"https://169.254.169.254/\"}", 422, "bad_body", "url: leads to a link-local address"),
        ("{\"url\":\"https://a.example/\",\"id\":\"wh_1\"}", 422, "bad_body", "id: unknown field `id`"),
        ("{\"url\":\"https://a.example/\",\"secret\":\"hunter2\"}", 422, "bad_body", "secret: a secret must be"),
        ("{\"url\":\"https://a.example/\",\"sources\":[\"x\"]}", 422, "bad_body", "sources: there is no source `x`"),
    ];
    for (body, status, problem, detail) in cases {
        let (answered, told) = stage.gateway.call(crate::gateway::API_KEY, "POST /v1/webhooks", body).await;
        assert_eq!((answered, &told["type"]), (status, &format!("urn:waypost:problem:{problem}").into()), "{body}");
        let said = told["detail"].as_str().unwrap_or_default();
        assert!(said.starts_with(detail) && !said.contains("hunter2"), "{told}");
        let field = detail.split(':').next().filter(|field| !field.is_empty());
        assert_eq!(told["field"].as_str(), field, "{told}");
    }
    let large = json!({"url": "https://a.example/", "description": "x".repeat(64 * 1024)});
    let (status, told) = stage.call("POST /v1/webhooks", large).await;
    assert_eq!((status, &told["detail"]), (413, &"the body is larger than 65536 bytes".into()));
    for (path, expected) in [("?status=failed", 400), ("?limit=0", 400), ("?cursor=what", 400), ("?limit=1", 200)] {
        assert_eq!(stage.call(&format!("GET /v1/webhooks{path}"), Value::Null).await.0, expected, "{path}");
    }
    assert_eq!(stage.call("PUT /v1/webhooks", Value::Null).await.0, 405);
    assert_eq!(stage.done("GET /v1/webhooks", Value::Null).await["data"], json!([]));
    assert!(!stage.gateway.data().join("master.key").exists(), "nothing was sealed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_wrong_changes_nothing() {
    let stage = Stage::new("embedded", "").await;
    let made =
        stage.done("POST /v1/webhooks", json!({"url": "https://a.example/", "secret": "sixteen or more."})).await;
    let route = format!("/v1/webhooks/{}", text(&made["id"]));
    // One that is given is not repeated; it signs what it can.
    assert_eq!((made.get("secret"), &made["signatures"]), (None, &json!(["drin"])));
    let cases = [
        (json!({"signatures": ["standard"]}), "signatures: "),
        (json!({"signatures": ["hex", "sha256"]}), "signatures: "),
        (json!({"secret": "hunter2"}), "secret: is not changed here; use POST /v1/webhooks/{id}/rotate"),
        (json!({"id": "wh_2"}), "id: cannot be set; leave it out"),
        (json!({"headers": {"x-a": null}}), "headers.x-a: has no value yet that could be kept"),
        (json!({"url": null}), "url: is no absolute `https` URL"),
        (json!({"active": "yes"}), "active: invalid type: string, expected a boolean"),
    ];
    for (body, expected) in cases {
        let (status, problem) = stage.call(&format!("PATCH {route}"), body).await;
        assert!(status == 422 && text(&problem["detail"]).starts_with(expected), "{status} {problem}");
    }
    assert_eq!(stage.done(&format!("GET {route}"), Value::Null).await, made);
    let off = stage.done(&format!("PATCH {route}"), json!({"active": false, "description": "off"})).await;
    assert_eq!(
        (&off["active"], &off["disabled"]["reason"], &off["description"]),
        (&false.into(), &"operator".into(), &"off".into())
    );
    let on = stage.done(&format!("PUT {route}"), json!({"active": true, "description": null})).await;
    assert_eq!(on, made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_config_no_longer_has_holds_up_no_change_of_the_rest() {
    let source = "[sources.gone]\nprovider = \"mailgun\"\nsigning_keys = [\"test-signing-key-not-a-secret\"]\n";
    let stage = Stage::new("embedded", source).await;
    let body = json!({"url": "https://a.example/", "sources": ["gone"]});
    let route = format!("PATCH /v1/webhooks/{}", text(&stage.done("POST /v1/webhooks", body).await["id"]));
    let stage = stage.restart("").await;
    let changed = stage.done(&route, json!({"description": "b", "active": false})).await;
    assert_eq!((&changed["description"], &changed["sources"]), (&"b".into(), &json!(["gone"])));
    let (status, problem) = stage.call(&route, json!({"sources": ["gone"]})).await;
    assert!(status == 422 && text(&problem["detail"]).starts_with("sources: there is no source `gone`"), "{problem}");
    assert_eq!(stage.done(&route, json!({"sources": null})).await.get("sources"), None);
}

async fn is_the_files_alone(on: &str) {
    let inbox = Inbox::start();
    let file = endpoint("wh_file", &inbox.url("/"), "active = false\n");
    let stage = Stage::new(on, &file).await;
    let shown = stage.done("GET /v1/webhooks/wh_file", Value::Null).await;
    assert_eq!((&shown["managed_by"], &shown["active"]), (&"file".into(), &false.into()));
    let routes = [
        ("PUT /v1/webhooks/wh_file", json!({"url": "https://a.example/"})),
        ("PATCH /v1/webhooks/wh_file", json!({"active": true})),
        ("DELETE /v1/webhooks/wh_file", Value::Null),
        ("GET /v1/webhooks/wh_file/secret", Value::Null),
        ("POST /v1/webhooks/wh_file/rotate", Value::Null),
        ("DELETE /v1/webhooks/wh_file/secrets/old", Value::Null),
        ("POST /v1/webhooks/wh_file/enable", Value::Null),
        ("PUT /api/webhooks/manage", json!({"id": 1, "url": "https://a.example/"})),
        ("PATCH /api/webhooks/manage", json!({"id": 1, "events": "open"})),
        ("DELETE /api/webhooks/manage", json!({"id": 1})),
        ("PUT /api/emails/webhook-endpoints/wh_file/", json!({"url": "https://a.example/"})),
        ("PATCH /api/emails/webhook-endpoints/wh_file", json!({"active": true})),
        ("DELETE /api/emails/webhook-endpoints/wh_file/", Value::Null),
    ];
    for (route, body) in routes {
        let (status, problem) = stage.call(route, body).await;
        assert_eq!((status, &problem["type"]), (409, &"urn:waypost:problem:managed_by_file".into()), "{route}");
        assert!(text(&problem["detail"]).contains("config file"), "{problem}");
    }
    assert_eq!(stage.done("GET /v1/webhooks/wh_file", Value::Null).await, shown);
    // When the file no longer has it, it can go for good.
    let stage = stage.restart("").await;
    assert_eq!(stage.call("DELETE /v1/webhooks/wh_file", Value::Null).await.0, 204);
    let stage = stage.restart("").await;
    assert_eq!(stage.done("GET /v1/webhooks", Value::Null).await["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_the_config_file_is_shown_and_changed_by_the_file_alone_embedded() {
    is_the_files_alone("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_the_config_file_is_shown_and_changed_by_the_file_alone_on_redis() {
    is_the_files_alone("redis").await;
}
