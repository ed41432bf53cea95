//! The content of mail that Resend keeps, fetched from an API like its own, through refusals and a crash; on both stores.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use waypost::domain::id::EventId;

use crate::gateway::{Gateway, Poster, SECRET, until};
use crate::redis_harness::Server;

const KEY: &str = "re_test_key_that_no_log_shows";
const HTML: &str = "<p>It is paid.</p><script>alert(1)</script>";
const PDF_LEN: usize = 3 << 20;
const RAW: &[u8] = b"Subject: paid\r\n\r\n\xff\xfe";

const MIME: &str = "Subject: paid\r\n\r\nIt is.";

/// A call: its path, and the key it came with.
type Call = (String, Option<String>);

/// Resend's API and the place that it has files downloaded from.
struct Api {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    /// How many calls are yet to be refused with a 429.
    refusals: Arc<Mutex<u32>>,
    /// A path that is answered with this, or not at all.
    fault: Arc<Mutex<Option<(&'static str, Fault)>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Status(u16),
    Silence,
}

impl Api {
    fn start() -> Self {
        let (calls, refusals) = (Arc::<Mutex<Vec<Call>>>::default(), Arc::<Mutex<u32>>::default());
        let fault = Arc::<Mutex<Option<(&'static str, Fault)>>>::default();
        let shared = (Arc::clone(&calls), Arc::clone(&refusals), Arc::clone(&fault));
        let server = HttpServer::new(move || {
            let (calls, refusals, fault) = shared.clone();
            let take = move |request: HttpRequest| {
                let key = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
                calls.lock().unwrap().push((request.uri().to_string(), key));
                let mut refusals = refusals.lock().unwrap();
                let is_refused = *refusals > 0;
                *refusals = refusals.saturating_sub(1);
                let host = request.connection_info().host().to_owned();
                let fault = fault.lock().unwrap().filter(|(path, _)| *path == request.path());
                async move {
                    match fault {
                        _ if is_refused => HttpResponse::TooManyRequests().insert_header(("retry-after", "1")).finish(),
                        Some((_, Fault::Silence)) => std::future::pending().await,
                        Some((_, Fault::Status(status))) => HttpResponse::build(status.try_into().unwrap()).finish(),
                        None => answer(request.path(), &host),
                    }
                }
            };
            App::new().default_service(web::to(take))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        tokio::spawn(server.run());
        Self { address, calls, refusals, fault }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// How often a path was called.
    fn times(&self, path: &str) -> usize {
        self.calls().iter().filter(|(called, _)| called.split('?').next() == Some(path)).count()
    }
}

fn answer(path: &str, host: &str) -> HttpResponse {
    match path {
        "/emails/receiving/mail-1" => HttpResponse::Ok().json(json!({
            "object": "email", "id": "mail-1", "text": null, "html": HTML,
            "raw": {"download_url": format!("http://{host}/cdn/raw"), "expires_at": "2026-11-22T00:00:00Z"},
        })),
        "/emails/receiving/mail-1/attachments" => HttpResponse::Ok().json(json!({
            "object": "list", "has_more": false, "data": [{
                "id": "a1", "filename": "réceipt.pdf", "content_type": "application/pdf",
                "download_url": format!("http://{host}/cdn/a1?signature=s"),
            }],
        })),
        "/cdn/raw" => HttpResponse::Ok().body(RAW),
        "/v3/domains/lanyard.example/messages/k" => {
            HttpResponse::Ok().json(json!({"sender": "nora", "body-mime": MIME}))
        }
        "/cdn/a1" | "/v3/domains/lanyard.example/messages/k/attachments/0" => HttpResponse::Ok().body(pdf()),
        _ => HttpResponse::NotFound().finish(),
    }
}

fn pdf() -> Vec<u8> {
    (0..PDF_LEN).map(|at| (at * 31 % 251) as u8).collect()
}

/// One that gives a mail four seconds at a time, so that what it has leased when it dies falls due soon.
fn gateway(store: &str, api: &Api) -> Gateway {
    let source = format!(
        "[sources.mail]\nprovider = \"resend\"\nsigning_secrets = [\"{SECRET}\"]\napi_key = \"{KEY}\"\n\
         api_timeout_s = 4\napi_url = \"http://{}/\"\n[sources.routed]\nprovider = \"mailgun-inbound\"\nsigning_keys = [\"{SECRET}\"]\n\
         api_key = \"{KEY}\"\napi_url = \"http://{}\"\n[sources.bare]\nprovider = \"resend\"\nsigning_secrets = [\"{SECRET}\"]\n",
        api.address, api.address
    );
    Gateway::serving(store, &source)
}

/// A mail of which the webhook tells one attachment; its event's id at a source.
async fn receive(gateway: &Gateway, source: &str) -> String {
    let body = r#"{"type":"email.received","created_at":"2026-03-14T12:15:09.330Z","data":{"email_id":"mail-1","from":"nora@customer.example","to":["in@lanyard.example"],"subject":"paid","attachments":[{"id":"a1","filename":"receipt.pdf","content_type":"application/pdf"}]}}"#;
    let poster = Poster::new();
    let signed = poster.sign("resend", body, [7; 16]);
    let id = signed.headers.get("svix-id").unwrap().to_owned();
    assert_eq!(poster.post(&gateway.url(source), signed).await, Some(200));
    EventId::of(source, &id).to_string()
}

async fn the_whole_is_there(gateway: &Gateway, event: &str) {
    let of = |part: &str| format!("/v1/events/{event}/{part}");
    let html = gateway.get(&of("content/html")).await.unwrap();
    assert_eq!((html.status, html.body.as_str()), (200, HTML));
    assert!(html.header("content-disposition").unwrap().starts_with("attachment"));
    assert_eq!(gateway.get(&of("content/raw")).await.unwrap().bytes, RAW);
    let file = gateway.get(&of("attachments/0")).await.unwrap();
    assert_eq!((file.status, file.bytes == pdf()), (200, true));
    assert_eq!(
        file.header("content-disposition"),
        Some("attachment; filename=\"r_ceipt.pdf\"; filename*=utf-8''r%c3%a9ceipt.pdf")
    );
    // It was null.
    assert_eq!(gateway.get(&of("content/text")).await.unwrap().status, 404);
    assert_eq!(gateway.get(&of("attachments/1")).await.unwrap().status, 404);
}

async fn is_fetched(gateway: &Gateway, event: &str) -> Value {
    let deliveries = format!("/v1/events/{event}/deliveries");
    until("the mail is fetched", async || gateway.read(&deliveries).await["data"][0]["status"] == "delivered").await;
    gateway.read(&deliveries).await["data"][0].clone()
}

async fn a_mail_is_fetched_once_and_whole(store: &str) {
    let api = Api::start();
    *api.refusals.lock().unwrap() = 1;
    let mut gateway = gateway(store, &api);
    gateway.up(None);
    gateway.until_alive().await;
    let event = receive(&gateway, "mail").await;
    let early = gateway.get(&format!("/v1/events/{event}/content/html")).await.unwrap();
    assert!(early.status == 200 || (early.status, early.header("retry-after").is_some()) == (503, true), "{early:?}");
    let told = is_fetched(&gateway, &event).await;
    assert_eq!(told["endpoint_id"], "fetch_mail");
    the_whole_is_there(&gateway, &event).await;
    let calls = api.calls();
    for (path, key) in &calls {
        let expected = (!path.starts_with("/cdn/")).then(|| format!("Bearer {KEY}"));
        assert_eq!(*key, expected, "{path}");
    }
    // A resend is the same mail.
    receive(&gateway, "mail").await;
    gateway.until_idle().await;
    assert_eq!(api.calls().len(), calls.len());
    // Without a key nothing is fetched, and no link leads there.
    let bare = receive(&gateway, "bare").await;
    let shown = gateway.read(&format!("/v1/events/{bare}")).await;
    assert!(!shown["data"]["mail"].to_string().contains("url"), "{shown}");
    let shown = gateway.read(&format!("/v1/events/{event}")).await;
    let mail = &shown["data"]["mail"];
    assert!(mail["html_url"].is_string() && mail["attachments"][0]["url"].is_string(), "{shown}");
    let log = gateway.log();
    assert!(!log.contains(KEY) && !log.contains("nora@") && !log.contains("ceipt.pdf"));
    assert!(told["attempts"].as_array().unwrap().iter().all(|attempt| attempt["answer"].is_null()), "{told}");
}

async fn what_was_kept_before_a_crash_is_not_fetched_again(store: &str) {
    let api = Api::start();
    let mut gateway = gateway(store, &api);
    // After the HTML, and the raw mail.
    gateway.up(Some("fetch.kept:2"));
    gateway.until_alive().await;
    let event = receive(&gateway, "mail").await;
    let (status, _) = gateway.ended(Duration::from_secs(20)).await.expect("it dies at its point");
    assert_eq!(status.signal(), Some(6), "{status}");
    gateway.up(None);
    gateway.until_alive().await;
    is_fetched(&gateway, &event).await;
    the_whole_is_there(&gateway, &event).await;
    let times = ["/emails/receiving/mail-1", "/cdn/raw", "/cdn/a1"].map(|path| api.times(path));
    assert_eq!(times, [1; 3], "{:?}", api.calls());
}

async fn what_fails_keeps_nothing_else_from_being_fetched(fault: Fault) {
    let api = Api::start();
    *api.fault.lock().unwrap() = Some(("/cdn/raw", fault));
    let mut gateway = gateway("embedded", &api);
    gateway.up(None);
    gateway.until_alive().await;
    let event = receive(&gateway, "mail").await;
    let of = |part: &str| format!("/v1/events/{event}/{part}");
    let status = async |part: &str| gateway.get(&of(part)).await.unwrap().status;
    until("the attachment is fetched", async || status("attachments/0").await == 200).await;
    assert_eq!([status("content/html").await, status("content/raw").await], [200, 503], "{fault:?}");
    until("the attempt failed", async || !gateway.read(&of("deliveries")).await["data"][0]["attempts"][0].is_null())
        .await;
    let attempt = gateway.read(&of("deliveries")).await["data"][0]["attempts"][0].clone();
    match fault {
        Fault::Status(status) => assert_eq!(attempt["status"], status, "{attempt}"),
        Fault::Silence => assert_eq!(attempt["error"], "timeout", "{attempt}"),
    }
    *api.fault.lock().unwrap() = None;
    is_fetched(&gateway, &event).await;
    the_whole_is_there(&gateway, &event).await;
    assert_eq!((api.times("/cdn/a1"), api.times("/cdn/raw")), (1, 2), "{:?}", api.calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_is_not_there_keeps_no_other_from_being_fetched() {
    what_fails_keeps_nothing_else_from_being_fetched(Fault::Status(404)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_hangs_keeps_no_other_from_being_fetched() {
    what_fails_keeps_nothing_else_from_being_fetched(Fault::Silence).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_is_fetched_once_and_whole_to_the_embedded_store() {
    a_mail_is_fetched_once_and_whole("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_is_fetched_once_and_whole_to_redis() {
    a_mail_is_fetched_once_and_whole(&Server::start().await.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_mailgun_stored_is_fetched_from_it_and_from_nobody_else() {
    let (api, stranger) = (Api::start(), Api::start());
    let mut gateway = gateway("embedded", &api);
    gateway.up(None);
    gateway.until_alive().await;
    let post = async |number: u8, host: SocketAddr| {
        let url = format!("http://{host}/v3/domains/lanyard.example/messages/k");
        let attached = json!([{"url": format!("{url}/attachments/0"), "name": "a.pdf"}]).to_string();
        let id = format!("<{number}@customer.example>");
        let fields = [
            ("recipient", "in@lanyard.example"),
            ("sender", "nora@customer.example"),
            ("body-plain", "hi"),
            ("Message-Id", &id),
            ("message-headers", "[]"),
            ("message-url", &url),
            ("attachments", &attached),
        ];
        let body = form(&fields);
        let signed = Poster::new().sign("mailgun-inbound", &body, [number; 16]);
        assert_eq!(Poster::new().post(&gateway.url("routed"), signed).await, Some(200));
        gateway.until_idle().await;
        gateway.read("/v1/events?limit=1").await["data"][0].clone()
    };
    let event = post(1, api.address).await;
    let of = |part: &str| format!("/v1/events/{}/{part}", event["id"].as_str().unwrap());
    assert_eq!(gateway.get(&of("content/raw")).await.unwrap().body, MIME);
    assert!(gateway.get(&of("attachments/0")).await.unwrap().bytes == pdf());
    assert_eq!(gateway.get(&of("content/text")).await.unwrap().body, "hi", "it was in the form");
    let basic = format!("Basic {}", STANDARD.encode(format!("api:{KEY}")));
    let calls = api.calls();
    assert!(calls.len() == 2 && calls.iter().all(|(_, key)| key.as_ref() == Some(&basic)), "{calls:?}");
    let event = post(2, stranger.address).await;
    assert!(event["data"]["mail"]["text_url"].is_string(), "{event}");
    assert_eq!((stranger.calls().len(), api.calls().len()), (0, 2));
}

/// A form, url-encoded.
fn form(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

/// On both stores at once: what a crash leaves leased falls due after a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_before_a_crash_is_not_fetched_again_on_both_stores() {
    let server = Server::start().await;
    let redis = server.url();
    let of = what_was_kept_before_a_crash_is_not_fetched_again;
    futures_util::future::join(of("embedded"), of(&redis)).await;
}
