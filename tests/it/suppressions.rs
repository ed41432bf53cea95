//! The suppression list from real requests to the API, on both stores, and across a crash.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use futures_util::future::join;
use serde_json::{Value, json};
use waypost::domain::id::EventId;
use waypost_providers::Signed;

use crate::client_of_api::{Api, call};
use crate::gateway::{Gateway, Poster, until};
use crate::gateways::pair;
use crate::redis_harness::Server;
use crate::wire;

/// A request, and for each address what puts it on the list.
struct Case {
    source: &'static str,
    signed: Signed,
    expected: Vec<(&'static str, Option<&'static str>)>,
}

fn resend(poster: &Poster, number: u8, kind: &str, to: &str, class: &str) -> Signed {
    let body = format!(
        r#"{{"type":"{kind}","created_at":"2026-03-14T09:27:01.044Z","data":{{"email_id":"r{number}","to":["{to}"],"bounce":{{"type":"{class}"}}}}}}"#
    );
    poster.sign("resend", &body, [number; 16])
}

fn mailgun(poster: &Poster, number: u8, more: &str) -> Signed {
    let body = format!(
        r#"{{"event-data":{{"id":"m{number}","timestamp":1773480460.5,"recipient":"m{number}@mg.example",{more}}}}}"#
    );
    poster.sign("mailgun", &body, [number; 16])
}

fn sendgrid(poster: &Poster) -> Case {
    let events = [
        ("hard@sg.example", r#""event":"bounce","type":"bounce""#, Some("bounce")),
        ("blocked@sg.example", r#""event":"bounce","type":"blocked""#, None),
        ("spam@sg.example", r#""event":"spamreport""#, Some("complaint")),
        ("out@sg.example", r#""event":"unsubscribe""#, Some("unsubscribe")),
        ("group@sg.example", r#""event":"group_unsubscribe","asm_group_id":7"#, None),
        ("dropped@sg.example", r#""event":"dropped","reason":"Bounced Address""#, None),
        ("fine@sg.example", r#""event":"delivered""#, None),
    ];
    let element = |(to, more, _)| format!(r#"{{"email":"{to}","timestamp":1773480415,"sg_event_id":"{to}",{more}}}"#);
    let batch = format!("[{}]", events.map(element).join(","));
    let expected = events.map(|(to, _, reason)| (to, reason)).into();
    Case { source: "sendgrid", signed: poster.sign("sendgrid", &batch, [0; 16]), expected }
}

fn cases(poster: &Poster) -> Vec<Case> {
    let resend = |number, kind, to, class| resend(poster, number, kind, to, class);
    let mailgun = |number, more| mailgun(poster, number, more);
    let (old, known) = (
        r#""event":"failed","severity":"permanent","reason":"old","delivery-status":{"code":498}"#,
        r#""event":"failed","severity":"permanent","reason":"suppress-bounce","delivery-status":{"code":605}"#,
    );
    let one = |source, signed, address, reason| Case { source, signed, expected: vec![(address, reason)] };
    let (bounce, complaint) = (Some("bounce"), Some("complaint"));
    let (hard, soft) = ("Gone <Gone@Rs.example>", "soft+tag@rs.example");
    vec![
        one("resend", resend(1, "email.bounced", hard, "Permanent"), "gone@rs.example", bounce),
        one("resend", resend(2, "email.bounced", soft, "Transient"), "soft%2Btag@rs.example", bounce),
        one("resend", resend(3, "email.complained", "spam@rs.example", ""), "spam@rs.example", complaint),
        one("resend", resend(4, "email.suppressed", "known@rs.example", ""), "known@rs.example", None),
        sendgrid(poster),
        one("mailgun", mailgun(1, old), "m1@mg.example", bounce),
        one("mailgun", mailgun(2, r#""event":"complained""#), "m2@mg.example", complaint),
        one("mailgun", mailgun(3, known), "m3@mg.example", None),
    ]
}

async fn asked(gateway: &Gateway, address: &str) -> (u16, Value) {
    Api::new("GET", &format!("/v1/suppressions/{address}")).call(gateway).await
}

/// Whether it answers as it should, and the event that it names is there.
async fn check(gateway: &Gateway, address: &str, reason: Option<&str>) -> Value {
    let (status, told) = asked(gateway, address).await;
    let Some(reason) = reason else {
        assert_eq!((status, &told["type"]), (404, &"urn:waypost:problem:not_found".into()), "{address}: {told}");
        return told;
    };
    assert_eq!((status, told["reasons"].as_array().unwrap().len()), (200, 1), "{address}: {told}");
    let first = &told["reasons"][0];
    assert_eq!(first["reason"], reason, "{address}: {told}");
    let event = gateway.read(&format!("/v1/events/{}", first["event_id"].as_str().unwrap())).await;
    assert_eq!(first["created_at"].as_str().unwrap().trim_end_matches('Z'), shortest(&event["created_at"]), "{told}");
    told
}

/// As an operator does it, in what is posted and what is asked.
async fn by_hand(gateway: &Gateway) {
    let call = async |route: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        gateway.call(crate::gateway::API_KEY, route, &body).await
    };
    let put = async |body| call("POST /v1/suppressions", body).await;
    let (status, told) = put(json!({"address": "Hand <hand@rs.example>"})).await;
    assert_eq!((status, &told["reasons"][0]["reason"]), (201, &json!("manual")), "{told}");
    assert_eq!(told["reasons"][0].get("event_id"), None);
    assert_eq!(put(json!({"address": "HAND@rs.example"})).await, (200, told.clone()));
    assert_eq!(asked(gateway, "hand@rs.example").await, (200, told));
    let (status, told) = put(json!({"address": "hand@rs.example", "reason": "complaint"})).await;
    assert_eq!((status, told["reasons"].as_array().unwrap().len()), (201, 2), "{told}");
    for wrong in
        [json!({}), json!({"address": "hand"}), json!({"address": "a@b.example", "reason": "mood"}), json!({"a": 1})]
    {
        let (status, told) = put(wrong.clone()).await;
        assert!(status == 422 && !told.to_string().contains("b.example"), "{wrong}: {told}");
    }
    assert_eq!(call("DELETE /v1/suppressions/hand@rs.example", Value::Null).await.0, 204);
    assert_eq!(call("DELETE /v1/suppressions/hand@rs.example", Value::Null).await.0, 404);
    assert_eq!(asked(gateway, "hand@rs.example").await.0, 404);
    for route in ["POST /v1/suppressions", "DELETE /v1/suppressions/hand@rs.example"] {
        assert_eq!(gateway.call("stranger", route, "").await.0, 401);
    }
    assert!(!gateway.log().contains("hand@rs"));
}

/// All that the list shows, in parts of three: the addresses, and how many items have none.
async fn listed(gateway: &Gateway, filter: &str) -> (BTreeSet<String>, usize) {
    let (mut named, mut nameless, mut cursor) = (BTreeSet::new(), 0, String::new());
    loop {
        let path = format!("/v1/suppressions?limit=3&cursor={cursor}{filter}");
        let (status, part) = Api::new("GET", &path).call(gateway).await;
        assert!(status == 200 && part["data"].as_array().unwrap().len() <= 3, "{path}: {part}");
        for item in part["data"].as_array().unwrap() {
            assert!(item["id"].as_str().unwrap().starts_with("sup_") && !item["reasons"][0].is_null(), "{item}");
            match item.get("address") {
                Some(address) => assert!(named.insert(address.as_str().unwrap().to_owned()), "{item} is there twice"),
                None => nameless += 1,
            }
        }
        let Some(next) = part["cursor"].as_str() else { return (named, nameless) };
        assert_eq!(part["has_more"], true);
        next.clone_into(&mut cursor);
    }
}

/// The list of all shows the same as the addresses one by one.
async fn lists(gateway: &Gateway, cases: &[Case]) {
    let expected = |wanted: Option<&str>| -> BTreeSet<String> {
        let all = cases.iter().flat_map(|case| &case.expected);
        let all = all.filter(|(_, reason)| reason.is_some() && (wanted.is_none() || *reason == wanted));
        all.map(|(address, _)| address.replace("%2B", "+")).collect()
    };
    assert_eq!(listed(gateway, "").await, (expected(None), 0));
    for reason in ["complaint", "unsubscribe", "manual"] {
        assert_eq!(listed(gateway, &format!("&reason={reason}")).await, (expected(Some(reason)), 0), "{reason}");
    }
    for wrong in ["reason=mood", "cursor=what", "limit=0", "type=email.sent"] {
        let (status, told) = Api::new("GET", &format!("/v1/suppressions?{wrong}")).call(gateway).await;
        assert_eq!((status, &told["type"]), (400, &json!("urn:waypost:problem:bad_query")), "{wrong}: {told}");
    }
    let stranger = Api::new("GET", "/v1/suppressions").with("x-api-key", "stranger");
    assert_eq!(stranger.call(gateway).await.0, 401);
}

/// A time without the zeros at its end.
fn shortest(at: &Value) -> &str {
    at.as_str().unwrap().trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.')
}

/// Posts all cases to these gateways by turns and asks each about each.
async fn signed_requests_suppress(gateways: &[&Gateway]) {
    let (poster, cases) = (Poster::new(), cases(&Poster::new()));
    let mut first = Vec::new();
    for round in 0..2 {
        for (turn, Case { source, signed, .. }) in cases.iter().enumerate() {
            // At the second round each is a repeat, at another gateway.
            let gateway = gateways[(turn + round) % gateways.len()];
            assert_eq!(poster.post(&gateway.url(source), signed.clone()).await, Some(200), "{source}");
        }
        let mut answers = Vec::new();
        for (address, reason) in cases.iter().flat_map(|case| &case.expected) {
            for gateway in gateways {
                answers.push(check(gateway, address, *reason).await);
            }
        }
        assert!(round == 0 || answers == first, "a repeat changed something");
        first = answers;
    }
    for gateway in gateways {
        let log = gateway.log();
        for (address, _) in cases.iter().flat_map(|case| &case.expected) {
            assert!(!log.contains(address) && !log.contains("rs.example"), "{address} is in the log");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_requests_suppress_on_the_embedded_store() {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    signed_requests_suppress(&[&gateway]).await;
    lists(&gateway, &cases(&Poster::new())).await;
    by_hand(&gateway).await;
    let (_, told) = asked(&gateway, "spam@rs.example").await;
    let event = EventId::of("resend", &format!("msg_{}", "03".repeat(16)));
    let expected = json!({"address": "spam@rs.example", "reasons": [
        {"reason": "complaint", "event_id": event.as_str(), "created_at": "2026-03-14T09:27:01.044Z"}]});
    assert_eq!(told, expected);
    for same in ["SPAM@RS.Example", "spam%40rs.example", "Spam%20%3Cspam@rs.example%3E", "%22spam%22@rs.example"] {
        assert_eq!(asked(&gateway, same).await, (200, told.clone()), "{same}");
    }
    for (wrong, status) in [("spam", 422), ("spam@", 422), ("a@b.example,c@d.example", 422), ("a%2Fb@rs.example", 404)]
    {
        let (answered, told) = asked(&gateway, wrong).await;
        assert_eq!(answered, status, "{wrong}: {told}");
        assert!(status != 422 || told["type"] == "urn:waypost:problem:not_an_address", "{told}");
    }
    let stranger = Api::new("GET", "/v1/suppressions/spam@rs.example").with("x-api-key", "stranger");
    assert_eq!(stranger.call(&gateway).await.0, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_requests_suppress_for_two_gateways_on_redis() {
    let server = Server::start().await;
    let (one, other) = pair(&server, "").await;
    // The first of each, at the same time: they have to agree on the key.
    let (poster, complained) = (Poster::new(), |number: u32| format!("n{number}@customer.example"));
    let post = |gateway: &Gateway, number| {
        let (_, signed) = poster.resend_event_of(number, number, "email.complained");
        let (poster, url) = (poster.clone(), gateway.url("resend"));
        async move { poster.post(&url, signed).await }
    };
    assert_eq!(join(post(&one, 1_001), post(&other, 1_002)).await, (Some(200), Some(200)));
    for (gateway, number) in [(&one, 1_001), (&one, 1_002), (&other, 1_001), (&other, 1_002)] {
        check(gateway, &complained(number), Some("complaint")).await;
    }
    for address in ["n1001@customer.example", "n1002@customer.example"] {
        let removed = call(&one, "DELETE", &format!("/v1/suppressions/{address}"), "").await;
        assert_eq!(removed.0, 204);
    }
    signed_requests_suppress(&[&one, &other]).await;
    lists(&other, &cases(&Poster::new())).await;
    by_hand(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_config_says_which_bounces_suppress() {
    let mut gateway = Gateway::serving("embedded", "[suppression]\non = [\"blocked\"]\n");
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    for Case { source, signed, .. } in cases(&poster) {
        assert_eq!(poster.post(&gateway.url(source), signed).await, Some(200));
    }
    check(&gateway, "blocked@sg.example", Some("bounce")).await;
    check(&gateway, "hard@sg.example", None).await;
    check(&gateway, "gone@rs.example", None).await;
    check(&gateway, "spam@sg.example", Some("complaint")).await;
    check(&gateway, "out@sg.example", Some("unsubscribe")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_more_recipients_than_an_event_has_is_kept_raw_and_suppresses_nobody() {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    for (number, count, reason) in [(1, 1_000, Some("bounce")), (2, 1_001, None)] {
        let to: Vec<_> = (0..count).map(|one| format!("n{number}-{one}@rs.example")).collect();
        let signed = resend(&poster, number, "email.bounced", &to.join("\",\""), "Permanent");
        assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
        for address in [&to[0], &to[999]] {
            check(&gateway, address, reason).await;
        }
    }
    let unreadable = gateway.read("/v1/requests?status=unreadable").await;
    assert_eq!((unreadable["data"].as_array().unwrap().len(), &unreadable["data"][0]["unreadable"]), (1, &1.into()));
}

async fn aborts(gateway: &mut Gateway) {
    let (status, _) = gateway.ended(Duration::from_secs(10)).await.expect("it dies at its point");
    assert_eq!(status.signal(), Some(6), "{status}");
}

/// Dies while it takes a bounce in; then the bounce is in with its suppression, or neither is, and a resend completes it.
async fn bounces_or_not(store: &str, point: &str, is_in: bool) {
    let mut gateway = Gateway::serving(store, "");
    let (id, signed) = Poster::new().resend_event_of(1, 1, "email.bounced");
    let event = format!("/v1/events/{}", EventId::of("resend", &id));
    gateway.up(Some(point));
    gateway.until_alive().await;
    let answered = wire::exchange(gateway.port(), &wire::post("/in/resend", &signed)).await;
    assert!(answered.is_err(), "{point}: {answered:?}");
    aborts(&mut gateway).await;
    gateway.up(None);
    gateway.until_alive().await;
    let known = gateway.get(&event).await.unwrap().status;
    let listed = asked(&gateway, "n1@customer.example").await.0;
    assert_eq!((known == 200, listed == 200), (is_in, is_in), "{point}");
    until("the resend is taken", async || {
        wire::exchange(gateway.port(), &wire::post("/in/resend", &signed)).await.unwrap().status == 200
    })
    .await;
    check(&gateway, "n1@customer.example", Some("bounce")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_leaves_no_bounce_without_its_suppression() {
    let (one, other) = (Server::start().await, Server::start().await);
    let (first, second) = (one.url(), other.url());
    tokio::join!(
        bounces_or_not("embedded", "ingest.before_commit", false),
        bounces_or_not("embedded", "ingest.committed", true),
        bounces_or_not(&first, "address_key.settled", false),
        bounces_or_not(&second, "units.committed", true),
    );
}

/// Dies as it opens the store for the first time.
async fn dies_making_its_key(point: &str) {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(Some(point));
    aborts(&mut gateway).await;
    gateway.up(None);
    gateway.until_alive().await;
    let key = std::fs::read(gateway.data().join("address.key")).unwrap();
    let poster = Poster::new();
    let (_, signed) = poster.resend_event_of(1, 1, "email.bounced");
    assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
    gateway.down();
    gateway.up(None);
    gateway.until_alive().await;
    check(&gateway, "n1@customer.example", Some("bounce")).await;
    assert_eq!(std::fs::read(gateway.data().join("address.key")).unwrap(), key);
    assert!(!gateway.data().join("address.key.new").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_addresses_that_was_half_made_is_made_once() {
    tokio::join!(dies_making_its_key("address_key.written"), dies_making_its_key("address_key.made"));
}
