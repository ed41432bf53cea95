//! Searches through the API, on both stores, and across a crash.

use serde_json::{Value, json};

use crate::client_of_api::Api;
use crate::gateway::{Gateway, Poster};
use crate::gateways::pair;
use crate::redis_harness::Server;

async fn get(gateway: &Gateway, path: &str) -> (u16, Value) {
    Api::new("GET", path).call(gateway).await
}

/// The types of the events that are found.
async fn types(gateway: &Gateway, path: &str) -> Vec<String> {
    let (status, told) = get(gateway, path).await;
    assert_eq!(status, 200, "{path}: {told}");
    assert_eq!((&told["has_more"], told.get("scanned_to")), (&json!(false), None), "{path}: {told}");
    told["data"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

/// One mail by SendGrid, of which only some events tell the Message-ID; and one to another.
async fn post(gateway: &Gateway) {
    let event = |number, more: &str| format!(r#"{{"timestamp":177348041{number},"sg_event_id":"e{number}",{more}}}"#);
    let mail = r#""email":"Nora@Customer.example","sg_message_id":"Ab1.filter-1","category":["news","march"]"#;
    let batch = [
        event(1, &format!(r#""event":"processed","smtp-id":"<ab-1@geopod.example>",{mail}"#)),
        event(2, &format!(r#""event":"delivered","smtp-id":"<ab-1@geopod.example>",{mail}"#)),
        event(3, &format!(r#""event":"open",{mail}"#)),
        event(4, r#""event":"delivered","email":"omar@customer.example","sg_message_id":"cd2.filter-1""#),
    ];
    let poster = Poster::new();
    let signed = poster.sign("sendgrid", &format!("[{}]", batch.join(",")), [0; 16]);
    assert_eq!(poster.post(&gateway.url("sendgrid"), signed).await, Some(200));
}

async fn is_found(gateway: &Gateway) {
    let sorted = async |path: &str| {
        let mut types = types(gateway, path).await;
        types.sort();
        types
    };
    let (sent, delivered, opened) = ("email.sent", "email.delivered", "email.opened");
    let of_mail = [delivered, opened, sent];
    for path in [
        "recipient=nora@customer.example",
        "recipient=Nora%20%3CNORA%40customer.example%3E",
        "message_id=Ab1",
        "message_id=%3CAb1%3E",
        "tag=news",
    ] {
        assert_eq!(sorted(&format!("/v1/events?{path}")).await, of_mail, "{path}");
    }
    for path in ["message_id=%3Cab-1@geopod.example%3E", "message_id=ab-1@geopod.example"] {
        assert_eq!(sorted(&format!("/v1/events?{path}")).await, [delivered, sent], "{path}");
    }
    for nothing in [
        "recipient=eve@customer.example",
        "message_id=ab1",
        "tag=new",
        "source=resend",
        "recipient=nora@customer.example&message_id=cd2",
        "until=2026-01-01T00:00:00Z",
    ] {
        assert!(types(gateway, &format!("/v1/events?{nothing}")).await.is_empty(), "{nothing}");
    }
    let narrowed = "recipient=nora@customer.example&type=email.opened&source=sendgrid&tag=march&since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z";
    assert_eq!(types(gateway, &format!("/v1/events?{narrowed}")).await, [opened]);
    // By its Message-ID too, the whole of it.
    for id in ["Ab1", "%3CAb1%3E", "ab-1@geopod.example", "%3Cab-1%40geopod.example%3E"] {
        assert_eq!(types(gateway, &format!("/v1/messages/{id}")).await, [sent, delivered, opened], "{id}");
    }
    let (_, part) = get(gateway, "/v1/messages/ab-1@geopod.example?limit=2").await;
    assert_eq!((part["data"].as_array().unwrap().len(), &part["has_more"]), (2, &json!(true)), "{part}");
    let rest = format!("/v1/messages/ab-1@geopod.example?limit=2&cursor={}", part["cursor"].as_str().unwrap());
    assert_eq!(types(gateway, &rest).await, [opened]);
    let (_, part) = get(gateway, "/v1/events?limit=1&recipient=nora@customer.example").await;
    let scanned_to: jiff::Timestamp = part["scanned_to"].as_str().unwrap().parse().unwrap();
    assert!(part["has_more"] == true && scanned_to > "2026-01-01T00:00:00Z".parse().unwrap(), "{part}");
}

async fn is_refused(gateway: &Gateway) {
    for (path, status, part) in [
        ("/v1/events?recipient=nora", 422, "percent-encode"),
        ("/v1/events?since=yesterday", 400, "`since` is `yesterday`"),
        ("/v1/events?until=2026", 400, "`until` is `2026`"),
        ("/v1/events?since=2026-03-14T09:27:01Z&until=2026-03-13T09:27:01Z", 400, "is not before `until`"),
        ("/v1/events?to=nora@customer.example", 400, "`to`"),
        ("/v1/events?recipient=a@b.example&recipient=c@b.example", 400, "recipient"),
        ("/v1/events?recipient=nora@customer.example&cursor=what", 400, "`cursor`"),
        ("/v1/messages/nobody@customer.example", 404, "no such mail"),
        ("/v1/messages/Ab1?tag=news", 400, "`tag`"),
        ("/v1/messages/%3C%3E", 400, "`message_id` is empty"),
    ] {
        let (answered, told) = get(gateway, path).await;
        assert_eq!(answered, status, "{path}: {told}");
        assert!(told["detail"].as_str().is_some_and(|detail| detail.contains(part)), "{path}: {told}");
    }
    for path in ["/v1/events?recipient=nora@customer.example", "/v1/messages/Ab1"] {
        assert_eq!(Api::new("GET", path).with("x-api-key", "stranger").call(gateway).await.0, 401, "{path}");
    }
    let log = gateway.log();
    assert!(!log.to_lowercase().contains("nora@") && !log.contains("nobody@"), "an address is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_mails_are_found_on_the_embedded_store() {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    post(&gateway).await;
    is_found(&gateway).await;
    is_refused(&gateway).await;
    // What was in memory only is there again.
    gateway.down();
    gateway.up(None);
    gateway.until_alive().await;
    is_found(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_mails_are_found_by_two_gateways_on_redis() {
    let server = Server::start().await;
    let (one, other) = pair(&server, "").await;
    post(&one).await;
    for gateway in [&one, &other] {
        is_found(gateway).await;
        is_refused(gateway).await;
    }
}
