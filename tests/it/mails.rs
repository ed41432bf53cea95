//! Sources of inbound mail on a running gateway: whatever goes wrong, the mail is to come again.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use waypost::clock::{Clock, SystemClock};
use waypost_providers::{PROVIDERS, Signed};

use crate::gateway::{Gateway, receiver};
use crate::shapes::{SHAPES, Shape, secret, signed, sources, unproven};
use crate::wire::{self, Reply, Wire};

pub(crate) const SOURCE: &str = "[sources.mail]\nprovider = \"postmark-inbound\"\nverify = \"basic\"\n\
    logins = [{ user = \"postmark\", password = \"test login, not a secret\" }]\n";
const LOGIN: &str = "postmark:test login, not a secret";
const MAIL_BYTES_MAX: usize = 30_000;
const LIMITS: &str = "body_bytes_max = 20000\nmail_bytes_max = 30000\nbody_budget_bytes = 40000\nmail_timeout_s = ";

/// A mail as Postmark posts it, with this id and text.
pub(crate) fn mail(id: &str, text: &str, login: &str) -> Signed {
    let body = format!(
        r#"{{"MessageID":"{id}","From":"nora@customer.example","OriginalRecipient":"in@lanyard.example","TextBody":"{text}"}}"#
    );
    let login = format!("Basic {}", STANDARD.encode(login));
    let headers = [("content-type", "application/json"), ("authorization", &login)].into_iter().collect();
    Signed { headers, body: body.into() }
}

/// A mail that proves itself.
pub(crate) fn proven(id: &str, text: &str) -> Signed {
    mail(id, text, LOGIN)
}

/// One with these sources that gives a mail so many seconds.
async fn gateway(timeout_s: u32, sources: &str) -> Gateway {
    let mut gateway = Gateway::with("embedded", receiver().0, &format!("{LIMITS}{timeout_s}"), sources);
    gateway.up(None);
    gateway.until_alive().await;
    gateway
}

fn chunk(len: usize) -> String {
    format!("{len:x}\r\n{}\r\n", "x".repeat(len))
}

/// A connection that has said this, and is given a moment to be heard.
async fn begun(gateway: &Gateway, bytes: &[u8]) -> Wire {
    let mut wire = Wire::connect(gateway.port()).await.unwrap();
    wire.say(bytes).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    wire
}

/// What is answered when these bytes were sent, and nothing more is said to come.
async fn answer(gateway: &Gateway, request: &[u8]) -> Reply {
    let mut wire = Wire::connect(gateway.port()).await.unwrap();
    // One that is refused may be closed before all is sent.
    let _ = wire.say(request).await;
    let _ = wire.hush().await;
    wire.reply().await.unwrap()
}

/// The head of a request that proves what it can, and tells no length.
fn chunked(path: &str, signed: &Signed, chunks: &[String]) -> Vec<u8> {
    let head = String::from_utf8(wire::head(path, signed, 0)).unwrap();
    let head = head.replace("content-length: 0", "transfer-encoding: chunked");
    [head, chunks.concat()].concat().into_bytes()
}

/// What of a mail in this shape never gets in, each with why.
fn failures(shape: &Shape) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let (path, good) = (shape.path(), shape.mail("one", "Hello"));
    let (len, large) = (good.body.len(), "x".repeat(MAIL_BYTES_MAX));
    let head = |len| wire::head(&path, &good, len);
    let chunked = |chunks: &[String]| chunked(&path, &good, chunks);
    let forged = match shape.provider {
        "sendgrid-inbound" => Signed { body: shape.body("two", "Hello").into(), ..good.clone() },
        provider => signed(provider, &shape.body("two", "Hello"), "postmark:another secret, as long"),
    };
    vec![
        ("no length of a chunk", chunked(&["no length\r\n".into()]), "body_broken"),
        ("a wrong length after a chunk", chunked(&[chunk(1_000), "zz\r\n".into()]), "body_broken"),
        ("a chunk without its end", chunked(&["5\r\nabcdefgh\r\n0\r\n\r\n".into()]), "body_broken"),
        ("cut off in a chunk", chunked(&["3e8\r\nabc".into()]), "body_broken"),
        ("cut off after a chunk", chunked(&[chunk(1_000)]), "body_broken"),
        ("shorter than told", [head(len + 1), good.body.to_vec()].concat(), "body_broken"),
        ("larger than allowed, as told", head(MAIL_BYTES_MAX + 1), "body_too_large"),
        ("larger than allowed, untold", chunked(&vec![chunk(1_000); 100]), "body_too_large"),
        ("too large a mail", wire::post(&path, &shape.mail("two", &large)), "body_too_large"),
        ("a wrong proof", wire::post(&path, &forged), "not_proven"),
        // Mailgun's proof is in the body.
        match shape.provider {
            "mailgun-inbound" => ("no body", head(1_000), "body_broken"),
            _ => ("no proof, and no body yet", wire::head(&path, &unproven(&good), 1_000), "not_proven"),
        },
        ("no such source", wire::post("/in/x-inbound", &good), "unknown_source"),
    ]
}

async fn every_failure_of(gateway: &Gateway, shape: &Shape) {
    for (what, request, why) in failures(shape) {
        let reply = answer(gateway, &request).await;
        assert_eq!((reply.status, reply.body), (503, format!(r#"{{"error":"{why}"}}"#)), "{}: {what}", shape.name);
        assert_eq!(answer(gateway, &request).await.header("retry-after"), Some("5"), "{}: {what}", shape.name);
    }
    // A form that lacks a signature's fields is no route's of Mailgun, and nothing that comes again mends that.
    let unproven = Signed { body: shape.body("one", "Hello").into(), ..unproven(&shape.mail("one", "Hello")) };
    let final_answer = if shape.provider == "mailgun-inbound" { 406 } else { 503 };
    assert_eq!(answer(gateway, &wire::post(&shape.path(), &unproven)).await.status, final_answer, "{}", shape.name);
}

async fn a_slow_one_is_told(gateway: &Gateway, shape: &Shape) {
    let (clock, good) = (SystemClock::new(), shape.mail("one", "Hello"));
    let mut slow = Wire::connect(gateway.port()).await.unwrap();
    slow.say(&[wire::head(&shape.path(), &good, good.body.len()), good.body[..1].to_vec()].concat()).await.unwrap();
    let reply = slow.reply().await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (503, r#"{"error":"body_too_slow"}"#), "{}", shape.name);
    let took = clock.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(4), "{}: {took:?}", shape.name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_is_told_to_come_again() {
    for provider in PROVIDERS {
        let is_shaped = SHAPES.iter().any(|shape| shape.provider == provider.name());
        let is_of_mail = provider.name().ends_with("-inbound");
        assert_eq!((provider.receives_mail(), is_shaped), (is_of_mail, is_of_mail), "{}", provider.name());
    }
    let gateway = gateway(2, &sources()).await;
    for shape in &SHAPES {
        every_failure_of(&gateway, shape).await;
    }
    join_all(SHAPES.iter().map(|shape| a_slow_one_is_told(&gateway, shape))).await;
    assert!(gateway.read("/v1/events").await["data"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proven_form_that_cannot_be_read_is_kept() {
    let gateway = gateway(60, &sources()).await;
    let form = SHAPES[1].body("one", "Hello");
    let (provider, secret) = (SHAPES[1].provider, secret(SHAPES[1].provider));
    let without_boundary = [("content-type", "multipart/form-data")].into_iter();
    let cases = [
        ("cut off", signed(provider, &form[..form.len() - 20], &secret)),
        ("no form", signed(provider, "--", &secret)),
        ("no boundary", {
            let good = signed(provider, &form, &secret);
            let others = good.headers.iter().filter(|(name, _)| *name != "content-type");
            Signed { headers: without_boundary.chain(others).collect(), body: good.body }
        }),
    ];
    let count = cases.len();
    for (what, mail) in cases {
        let reply = answer(&gateway, &wire::post(&SHAPES[1].path(), &mail)).await;
        assert_eq!(reply.status, 200, "{what}: {}", reply.body);
    }
    assert_eq!(gateway.read("/v1/requests?status=unreadable").await["data"].as_array().unwrap().len(), count);
    assert!(gateway.read("/v1/events").await["data"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_may_be_larger_than_an_event_and_take_longer() {
    let gateway = gateway(60, SOURCE).await;
    // In one piece of a told length, in chunks, and slowly.
    let told = proven("told", &"x".repeat(25_000));
    assert_eq!(answer(&gateway, &wire::post("/in/mail", &told)).await.status, 200);
    let untold = proven("untold", &"y".repeat(25_000));
    let mut chunks: Vec<_> = untold
        .body
        .chunks(1_000)
        .map(|part| format!("{:x}\r\n{}\r\n", part.len(), std::str::from_utf8(part).unwrap()))
        .collect();
    chunks.push("0\r\n\r\n".into());
    assert_eq!(answer(&gateway, &chunked("/in/mail", &untold, &chunks)).await.status, 200);
    assert_eq!(gateway.read("/v1/events").await["data"].as_array().unwrap().len(), 2);
    for signed in [told, untold] {
        let id = waypost::domain::id::RequestId::of("mail", &signed.body);
        let raw = gateway.read(&format!("/v1/requests/{id}")).await;
        assert_eq!(raw["body_base64"], STANDARD.encode(&signed.body));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_under_way_leave_room_for_events() {
    let gateway = gateway(60, SOURCE).await;
    let good = proven("one", &"x".repeat(MAIL_BYTES_MAX - 1_000));
    let half = [wire::head("/in/mail", &good, good.body.len()), good.body[..25_000].to_vec()].concat();
    let mut first = begun(&gateway, &half).await;
    // More than the share of one source, not more than the budget of all.
    while answer(&gateway, &wire::post("/in/mail", &proven("two", &"y".repeat(10_000)))).await.status != 503 {
        // It was in before the first one's half, which was refused instead.
        first = begun(&gateway, &half).await;
    }
    let event = crate::gateway::Poster::new().sendgrid_batch(1, 60).1;
    assert!(event.body.len() > 8_000 && event.body.len() < 15_000, "{}", event.body.len());
    crate::gateway::until("the event is taken", async || {
        answer(&gateway, &wire::post("/in/sendgrid", &event)).await.status == 200
    })
    .await;
    first.say(&good.body[25_000..]).await.unwrap();
    let reply = first.reply().await.unwrap();
    // A disk that is busy with other tests is slow; room there is.
    assert!(reply.status == 200 || reply.body.contains("store_unavailable"), "{reply:?}");
}
