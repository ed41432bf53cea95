//! A person is erased from a running gateway: found in every place first, and in none after it; on both stores.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::HttpResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use waypost::domain::address::Address;
use waypost::domain::person::Person;
use waypost_providers::Signed;
use xxhash_rust::xxh3::xxh3_64;

use crate::crash_points::ABORTED;
use crate::gateway::{API_KEY, Gateway, Poster, until};
use crate::hooks::Hooks;
use crate::mails::{SOURCE, proven};
use crate::redis_harness::Server;
use crate::wire;

mod uncommitted;

/// No other text looks like it, so that whoever compresses leaves it as it is.
const NORA: &str = "nora.q7xk4w9z@v8mpt3.example";
const OTHER: &str = "olaf@customer.example";
/// A delivery that fails is tried again when the test is long over.
const MORE: &str = "timeout_s = 2\nretry = [3600]\n";

/// A gateway whose endpoints answer what they are told: `wh_0` takes it, `wh_1` does not.
struct Stage {
    gateway: Gateway,
    server: Option<Server>,
    hooks: Hooks,
}

impl Stage {
    async fn new(on: &str) -> Self {
        let hooks = Hooks::answering(|arrival| {
            let status = if arrival.endpoint == "wh_0" { 200 } else { 500 };
            HttpResponse::build(status.try_into().unwrap()).body(arrival.body.clone())
        });
        let server = if on == "redis" { Some(Server::start().await) } else { None };
        let store = server.as_ref().map_or_else(|| "embedded".to_owned(), Server::url);
        let endpoints = format!("{}{SOURCE}", hooks.endpoints(0..2, MORE));
        // What may yet be under way is waited for.
        let limits = "body_timeout_s = 1\nmail_timeout_s = 1\nmail_bytes_max = 4194304";
        let gateway = Gateway::serving_with(&store, limits, &endpoints);
        Self { gateway, server, hooks }
    }

    async fn post(&self, source: &str, signed: &Signed) {
        let reply = wire::exchange(self.gateway.port(), &wire::post(&format!("/in/{source}"), signed)).await.unwrap();
        assert_eq!(reply.status, 200, "{source}: {}", reply.body);
    }

    /// All of them, and waits until each has been tried at each endpoint.
    async fn fill(&self, requests: &[(&str, Signed)], events: usize) {
        for (source, signed) in requests {
            self.post(source, signed).await;
        }
        until("all are told", async || {
            let all = self.hooks.by_delivery().len() == events * 2;
            all && self.list("delivered").await.len() == events
        })
        .await;
    }

    async fn list(&self, status: &str) -> Vec<Value> {
        let list = self.gateway.read(&format!("/v1/deliveries?status={status}&limit=100")).await;
        list["data"].as_array().unwrap().clone()
    }

    async fn events(&self) -> Vec<Value> {
        self.gateway.read("/v1/events?limit=100").await["data"].as_array().unwrap().clone()
    }

    /// The paths of the API that lead to something.
    async fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> =
            ["/v1/events?limit=100", "/v1/feed?limit=500", "/v1/replays", "/v1/sources", "/v1/webhooks"]
                .map(str::to_owned)
                .into();
        for of in ["logs", "stats"] {
            paths.extend(["wh_0", "wh_1"].map(|endpoint| format!("/v1/webhooks/{endpoint}/{of}")));
        }
        paths.extend(["/v1/suppressions", "/v1/messages/r1"].map(str::to_owned));
        paths.push(format!("/v1/events?recipient={}", NORA.replace('@', "%40")));
        for status in ["pending", "delivered", "failed", "skipped", "canceled"] {
            paths.push(format!("/v1/deliveries?status={status}&limit=100"));
            paths.extend(self.list(status).await.iter().map(|one| format!("/v1/deliveries/{}", text(one, "id"))));
        }
        for status in ["unmapped", "unreadable"] {
            let list = format!("/v1/requests?status={status}");
            let found = self.gateway.read(&list).await;
            let ids = found["data"].as_array().unwrap().iter();
            paths.extend(ids.map(|one| format!("/v1/requests/{}", text(one, "id"))));
            paths.push(list);
        }
        for event in self.events().await {
            let id = text(&event, "id");
            paths.extend(
                ["", "/raw", "/deliveries", "/content/text", "/content/raw"].map(|of| format!("/v1/events/{id}{of}")),
            );
            paths.push(format!("/v1/requests/{}", text(&event, "request_id")));
        }
        paths.sort();
        paths.dedup();
        paths
    }

    /// Which of these name her, as they are answered.
    async fn naming(&self, paths: &[String]) -> Vec<String> {
        let person = Person::new(&Address::parse(NORA).unwrap());
        let mut naming = Vec::new();
        for path in paths {
            let body = self.gateway.get(path).await.unwrap().body;
            let coded = serde_json::from_str::<Value>(&body).unwrap_or_default();
            let raw = coded["body_base64"].as_str().map(|coded| STANDARD.decode(coded).unwrap());
            if person.is_in(body.as_bytes()) || raw.is_some_and(|raw| person.is_in(&raw)) {
                naming.push(path.clone());
            }
        }
        naming
    }

    async fn begin(&self, query: &str) -> Value {
        let route = format!("DELETE /v1/recipients/{}{query}", NORA.replace('@', "%40"));
        let (status, job) = self.gateway.call(API_KEY, &route, "").await;
        assert_eq!((status, &job["kind"], &job["state"]), (202, &json!("erasure"), &json!("running")), "{job}");
        job
    }

    async fn done(&self, id: &str) -> Value {
        let path = format!("/v1/replays/{id}");
        until("she is erased", async || {
            let reply = self.gateway.get(&path).await;
            reply.is_some_and(|reply| serde_json::from_str::<Value>(&reply.body).unwrap()["state"] == "done")
        })
        .await;
        self.gateway.read(&path).await
    }

    /// The files of the store that hold her address.
    fn files(&self) -> Vec<PathBuf> {
        let dir = self.server.as_ref().map_or_else(|| self.gateway.data(), |server| server.dir().to_owned());
        let mut found = Vec::new();
        look_through(&dir, &mut found);
        found
    }
}

fn look_through(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look_through(&path, found);
            continue;
        }
        // It may have gone meanwhile.
        let bytes = std::fs::read(&path).unwrap_or_default();
        if holds(&bytes, NORA.as_bytes()) || unpacked(&bytes).any(|text| holds(&text, NORA.as_bytes())) {
            found.push(path);
        }
    }
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(bytes, text).is_some()
}

/// What is compressed in a file, wherever it begins, as far as it can be read.
fn unpacked(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let frames = memchr::memmem::find_iter(bytes, b"\x28\xb5\x2f\xfd");
    frames.map(|at| {
        let mut text = Vec::new();
        // What follows is something else.
        let _ = zstd::Decoder::with_buffer(&bytes[at..]).unwrap().single_frame().read_to_end(&mut text);
        text
    })
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn bounce(poster: &Poster, number: u8, to: &str) -> Signed {
    let body = format!(
        r#"{{"type":"email.bounced","created_at":"2026-03-14T09:27:{number:02}.044Z","data":{{"email_id":"r{number}","to":["{to}"],"bounce":{{"type":"Permanent"}}}}}}"#
    );
    poster.sign("resend", &body, [number; 16])
}

/// What names her: in an address, beside another's, escaped and not understood, in the text of a mail, and in one so long
/// that it is in no event. And what does not.
fn requests(poster: &Poster) -> Vec<(&'static str, Signed)> {
    let element = |id: &str, to: &str| {
        format!(r#"{{"email":"{to}","timestamp":1773480415,"event":"delivered","sg_event_id":"{id}"}}"#)
    };
    let batch = format!("[{},{}]", element("sg-1", NORA), element("sg-2", OTHER));
    let escaped = NORA.replace('@', "\\u0040");
    let unknown =
        format!(r#"{{"type":"email.pondered","created_at":"2026-03-14T09:27:01Z","data":{{"to":"{escaped}"}}}}"#);
    let quoted = format!("From: a forwarded mail. {}", NORA.replace('@', "&#64;"));
    // Large enough for a file or chunks when it is compressed.
    let letter = |n: u32| char::from(b'a' + (xxh3_64(&n.to_be_bytes()) % 26) as u8);
    let noise: String = (0..400_000).map(letter).collect();
    vec![
        ("resend", bounce(poster, 1, &format!("Nora <{}>", NORA.to_uppercase()))),
        ("resend", bounce(poster, 2, OTHER)),
        ("sendgrid", poster.sign("sendgrid", &batch, [0; 16])),
        ("resend", poster.sign("resend", &unknown, [3; 16])),
        ("mail", proven("mail-1", &quoted)),
        ("mail", proven("mail-2", &format!("{noise} {NORA} {noise}"))),
        ("mail", proven("mail-3", "Nothing of the kind")),
    ]
}

/// How many events those are, and how many of them, and of the requests, name her.
const EVENTS: usize = 7;
const HERS: [usize; 2] = [3, 5];

async fn a_person_is_erased(on: &str) {
    let (mut stage, poster) = (Stage::new(on).await, Poster::new());
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    let all = requests(&poster);
    stage.fill(&all, EVENTS).await;
    let ids: Vec<String> = stage.events().await.iter().map(|event| text(event, "id").to_owned()).collect();
    let paths = stage.paths().await;
    let naming = stage.naming(&paths).await;
    for place in [
        "?status=delivered",
        "?status=pending",
        "/raw",
        "/content/text",
        "/deliveries",
        "/v1/requests/req_",
        "/logs",
        "recipient=",
        "/messages/",
        "/suppressions",
    ] {
        assert!(naming.iter().any(|path| path.contains(place)), "{place}: {naming:#?}");
    }
    until("it is on the disk, in more than one file of the embedded store's", async || {
        stage.files().len() > usize::from(on == "embedded")
    })
    .await;
    println!("{on}: {:#?}", stage.files());

    let job = stage.begin("").await;
    let job = stage.done(text(&job, "id")).await;
    assert_eq!(stage.naming(&paths).await, [] as [&str; 0]);
    assert_eq!(stage.naming(&stage.paths().await).await, [] as [&str; 0]);
    until("nothing is on the disk", async || stage.server.is_none() || stage.files().is_empty()).await;
    assert_eq!(stage.files(), [] as [PathBuf; 0]);
    assert_eq!([&job["events"], &job["requests"]], HERS.map(Value::from).each_ref(), "{job}");
    assert_eq!((&job["left_out"], &job["disk_refused"]), (&json!(0), &json!(false)), "{job}");
    assert!(text(&job, "gone_by") > text(&job, "ended_at"), "{job}");
    assert!(!stage.gateway.log().contains(NORA.split('@').next().unwrap()));

    let left: Vec<Value> = stage.events().await;
    assert_eq!(left.len(), EVENTS - HERS[0]);
    let gone: Vec<&String> = ids.iter().filter(|id| left.iter().all(|event| text(event, "id") != **id)).collect();
    for id in gone {
        assert_eq!(stage.gateway.get(&format!("/v1/events/{id}")).await.unwrap().status, 404);
    }
    let canceled = stage.list("canceled").await;
    assert!(canceled.iter().all(|one| one["reason"] == "erased" && one["attempts"][0]["answer"].is_null()));
    assert_eq!((canceled.len(), stage.list("pending").await.len()), (HERS[0], EVENTS - HERS[0]));
    // The other of the batch is still there, and what it came with is not.
    let olaf = left.iter().find(|event| event["data"]["provider"]["event_id"] == "sg-2").unwrap();
    let (status, told) = stage.gateway.call(API_KEY, &format!("GET /v1/events/{}/raw", text(olaf, "id")), "").await;
    assert_eq!((status, &told["type"]), (410, &json!("urn:waypost:problem:erased")), "{told}");
    let route = format!("POST /v1/requests/{}/reprocess", text(olaf, "request_id"));
    assert_eq!(stage.gateway.call(API_KEY, &route, "").await.0, 410);

    nothing_comes_back(&stage, &all, &paths).await;
}

/// Of what was erased, though it is sent again; what comes from now on is hers until she asks again.
async fn nothing_comes_back(stage: &Stage, all: &[(&str, Signed)], paths: &[String]) {
    let before = stage.hooks.arrivals().len();
    for (source, signed) in all {
        stage.post(source, signed).await;
    }
    let number = stage.events().await.len();
    assert_eq!((number, stage.naming(paths).await.len()), (EVENTS - HERS[0], 0), "a copy is a repeat");
    assert_eq!(stage.hooks.arrivals().len(), before);
    let suppressed = async || stage.gateway.get(&format!("/v1/suppressions/{NORA}")).await.unwrap().status;
    assert_eq!(suppressed().await, 200);
    // She writes again, and asks again.
    stage.post("resend", &bounce(&Poster::new(), 9, NORA)).await;
    assert_eq!(stage.events().await.len(), number + 1);
    let job = stage.begin("?suppression=remove").await;
    assert_eq!(stage.done(text(&job, "id")).await["events"], 1);
    assert_eq!((stage.events().await.len(), suppressed().await), (number, 404));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_found_everywhere_and_then_nowhere_embedded() {
    a_person_is_erased("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_found_everywhere_and_then_nowhere_on_redis() {
    a_person_is_erased("redis").await;
}

/// It dies in the middle, and goes on when it is started again; what comes meanwhile is not erased.
async fn goes_on_after(point: &str, on: &str) {
    let (mut stage, poster) = (Stage::new(on).await, Poster::new());
    stage.gateway.up(Some(point));
    stage.gateway.until_alive().await;
    stage.fill(&requests(&poster), EVENTS).await;
    let paths = stage.paths().await;
    let job = stage.begin("").await;
    let (status, _) = stage.gateway.ended(Duration::from_secs(60)).await.expect("it dies at its point");
    assert_eq!(status.signal(), Some(ABORTED), "{point}");
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    stage.post("resend", &bounce(&poster, 9, NORA)).await;
    stage.done(text(&job, "id")).await;
    assert_eq!(stage.naming(&paths[..]).await.iter().filter(|path| path.contains("evt_")).count(), 0, "{point}");
    let left = stage.events().await;
    let hers: Vec<&Value> = left.iter().filter(|event| event["data"]["to"] == NORA).collect();
    assert_eq!((left.len(), hers.len()), (EVENTS - HERS[0] + 1, 1), "{point}");
    let blobs = stage.gateway.data().join("blobs");
    let is_body = |path: &PathBuf| path.to_string_lossy().contains("req_");
    let mut files = Vec::new();
    if blobs.exists() {
        all_files(&blobs, &mut files);
    }
    assert_eq!(files.into_iter().filter(is_body).count(), 0, "{point}");
}

fn all_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all_files(&path, found) } else { found.push(path) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_goes_on_after_a_crash_embedded() {
    for point in ["request.erased:5", "request.erased:6", "replay.made:2", "replay.kept:1"] {
        goes_on_after(point, "embedded").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_goes_on_after_a_crash_on_redis() {
    for point in ["request.erased:2", "deliveries.erased:2", "replay.made:2", "replay.kept:1"] {
        goes_on_after(point, "redis").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_wrongly_erases_nobody() {
    let (mut stage, poster) = (Stage::new("embedded").await, Poster::new());
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    stage.post("resend", &bounce(&poster, 1, NORA)).await;
    for (key, route, status) in [
        ("stranger", format!("DELETE /v1/recipients/{NORA}"), 401),
        (API_KEY, format!("GET /v1/recipients/{NORA}"), 405),
        (API_KEY, "DELETE /v1/recipients/nora".to_owned(), 422),
        (API_KEY, format!("DELETE /v1/recipients/{NORA}?suppression=burn"), 400),
        (API_KEY, format!("DELETE /v1/recipients/{NORA}?suppress=remove"), 400),
    ] {
        let (told, problem) = stage.gateway.call(key, &route, "").await;
        assert!(told == status && !problem.to_string().contains("nora.q7"), "{route}: {told} {problem}");
    }
    assert!(stage.gateway.read("/v1/replays").await["data"].as_array().unwrap().is_empty());
    // One that has only just been asked for can be stopped, and forgets whom it was about.
    let id = text(&stage.begin("").await, "id").to_owned();
    assert_eq!(stage.gateway.call(API_KEY, &format!("DELETE /v1/replays/{id}"), "").await.0, 202);
    until("it is canceled", async || stage.gateway.read(&format!("/v1/replays/{id}")).await["state"] == "canceled")
        .await;
    assert_eq!(stage.events().await.len(), 1);
}
