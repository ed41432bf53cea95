//! What the links in a received mail's event lead to, for whom and until when; on both stores, and across gateways.

use futures_util::future::join_all;
use serde_json::Value;
use waypost::clock::{Clock, SystemClock};
use waypost::domain::id::EventId;
use waypost_providers::Signed;

use crate::capture::Capture;
use crate::gateway::{Gateway, Poster, endpoint, until};
use crate::gateways::pair;
use crate::redis_harness::Server;
use crate::tidy::root;
use crate::wire::{self, Reply};

const SOURCE: &str = "[sources.postmark-inbound]\nprovider = \"postmark-inbound\"\nverify = \"basic\"\n\
                      logins = [{ user = \"postmark\", password = \"test login, not a secret\" }]\n";
const PUBLIC: &str = "https://hooks.acme.example/waypost";
const PATHS: &str = "server.public_url is not set, so that links to received mail are paths, which no endpoint can follow; \
                     set it to what this gateway is called by from outside";
const PNG: &[u8] = b"\x89PNG\r\n";

/// A mail with two attachments, as Postmark posts it.
fn mail() -> Signed {
    let text = std::fs::read_to_string(root().join("fixtures/postmark-inbound/inbound-attachments.http")).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.filter(|(name, _)| matches!(*name, "content-type" | "authorization")).collect();
    Signed { headers, body: body.to_owned().into() }
}

/// What a path answers to somebody without a key.
async fn open(gateway: &Gateway, path: &str) -> Reply {
    wire::exchange(gateway.port(), format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap()
}

/// The event that the receiver was told of.
async fn delivered(receiver: &Capture) -> Value {
    until("the event is delivered", async || !receiver.posted().is_empty()).await;
    serde_json::from_str(&receiver.posted()[0].body).unwrap()
}

/// Takes the mail in at one gateway, reads what was delivered, and opens its links at another.
async fn links_of_a_delivery_lead_to_the_content(taker: &Gateway, giver: &Gateway, receiver: &Capture) -> Value {
    assert_eq!(Poster::new().post(&taker.url("postmark-inbound"), mail()).await, Some(200));
    let event = delivered(receiver).await;
    let attached = &event["data"]["mail"]["attachments"];
    for (n, content_type, name, bytes) in
        [(0, "text/plain", "receipt.txt", &b"paid\n"[..]), (1, "image/png", "logo.png", PNG)]
    {
        let link = attached[n]["url"].as_str().unwrap().strip_prefix(PUBLIC).unwrap();
        let reply = open(giver, link).await;
        assert_eq!((reply.status, &reply.bytes[..]), (200, bytes), "{link}");
        for (header, value) in [
            ("content-type", content_type),
            ("content-disposition", &format!("attachment; filename=\"{name}\"; filename*=utf-8''{name}")),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox; default-src 'none'"),
            ("cache-control", "private, no-store"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(reply.header(header), Some(value), "{header} of {name}");
        }
    }
    // The API's own are as good, and the same while the mail is young.
    let shown = giver.read(&format!("/v1/events/{}", event["id"].as_str().unwrap())).await;
    assert_eq!(shown["data"], event["data"]);
    event
}

async fn refused(gateway: &Gateway, path: &str, status: u16, kind: &str) {
    let reply = open(gateway, path).await;
    assert_eq!(reply.status, status, "{path}: {}", reply.body);
    assert!(reply.body.contains(&format!("urn:waypost:problem:{kind}")), "{path}: {}", reply.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_good_for_what_they_were_made_for() {
    let receiver = Capture::answering(|_| 200);
    let target = format!("http://{}/", receiver.address);
    let gateway = Gateway::with("embedded", receiver.address, &format!("public_url = \"{PUBLIC}/\""), "");
    gateway.configure(&format!("{SOURCE}{}", endpoint("wh_1", &target, "")));
    let mut gateway = gateway;
    gateway.up(None);
    gateway.until_alive().await;
    assert!(gateway.logged(PATHS).is_empty());
    let event = links_of_a_delivery_lead_to_the_content(&gateway, &gateway, &receiver).await;
    let id = event["id"].as_str().unwrap();
    let link = event["data"]["mail"]["attachments"][0]["url"].as_str().unwrap().strip_prefix(PUBLIC).unwrap();
    let (path, query) = link.split_once('?').unwrap();
    let (expires, signature) = query.split_once("&signature=").unwrap();
    let expires: i64 = expires.strip_prefix("expires=").unwrap().parse().unwrap();
    let day = 24 * 3_600;
    let left = expires - SystemClock::new().now().as_second();
    assert!((7 * day - 60..=7 * day).contains(&left), "{left}");
    for (wrong, status, kind) in [
        (path.to_owned(), 401, "unauthorized"),
        (format!("{path}?expires={expires}"), 401, "unauthorized"),
        (format!("{path}?signature={signature}"), 403, "bad_link"),
        (format!("{path}?expires={}&signature={signature}", expires + 1), 403, "bad_link"),
        (format!("{}?{query}", path.replace("attachments/0", "attachments/1")), 403, "bad_link"),
        (format!("/v1/events/{id}/content/text?{query}"), 403, "bad_link"),
        (format!("{path}?{query}&more=1"), 400, "bad_query"),
        (format!("/v1/events/{id}?{query}"), 401, "unauthorized"),
    ] {
        refused(&gateway, &wrong, status, kind).await;
    }
    // With a key every part that is there, and none that is not.
    assert_eq!(gateway.get(path).await.unwrap().body, "paid\n");
    let nobody = EventId::of("postmark-inbound", "nobody");
    for gone in [
        format!("/v1/events/{id}/attachments/2"),
        format!("/v1/events/{id}/content/pdf"),
        format!("/v1/events/{nobody}/attachments/0"),
    ] {
        assert_eq!(gateway.get(&gone).await.unwrap().status, 404, "{gone}");
    }
    // Many at once take no more room than they have.
    let many = join_all((0..64).map(|_| open(&gateway, link))).await;
    assert!(
        many.iter().all(|reply| reply.body == "paid\n"),
        "{:?}",
        many.iter().map(|one| one.status).collect::<Vec<_>>()
    );
    // The key outlives the process, and its name is in no log.
    gateway.down();
    gateway.up(None);
    gateway.until_alive().await;
    assert_eq!(open(&gateway, link).await.body, "paid\n");
    assert!(!gateway.log().contains(signature) && !gateway.log().contains("receipt.txt"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_one_gateway_is_good_at_another() {
    let server = Server::start().await;
    let receiver = Capture::answering(|_| 200);
    let target = format!("http://{}/", receiver.address);
    let (one, other) = pair(&server, &format!("{SOURCE}{}", endpoint("wh_1", &target, ""))).await;
    assert_eq!(Poster::new().post(&one.url("postmark-inbound"), mail()).await, Some(200));
    let event = delivered(&receiver).await;
    // Without a public URL they are paths, which is told.
    assert!(!one.logged(PATHS).is_empty());
    let link = event["data"]["mail"]["attachments"][1]["url"].as_str().unwrap();
    for gateway in [&one, &other] {
        assert_eq!(open(gateway, link).await.bytes, PNG);
    }
}
