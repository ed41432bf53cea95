//! The real program as a process of its own, to be killed and started again; and a receiver that writes down what came.

use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use jiff::Timestamp;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use waypost::clock::{Clock, SystemClock};
use waypost::dispatch::client::{Client, Egress};
use waypost::domain::target::Networks;
use waypost_providers::{Draft, Signed, by_name};

use crate::signal::{kill, signal};
use crate::{port, wire};

pub(crate) const SECRET: &str = "whsec_dGVzdCBrZXkgb2YgdGhlIGZpeHR1cmVzOiBub3QgYSBzZWNyZXQ=";
const MAILGUN_KEY: &str = "test-signing-key-not-a-secret";
pub(crate) const API_KEY: &str = "test-0123456789abcdef0123456789abcdef";

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

/// How often each event came.
pub(crate) type Seen = Arc<Mutex<HashMap<String, u32>>>;

/// Answers 200 to everything, and counts by the id that the provider gave.
pub(crate) fn receiver() -> (SocketAddr, Seen) {
    let (_, is_open) = watch::channel(true);
    gated_receiver(is_open)
}

/// The same, but answers only while the gate is open; what it got is counted before.
pub(crate) fn gated_receiver(is_open: watch::Receiver<bool>) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let shared = Arc::clone(&seen);
    let server = HttpServer::new(move || {
        let (seen, is_open) = (Arc::clone(&shared), is_open.clone());
        let handle = move |_: HttpRequest, body: web::Bytes| {
            let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let id = event["data"]["provider"]["event_id"].as_str().unwrap_or_default().to_owned();
            *seen.lock().unwrap().entry(id).or_default() += 1;
            let mut is_open = is_open.clone();
            async move {
                // A gate whose keeper is gone stays as it is.
                let is_closed = is_open.wait_for(|is_open| *is_open).await.is_err();
                if is_closed && !*is_open.borrow() {
                    std::future::pending::<()>().await;
                }
                HttpResponse::Ok().finish()
            }
        };
        App::new().default_service(web::to(handle))
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    tokio::spawn(server.run());
    (address, seen)
}

/// A gateway, its config and its log; killed when dropped.
pub(crate) struct Gateway {
    dir: TempDir,
    port: u16,
    store: String,
    /// Further lines of the config, about the server.
    server: String,
    pub(crate) process: Option<Child>,
}

impl Gateway {
    /// One that is yet to be started, on this store (`embedded` for a directory of its own), with one endpoint. What it
    /// has leased when it is killed falls due soon.
    pub(crate) fn new(store: &str, target: SocketAddr) -> Self {
        Self::with(store, target, "", "timeout_s = 1")
    }

    /// The same with these further lines of its config, about the server and about the endpoint.
    pub(crate) fn with(store: &str, target: SocketAddr, server: &str, more: &str) -> Self {
        let more = format!("retry = [1, 1, 1, 1]\n{more}\n");
        let endpoint = endpoint("wh_ledger", &format!("http://{target}/"), &more);
        Self::serving_with(store, server, &endpoint)
    }

    /// The same with these endpoints, as [`endpoint`] writes them.
    pub(crate) fn serving(store: &str, endpoints: &str) -> Self {
        Self::serving_with(store, "", endpoints)
    }

    /// The same with these lines of `[server]`.
    pub(crate) fn serving_with(store: &str, server: &str, endpoints: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let data = format!("embedded:{}", dir.path().join("data").display());
        let store = if store == "embedded" { data } else { store.to_owned() };
        let gateway = Self { dir, port: port::free(), store, server: format!("{server}\n"), process: None };
        gateway.configure(endpoints);
        gateway
    }

    /// Writes its config again with these endpoints.
    pub(crate) fn configure(&self, endpoints: &str) {
        let listen = format!("127.0.0.1:{}", self.port);
        let text = config(&listen, &self.store, endpoints);
        let text = text.replacen("[server]\n", &format!("[server]\n{}", self.server), 1);
        std::fs::write(self.dir.path().join("waypost.toml"), text).unwrap();
    }

    /// Starts it (again) on the same port and data.
    pub(crate) fn up(&mut self, crash_at: Option<&str>) {
        self.start(crash_at.map(|point| ("WAYPOST_CRASH_AT", point)));
    }

    /// Starts it, to stand still at this point (see `waypost::crash`).
    pub(crate) fn up_until(&mut self, point: &str) {
        self.start(Some(("WAYPOST_STOP_AT", point)));
    }

    /// Starts it so that a file it may not write to is an error to it, not its end: see [`Gateway::take_room`].
    pub(crate) fn up_in_little_room(&mut self) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_waypost")]);
        self.run(shell, None);
    }

    /// From now on it can write to no file, its log neither, as on a full disk; or it can again.
    pub(crate) fn take_room(&self, is_full: bool) {
        let id = Pid::from_child(self.process.as_ref().unwrap());
        prlimit(Some(id), Resource::Fsize, Rlimit { current: is_full.then_some(0), maximum: None }).unwrap();
    }

    pub(crate) fn start(&mut self, variable: Option<(&str, &str)>) {
        self.run(Command::new(env!("CARGO_BIN_EXE_waypost")), variable);
    }

    fn run(&mut self, mut command: Command, variable: Option<(&str, &str)>) {
        let log = File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        command.args(["serve", "--config"]).arg(self.dir.path().join("waypost.toml"));
        // What the environment says of proxies counts for nothing.
        command
            .envs(["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"].map(|name| (name, NOWHERE)));
        command.env_remove("WAYPOST_CRASH_AT").env_remove("WAYPOST_STOP_AT").env_remove("RUST_LOG").envs(variable);
        self.process = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// SIGKILL.
    pub(crate) fn down(&mut self) {
        kill(&mut self.process);
    }

    /// Sends it a signal: `HUP` to read its config again, `STOP` to stand still, `CONT` to go on.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.process.as_ref().unwrap(), name);
    }

    /// SIGTERM.
    pub(crate) fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// How it ended, and after how long, if it does within this. Then it can be started again.
    pub(crate) async fn ended(&mut self, within: Duration) -> Option<(ExitStatus, Duration)> {
        let clock = SystemClock::new();
        let mut process = self.process.take().unwrap();
        while clock.elapsed() < within {
            if let Some(status) = process.try_wait().unwrap() {
                return Some((status, clock.elapsed()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        None
    }

    /// SIGTERM; tells whether it ended well within this.
    pub(crate) async fn terminate(&mut self, within: Duration) -> bool {
        self.ask_to_stop();
        self.ended(within).await.is_some_and(|(status, _)| status.success())
    }

    pub(crate) fn url(&self, source: &str) -> String {
        format!("http://127.0.0.1:{}/in/{source}", self.port)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The lines of its log that hold this message, oldest first.
    pub(crate) fn logged(&self, message: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        // The last line may be half written.
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(|line: &serde_json::Value| line["message"] == message).collect()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where the embedded store keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What a path answers, with the API key; none when nobody answers.
    pub(crate) async fn get(&self, path: &str) -> Option<wire::Reply> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: waypost\r\nx-api-key: {API_KEY}\r\n\r\n");
        wire::exchange(self.port, head.as_bytes()).await.ok()
    }

    /// What the API holds.
    pub(crate) async fn read(&self, path: &str) -> serde_json::Value {
        get(self.address(), path).await
    }

    /// What a route answers; the body is JSON, or none.
    pub(crate) async fn call(&self, key: &str, route: &str, body: &str) -> (u16, serde_json::Value) {
        let len = body.len();
        let head = format!("{route} HTTP/1.1\r\nhost: waypost\r\nx-api-key: {key}\r\ncontent-length: {len}\r\n\r\n");
        let reply = wire::exchange(self.port, format!("{head}{body}").as_bytes()).await.unwrap();
        (reply.status, serde_json::from_str(&reply.body).unwrap_or_default())
    }

    /// All that it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until it serves.
    pub(crate) async fn until_alive(&self) {
        until("the gateway serves", async || self.get("/healthz").await.is_some_and(|reply| reply.status == 200)).await;
    }

    /// Waits until no delivery is pending.
    pub(crate) async fn until_idle(&self) {
        until("nothing is pending", async || {
            self.read("/v1/deliveries?status=pending").await["data"].as_array().unwrap().is_empty()
        })
        .await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.down();
    }
}

/// A whole config: sources whose secrets [`Poster`] knows, the key of [`get`], and these endpoints.
pub(crate) fn config(listen: &str, store: &str, endpoints: &str) -> String {
    let sendgrid = sendgrid_source();
    let public_keys = sendgrid.lines().find(|line| line.starts_with("public_keys")).unwrap();
    format!(
        "[server]\nlisten = \"{listen}\"\n[store]\nurl = \"{store}\"\n\
         [delivery]\nallow_networks = [\"127.0.0.0/8\"]\n\
         [[api.keys]]\nname = \"test\"\nkey = \"{API_KEY}\"\nscopes = [\"admin\"]\n\
         [sources.resend]\nprovider = \"resend\"\nsigning_secrets = [\"{SECRET}\"]\n\
         [sources.sendgrid]\nprovider = \"sendgrid\"\n{public_keys}\n\
         [sources.mailgun]\nprovider = \"mailgun\"\nsigning_keys = [\"{MAILGUN_KEY}\"]\n{endpoints}"
    )
}

/// An endpoint of a config; `more` are further lines of it.
pub(crate) fn endpoint(id: &str, url: &str, more: &str) -> String {
    format!("[[endpoints]]\nid = \"{id}\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n{more}")
}

/// What the API answers: `200` and JSON, or the test fails.
pub(crate) async fn get(gateway: SocketAddr, path: &str) -> serde_json::Value {
    let mut stream = tokio::net::TcpStream::connect(gateway).await.unwrap();
    // HTTP/1.0: the answer ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nauthorization: Bearer {API_KEY}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.lines().next().unwrap().ends_with("200 OK"), "{path}: {head}");
    serde_json::from_str(body).unwrap()
}

fn sendgrid_source() -> String {
    std::fs::read_to_string(crate::tidy::root().join("fixtures/sendgrid/source.toml")).unwrap()
}

/// Posts what providers post.
#[derive(Clone)]
pub(crate) struct Poster {
    client: Client,
    sendgrid: String,
}

impl Poster {
    pub(crate) fn new() -> Self {
        let source: toml::Table = toml::from_str(&sendgrid_source()).unwrap();
        let egress = Egress { networks: Networks::parse(&["127.0.0.0/8"]).unwrap(), ..Egress::default() };
        let client = Client::new(egress, Arc::new(SystemClock::new())).unwrap();
        Self { client, sendgrid: source["secret"].as_str().unwrap().to_owned() }
    }

    /// One Resend event; its id and the answer's status.
    pub(crate) async fn resend(&self, gateway: &str, number: u32) -> (String, Option<u16>) {
        let (id, signed) = self.resend_event(number);
        (id, self.post(gateway, signed).await)
    }

    /// One Resend event, and its id.
    pub(crate) fn resend_event(&self, number: u32) -> (String, Signed) {
        self.resend_event_of(number, number, "email.delivered")
    }

    /// One Resend event of a mail, in a millisecond of its own (what is told under two ids is one event), and its id.
    pub(crate) fn resend_event_of(&self, mail: u32, number: u32, kind: &str) -> (String, Signed) {
        let at = Timestamp::from_millisecond(1_773_480_415_000 + i64::from(number)).unwrap();
        let body = format!(
            r#"{{"type":"{kind}","created_at":"{at}","data":{{"email_id":"mail-{mail}","to":["n{mail}@customer.example"]}}}}"#
        );
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&number.to_be_bytes());
        (format!("msg_{}", hex::encode(nonce)), self.sign("resend", &body, nonce))
    }

    /// A SendGrid batch of 20; the events' ids and the answer's status.
    pub(crate) async fn sendgrid(&self, gateway: &str, number: u32) -> (Vec<String>, Option<u16>) {
        let (ids, signed) = self.sendgrid_batch(number, 20);
        (ids, self.post(gateway, signed).await)
    }

    /// A SendGrid batch, and the events' ids.
    pub(crate) fn sendgrid_batch(&self, number: u32, len: u32) -> (Vec<String>, Signed) {
        let ids: Vec<_> = (0..len).map(|place| format!("sg-{number}-{place}")).collect();
        let element = |id: &String| {
            format!(
                r#"{{"email":"{id}@customer.example","timestamp":1773480415,"event":"delivered","sg_event_id":"{id}","sg_message_id":"{id}.recvd-1"}}"#
            )
        };
        let body = format!("[{}]\r\n", ids.iter().map(element).collect::<Vec<_>>().join(",\r\n"));
        (ids, self.sign("sendgrid", &body, [0; 16]))
    }

    /// One Mailgun event, and its id.
    pub(crate) fn mailgun_event(&self, number: u8) -> (String, Signed) {
        let id = format!("mg-{number}");
        let body = format!(
            r#"{{"event-data":{{"event":"delivered","id":"{id}","timestamp":1773480413.8,"recipient":"{id}@customer.example","message":{{"headers":{{"message-id":"{id}@mg.lanyard.example"}}}}}}}}"#
        );
        (id, self.sign("mailgun", &body, [number; 16]))
    }

    /// What the provider would send.
    pub(crate) fn sign(&self, provider: &str, body: &str, nonce: [u8; 16]) -> Signed {
        let now: Timestamp = SystemClock::new().now();
        let secret = match provider {
            "sendgrid" => &self.sendgrid,
            "mailgun" => MAILGUN_KEY,
            _ => SECRET,
        };
        by_name(provider).unwrap().sign(Draft { body: body.as_bytes(), secret, now, nonce }).unwrap()
    }

    /// The status of the answer.
    pub(crate) async fn post(&self, url: &str, signed: Signed) -> Option<u16> {
        let blank = http::Request::post(url);
        let request = signed.headers.iter().fold(blank, |request, (name, value)| request.header(name, value));
        let answer = self.client.post(request.body(signed.body).unwrap(), Duration::from_secs(5)).await.answer;
        answer.status.filter(|_| answer.error.is_none())
    }

    /// What a provider does whose webhook was not answered: it sends it again.
    pub(crate) async fn until_accepted(&self, gateway: &Gateway, number: u32) -> String {
        for _ in 0..400 {
            let (id, status) = self.resend(&gateway.url("resend"), number).await;
            if status == Some(200) {
                return id;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never accepted");
    }
}

/// Waits until this holds; longer than the hold of a lease that a killed gateway leaves behind.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let clock = SystemClock::new();
    while !holds().await {
        assert!(clock.elapsed() < Duration::from_secs(150), "never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
