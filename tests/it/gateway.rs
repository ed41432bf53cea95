//! The real program as a process of its own, to be killed and started again; and a receiver that writes down what came.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use jiff::Timestamp;
use tempfile::TempDir;
use waypost::clock::{Clock, SystemClock};
use waypost::dispatch::client::Client;
use waypost::domain::target::Networks;
use waypost_providers::{Draft, by_name};

const SECRET: &str = "whsec_dGVzdCBrZXkgb2YgdGhlIGZpeHR1cmVzOiBub3QgYSBzZWNyZXQ=";

/// How often each event came.
pub(crate) type Seen = Arc<Mutex<HashMap<String, u32>>>;

/// Answers 200 to everything, and counts by the id that the provider gave.
pub(crate) fn receiver() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let shared = Arc::clone(&seen);
    let server = HttpServer::new(move || {
        let seen = Arc::clone(&shared);
        let handle = move |_: HttpRequest, body: web::Bytes| {
            let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let id = event["data"]["provider"]["event_id"].as_str().unwrap().to_owned();
            *seen.lock().unwrap().entry(id).or_default() += 1;
            std::future::ready(HttpResponse::Ok().finish())
        };
        App::new().default_service(web::to(handle))
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    tokio::spawn(server.run());
    (address, seen)
}

/// A gateway and its config; killed when dropped.
pub(crate) struct Gateway {
    dir: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Gateway {
    /// One that is yet to be started, on this store (`embedded` for a directory of its own).
    pub(crate) fn new(store: &str, target: SocketAddr) -> Self {
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = format!("embedded:{}", dir.path().join("data").display());
        let store = if store == "embedded" { &data } else { store };
        let sendgrid = std::fs::read_to_string(fixture("sendgrid/source.toml")).unwrap();
        let public_keys = sendgrid.lines().find(|line| line.starts_with("public_keys")).unwrap();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n[store]\nurl = \"{store}\"\n\
             [delivery]\nallow_networks = [\"127.0.0.0/8\"]\n\
             [sources.resend]\nprovider = \"resend\"\nsigning_secrets = [\"{SECRET}\"]\n\
             [sources.sendgrid]\nprovider = \"sendgrid\"\n{public_keys}\n\
             [[endpoints]]\nid = \"wh_ledger\"\nurl = \"http://{target}/\"\nsecret = \"{SECRET}\"\nretry = [1, 1, 1, 1]\ntimeout_s = 1\n"
        );
        std::fs::write(dir.path().join("waypost.toml"), text).unwrap();
        Self { dir, port, process: None }
    }

    /// Starts it (again) on the same port and data.
    pub(crate) fn up(&mut self, crash_at: Option<&str>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
        command.args(["serve", "--config"]).arg(self.dir.path().join("waypost.toml"));
        command.env_remove("WAYPOST_CRASH_AT").envs(crash_at.map(|point| ("WAYPOST_CRASH_AT", point)));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.process = Some(process);
    }

    /// SIGKILL.
    pub(crate) fn down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGTERM; tells whether it ended well within this.
    pub(crate) async fn terminate(&mut self, within: Duration) -> bool {
        let mut process = self.process.take().unwrap();
        Command::new("kill").arg(process.id().to_string()).status().unwrap();
        for _ in 0..within.as_millis() / 20 {
            if let Some(status) = process.try_wait().unwrap() {
                return status.success();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        process.kill().unwrap();
        false
    }

    pub(crate) fn url(&self, source: &str) -> String {
        format!("http://127.0.0.1:{}/in/{source}", self.port)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.down();
    }
}

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// Posts what providers post.
#[derive(Clone)]
pub(crate) struct Poster {
    client: Client,
    sendgrid: String,
}

impl Poster {
    pub(crate) fn new() -> Self {
        let source: toml::Table =
            toml::from_str(&std::fs::read_to_string(fixture("sendgrid/source.toml")).unwrap()).unwrap();
        let client = Client::new(Networks::parse(&["127.0.0.0/8"]).unwrap()).unwrap();
        Self { client, sendgrid: source["secret"].as_str().unwrap().to_owned() }
    }

    /// One Resend event; its id and the answer's status.
    pub(crate) async fn resend(&self, gateway: &str, number: u32) -> (String, Option<u16>) {
        let body = format!(
            r#"{{"type":"email.delivered","created_at":"2026-03-14T09:26:55.731Z","data":{{"email_id":"mail-{number}","to":["n{number}@customer.example"]}}}}"#
        );
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&number.to_be_bytes());
        let id = format!("msg_{}", hex::encode(nonce));
        let status = self.post("resend", gateway, &body, SECRET, nonce).await;
        (id, status)
    }

    /// A SendGrid batch of 20; the events' ids and the answer's status.
    pub(crate) async fn sendgrid(&self, gateway: &str, number: u32) -> (Vec<String>, Option<u16>) {
        let ids: Vec<_> = (0..20).map(|place| format!("sg-{number}-{place}")).collect();
        let element = |id: &String| {
            format!(
                r#"{{"email":"{id}@customer.example","timestamp":1773480415,"event":"delivered","sg_event_id":"{id}","sg_message_id":"{id}.recvd-1"}}"#
            )
        };
        let body = format!("[{}]\r\n", ids.iter().map(element).collect::<Vec<_>>().join(",\r\n"));
        let status = self.post("sendgrid", gateway, &body, &self.sendgrid, [0; 16]).await;
        (ids, status)
    }

    async fn post(&self, provider: &str, url: &str, body: &str, secret: &str, nonce: [u8; 16]) -> Option<u16> {
        let now: Timestamp = SystemClock::new().now();
        let draft = Draft { body: body.as_bytes(), secret, now, nonce };
        let signed = by_name(provider).unwrap().sign(draft).unwrap();
        let blank = http::Request::post(url);
        let request = signed.headers.iter().fold(blank, |request, (name, value)| request.header(name, value));
        let answer = self.client.post(request.body(signed.body).unwrap(), Duration::from_secs(5)).await;
        answer.status.filter(|_| answer.error.is_none())
    }
}
