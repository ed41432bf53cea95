//! What is served where: the API at an address of its own, and to no page of another site.

use serde_json::json;

use super::{ask, json_of};
use crate::gateway::{API_KEY, Gateway, Poster, until};
use crate::{port, wire};

const KEY: (&str, &str) = ("x-api-key", API_KEY);

/// A gateway whose API is at another port.
async fn with_two_doors() -> (Gateway, u16) {
    let admin = port::free();
    let settings = format!("admin_listen = \"127.0.0.1:{admin}\"");
    let mut gateway = Gateway::with("embedded", ([127, 0, 0, 1], 9).into(), &settings, "");
    gateway.up(None);
    gateway.until_alive().await;
    (gateway, admin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_is_at_one_address_alone_and_probes_at_both() {
    let (gateway, admin) = with_two_doors().await;
    let public = gateway.port();
    for path in ["/healthz", "/readyz"] {
        for port in [public, admin] {
            assert_eq!(ask(port, &format!("GET {path}"), &[], "").await.status, 200, "{path} at {port}");
        }
    }
    // Of what is not there nothing is told, neither with a key.
    let routes = [
        ("POST /in/resend", 401, 404),
        ("GET /in/resend", 405, 404),
        ("POST /in/nobody", 404, 404),
        ("POST /in/resend/token", 404, 404),
        ("POST /api/webhooks", 404, 404),
        ("GET /v1/events", 404, 200),
        ("GET /v1/deliveries?status=failed", 404, 200),
        ("GET /v1/sources", 404, 200),
        ("GET /v1/webhooks", 404, 200),
        ("PUT /v1/webhooks", 404, 405),
        ("GET /v1/audit", 404, 200),
        ("GET /v1/keys", 404, 200),
        ("GET /v1/replays", 404, 200),
        ("GET /api/webhooks/manage", 404, 200),
        ("GET /api/emails/webhook-endpoints/", 404, 200),
        ("POST /v1/store/confirm", 404, 200),
        ("GET /metrics", 404, 200),
        ("GET /v1/nothing", 404, 404),
    ];
    for (route, at_public, at_admin) in routes {
        let answers = [ask(public, route, &[KEY], "").await.status, ask(admin, route, &[KEY], "").await.status];
        assert_eq!(answers, [at_public, at_admin], "{route}");
    }
    // Guesses at the public address are none.
    for _ in 0..50 {
        assert_eq!(ask(public, "GET /v1/events", &[("x-api-key", "guess")], "").await.status, 404);
    }
    assert_eq!(ask(admin, "GET /v1/events", &[("x-api-key", "guess")], "").await.status, 401);
    let poster = Poster::new();
    let (id, signed) = poster.resend_event(1);
    assert_eq!(wire::exchange(public, &wire::post("/in/resend", &signed)).await.unwrap().status, 200);
    let events = json_of(&ask(admin, "GET /v1/events", &[KEY], "").await);
    assert!(events.to_string().contains(&id), "{events}");
    assert_eq!(gateway.logged("waypost serves")[0]["admin_listen"], format!("127.0.0.1:{admin}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_to_received_mail_stay_and_its_paths_with_a_key_move() {
    let (gateway, admin) = with_two_doors().await;
    let public = gateway.port();
    let event = "evt_6rw0336rvbstbyc2qyb6ez17cg";
    for part in ["content/text", "attachments/0"] {
        let path = format!("GET /v1/events/{event}/{part}");
        let link = format!("{path}?expires=1&signature={}", "00".repeat(32));
        // Whoever has a link: it is not ours; whoever has a key: there is no such event.
        assert_eq!(ask(public, &link, &[], "").await.status, 403, "{part}");
        assert_eq!(json_of(&ask(public, &path, &[KEY], "").await)["detail"], "no such route", "{part}");
        assert_eq!(json_of(&ask(admin, &path, &[KEY], "").await)["detail"], "no such event", "{part}");
        assert_eq!(json_of(&ask(admin, &link, &[], "").await)["detail"], "no such route", "{part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_stop_when_it_is_told_to() {
    let (mut gateway, admin) = with_two_doors().await;
    assert!(gateway.terminate(std::time::Duration::from_secs(20)).await);
    gateway.up(None);
    gateway.until_alive().await;
    until("the API is there", async || {
        let head = format!("GET /v1/events HTTP/1.1\r\nhost: a\r\nx-api-key: {API_KEY}\r\n\r\n");
        wire::exchange(admin, head.as_bytes()).await.is_ok_and(|reply| reply.status == 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_of_another_site_is_let_in() {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    let origin = ("origin", "https://evil.example");
    let preflight = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-api-key, content-type"),
        ("access-control-request-private-network", "true"),
    ];
    let paths = ["/v1/webhooks", "/v1/events", "/v1/audit", "/api/webhooks/manage", "/in/resend", "/healthz", "/v1/no"];
    for path in paths {
        for (method, headers) in [("OPTIONS", &preflight[..]), ("GET", &[origin, KEY]), ("POST", &[origin, KEY])] {
            let answer = ask(gateway.port(), &format!("{method} {path}"), headers, "{}").await;
            assert!(method != "OPTIONS" || matches!(answer.status, 404 | 405), "{path}: {answer:?}");
            assert!(!format!("{answer:?}").contains("access-control-"), "{method} {path}: {answer:?}");
        }
    }
    // What a browser sends without asking first has no key, or is no JSON that is taken without one.
    let simple = [origin, ("content-type", "text/plain"), ("cookie", "a=b")];
    let body = json!({"url": "https://evil.example/"}).to_string();
    assert_eq!(ask(gateway.port(), "POST /v1/webhooks", &simple, &body).await.status, 401);
}
