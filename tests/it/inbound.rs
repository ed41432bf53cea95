//! The callback of the providers on a running gateway: each answer of the table in `src/http/inbound.rs`, and its limits.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use waypost::clock::{Clock, SystemClock};
use waypost::domain::id::RequestId;
use waypost::store::Store;
use waypost::store::embedded::Embedded;
use waypost_providers::Signed;

use crate::embedded::LIFETIMES;
use crate::gateway::{Gateway, Poster, receiver, until};
use crate::redis_harness::Server;
use crate::wire::{self, Reply, Wire};

const BODY_BYTES_MAX: usize = 20_000;
const LIMITS: &str = "body_bytes_max = 20000\nmail_bytes_max = 20000\nbody_budget_bytes = 40000\nbody_timeout_s = 5\nrequests_in_flight_max = 4";
const RECEIVED: &str = r#"{"received":true}"#;

/// A gateway with small limits, and what its store is on.
struct Stage {
    gateway: Gateway,
    server: Option<Server>,
}

impl Stage {
    async fn new(on: &str) -> Self {
        let server = if on == "redis" { Some(Server::start().await) } else { None };
        let store = server.as_ref().map_or_else(|| "embedded".to_owned(), Server::url);
        let mut gateway = Gateway::with(&store, receiver().0, LIMITS, "");
        gateway.up(None);
        until("it is ready", async || gateway.get("/readyz").await.is_some_and(|reply| reply.status == 200)).await;
        Self { gateway, server }
    }

    async fn send(&self, request: &[u8]) -> Reply {
        wire::exchange(self.gateway.port(), request).await.unwrap()
    }

    /// The status and the whole body of the answer to a provider's request.
    async fn post(&self, path: &str, signed: &Signed) -> (u16, String) {
        let reply = self.send(&wire::post(path, signed)).await;
        assert_eq!(reply.header("retry-after").is_some(), reply.status == 503, "{reply:?}");
        (reply.status, reply.body)
    }

    /// How many events are in.
    async fn events(&self) -> usize {
        self.gateway.read("/v1/events?limit=100").await["data"].as_array().unwrap().len()
    }
}

fn refused(status: u16, why: &str) -> (u16, String) {
    (status, format!(r#"{{"error":"{why}"}}"#))
}

fn received() -> (u16, String) {
    (200, RECEIVED.to_owned())
}

/// The same with this put in the place of that in its body.
fn altered(signed: &Signed, that: &str, this: &str) -> Signed {
    let body = String::from_utf8(signed.body.to_vec()).unwrap();
    assert!(body.contains(that));
    Signed { headers: signed.headers.clone(), body: body.replace(that, this).into() }
}

async fn each_is_answered_as_promised(on: &str) {
    let (stage, poster) = (Stage::new(on).await, Poster::new());
    let good = poster.resend_event(1).1;
    let mailgun = poster.mailgun_event(1).1;
    let other = |body: &str| Signed { headers: mailgun.headers.clone(), body: body.to_owned().into() };
    let bare = Signed { headers: Default::default(), body: good.body.clone() };
    let form = poster.sign("mailgun", "event=delivered&recipient=a@b.example&Message-Id=form", [8; 16]);
    let too_large = poster.sign("resend", &format!(r#"{{"type":"{}"}}"#, "x".repeat(BODY_BYTES_MAX)), [9; 16]);
    let cases = [
        ("stored", "resend", good.clone(), received()),
        ("stored before", "resend", good.clone(), received()),
        ("a batch", "sendgrid", poster.sendgrid_batch(1, 20).1, received()),
        ("stored", "mailgun", mailgun.clone(), received()),
        ("stored before", "mailgun", mailgun.clone(), received()),
        ("stored before, written otherwise", "mailgun", altered(&mailgun, ":{", ": {"), received()),
        ("a token used again", "mailgun", altered(&mailgun, "mg-1", "mg-2"), refused(406, "not_proven")),
        ("a form", "mailgun", form.clone(), received()),
        (
            "a form with a token used again",
            "mailgun",
            altered(&form, "delivered", "bounced"),
            refused(406, "not_proven"),
        ),
        ("no signature fields", "mailgun", other(r#"{"event-data":{}}"#), refused(406, "not_proven")),
        ("no JSON", "mailgun", other("event=delivered"), refused(406, "not_proven")),
        (
            "a wrong signature",
            "mailgun",
            altered(&mailgun, r#""token":""#, r#""token":"0"#),
            refused(401, "not_proven"),
        ),
        ("no signature", "resend", bare.clone(), refused(401, "not_proven")),
        ("a signature of something else", "resend", altered(&good, "mail-1", "mail-2"), refused(401, "not_proven")),
        ("no signature", "sendgrid", bare, refused(401, "not_proven")),
        ("no such source", "nobody", good.clone(), refused(404, "unknown_source")),
        ("no such source, of mail", "nobody-inbound", good.clone(), refused(503, "unknown_source")),
        ("over the limit", "resend", too_large, refused(413, "body_too_large")),
        ("unknown", "resend", poster.sign("resend", r#"{"type":"email.juggled","data":{}}"#, [2; 16]), received()),
        ("unreadable", "resend", poster.sign("resend", "}garbage{", [3; 16]), received()),
        ("unreadable", "sendgrid", poster.sign("sendgrid", "}garbage{\r\n", [0; 16]), received()),
    ];
    for (what, source, signed, expected) in cases {
        assert_eq!(stage.post(&format!("/in/{source}"), &signed).await, expected, "{on}, {source}: {what}");
    }
    assert_eq!(stage.post("/api/webhooks", &good).await, refused(404, "unknown_source"));
    assert_eq!(stage.events().await, 1 + 20 + 1 + 1);
}

/// What was read of a request that holds nothing but garbage is found in the store, and beside an event in the API.
async fn garbage_is_kept(on: &str) {
    let (mut stage, poster) = (Stage::new(on).await, Poster::new());
    let (garbage, unknown) = ("}garbage{", r#"{"type":"email.juggled","data":{}}"#);
    let mixed = r#"[{"event":"delivered","sg_event_id":"one","timestamp":1773480415,"email":"a@b.example"},7]"#;
    let requests = [("resend", garbage), ("resend", unknown), ("sendgrid", mixed)];
    for (place, (source, body)) in (1..).zip(requests) {
        let signed = poster.sign(source, body, [place; 16]);
        assert_eq!(stage.post(&format!("/in/{source}"), &signed).await, received());
    }
    let events = stage.gateway.read("/v1/events").await;
    let [event] = &events["data"].as_array().unwrap()[..] else { panic!("{events}") };
    let raw = stage.gateway.read(&format!("/v1/events/{}/raw", event["id"].as_str().unwrap())).await;
    assert_eq!((&raw["unreadable"], &raw["unmapped"]), (&1.into(), &0.into()), "{raw}");
    let told = |message: &str, field: &str| {
        let lines = stage.gateway.logged(message).into_iter();
        lines.map(|line| format!("{} {} {}", line["source.name"], line[field], line["count"])).collect::<Vec<_>>()
    };
    assert_eq!(told("kept raw: none of the event types", "provider.kind"), [r#""resend" "email.juggled" 1"#]);
    let unreadable = told("kept raw: unreadable", "reason");
    assert_eq!(unreadable.len(), 2, "{unreadable:?}");
    assert!(unreadable[0].starts_with(r#""resend""#) && unreadable[1].starts_with(r#""sendgrid""#), "{unreadable:?}");
    assert!(!unreadable.concat().contains("null"), "{unreadable:?}");

    assert!(stage.gateway.terminate(Duration::from_secs(5)).await);
    let store: Box<dyn Store> = match &stage.server {
        Some(server) => Box::new(server.store().await),
        None => {
            let clock = Arc::new(SystemClock::new());
            Box::new(Embedded::open(&stage.gateway.data(), clock, LIFETIMES).unwrap())
        }
    };
    for ((source, body), expected) in requests.into_iter().zip([(0, 1), (1, 0), (0, 1)]) {
        let stored = store.request(&RequestId::of(source, body.as_bytes())).await.unwrap().expect(body);
        assert_eq!(stored.request.body, body.as_bytes());
        assert_eq!((stored.unmapped, stored.unreadable), expected, "{on}: {body}");
    }
}

/// Requests whose bodies come slowly, or not at all, or not as told.
async fn bodies_have_limits(on: &str) {
    let (stage, poster) = (Stage::new(on).await, Poster::new());
    let signed = poster.resend_event(1).1;
    let port = stage.gateway.port();
    let clock = SystemClock::new();
    let mut slow = Wire::connect(port).await.unwrap();
    slow.say(&wire::head("/in/resend", &signed, signed.body.len())).await.unwrap();
    slow.say(&signed.body[..1]).await.unwrap();
    let reply = slow.reply().await.unwrap();
    assert_eq!((reply.status, reply.body), refused(408, "body_too_slow"));
    let took = clock.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(7), "{took:?}");

    // A length over the limit is refused before anything of it has come.
    let mut large = Wire::connect(port).await.unwrap();
    large.say(&wire::head("/in/resend", &signed, BODY_BYTES_MAX + 1)).await.unwrap();
    let reply = large.reply().await.unwrap();
    assert_eq!((reply.status, reply.body), refused(413, "body_too_large"));

    // One that is told by nobody, when it is over the limit; the caller gets to read the answer.
    let head = String::from_utf8(wire::head("/in/resend", &signed, 0)).unwrap();
    let chunked = head.replace("content-length: 0", "transfer-encoding: chunked").into_bytes();
    let mut untold = chunked.clone();
    for _ in 0..100 {
        untold.extend_from_slice(format!("3e8\r\n{}\r\n", "x".repeat(1_000)).as_bytes());
    }
    untold.extend_from_slice(b"0\r\n\r\n");
    let reply = stage.send(&untold).await;
    assert_eq!((reply.status, reply.body), refused(413, "body_too_large"));

    let mut broken = chunked;
    broken.extend_from_slice(b"no length\r\n");
    let reply = stage.send(&broken).await;
    assert_eq!((reply.status, reply.body), refused(400, "body_broken"));

    let mut short = Wire::connect(port).await.unwrap();
    short.say(&wire::head("/in/resend", &signed, signed.body.len() + 1)).await.unwrap();
    short.say(&signed.body).await.unwrap();
    short.hush().await.unwrap();
    assert_eq!(short.reply().await.unwrap().status, 400);
    assert_eq!(stage.events().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_answered_as_promised() {
    tokio::join!(each_is_answered_as_promised("embedded"), each_is_answered_as_promised("redis"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_verified_and_unreadable_is_kept() {
    tokio::join!(garbage_is_kept("embedded"), garbage_is_kept("redis"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_has_a_size_and_a_time() {
    bodies_have_limits("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_cannot_be_read_is_refused() {
    let stage = Stage::new("embedded").await;
    let long = format!("POST /in/resend HTTP/1.1\r\nhost: waypost\r\nx-long: {}\r\n\r\n", "x".repeat(200_000));
    for (request, status) in [
        ("POST /in/resend HTP/1.1\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("POST /in/resend HTTP/1.1\r\ncontent-length: many\r\n\r\n", 400),
        ("POST /in/resend HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}", 400),
        ("GET /in/resend HTTP/1.1\r\nhost: waypost\r\n\r\n", 405),
        (&long, 431),
    ] {
        let reply = stage.send(request.as_bytes()).await;
        assert_eq!(reply.status, status, "{}", &request[..request.len().min(80)]);
    }
    let clock = SystemClock::new();
    let mut silent = Wire::connect(stage.gateway.port()).await.unwrap();
    silent.say(b"POST /in/resend HTTP/1.1\r\n").await.unwrap();
    assert_eq!(silent.reply().await.unwrap().status, 408);
    println!("a head that did not come was given up after {:?}", clock.elapsed());
}

/// Connections on which all of an event but its last byte was sent.
async fn halves(stage: &Stage, numbers: Range<u32>) -> Vec<(Wire, Vec<u8>)> {
    let poster = Poster::new();
    let mut halves = Vec::new();
    for number in numbers {
        let mut rest = wire::post("/in/resend", &poster.resend_event(number).1);
        let last = rest.split_off(rest.len() - 1);
        let mut wire = Wire::connect(stage.gateway.port()).await.unwrap();
        wire.say(&rest).await.unwrap();
        halves.push((wire, last));
    }
    // What was sent before this answer has been read by then.
    stage.gateway.until_alive().await;
    halves
}

async fn finish(halves: &mut [(Wire, Vec<u8>)]) -> Vec<(u16, String)> {
    for (wire, last) in &mut *halves {
        wire.say(last).await.unwrap();
    }
    let mut answers = Vec::new();
    for (wire, _) in halves {
        let reply = wire.reply().await.unwrap();
        assert_eq!(reply.header("retry-after").is_some(), reply.status == 503, "{reply:?}");
        answers.push((reply.status, reply.body));
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_uploads_hold_no_place_of_others() {
    let stage = Stage::new("embedded").await;
    let mut slow = halves(&stage, 0..40).await;
    assert_eq!(stage.post("/in/resend", &Poster::new().resend_event(100).1).await, received());
    // They are not refused either.
    for place in 0..slow.len() {
        assert_eq!(finish(&mut slow[place..=place]).await, [received()]);
    }
    assert_eq!(stage.events().await, 41);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_over_the_number_in_flight_are_told_to_come_again() {
    let stage = Stage::new("redis").await;
    let server = stage.server.as_ref().unwrap();
    // Each that has a place waits for the store; one that has none is answered at once.
    let mut asked = halves(&stage, 0..7).await;
    server.signal("STOP");
    let mut answers = finish(&mut asked).await;
    server.signal("CONT");
    answers.sort();
    let expected = [vec![refused(503, "overloaded"); 3], vec![refused(503, "store_unavailable"); 4]].concat();
    assert_eq!(answers, expected);
    until("places are given back", async || {
        let mut again = halves(&stage, 0..4).await;
        finish(&mut again).await == vec![received(); 4]
    })
    .await;
    assert_eq!(stage.events().await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_over_the_budget_are_told_to_come_again() {
    let (stage, poster) = (Stage::new("embedded").await, Poster::new());
    let event = poster.resend_event(1).1;
    let large = |len| {
        let mut bytes = wire::head("/in/resend", &event, BODY_BYTES_MAX);
        bytes.resize(bytes.len() + len, b' ');
        let port = stage.gateway.port();
        async move {
            let mut wire = Wire::connect(port).await.unwrap();
            // One that is refused may be closed before all is sent.
            let _ = wire.say(&bytes).await;
            wire
        }
    };
    let told = [large(0).await, large(0).await, large(0).await];
    assert_eq!(stage.post("/in/resend", &event).await, received(), "a length that is told takes nothing");
    drop(told);
    // Two fill it. One that meets a small request on its way is refused, so more are sent.
    let held = Mutex::new(Vec::new());
    until("the budget is spent", async || {
        let one = large(BODY_BYTES_MAX - 1).await;
        held.lock().unwrap().push(one);
        stage.post("/in/resend", &event).await == refused(503, "overloaded")
    })
    .await;
    drop(held);
    until("it is given back", async || stage.post("/in/resend", &event).await == received()).await;
}
