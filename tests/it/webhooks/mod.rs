//! `/v1/webhooks` on running gateways, and what of it is on the disk.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

use crate::gateway::{API_KEY, Gateway, until};
use crate::interop::{ask, installed};
use crate::redis_harness::Server;

mod again;
mod fields;
mod keys;
mod life;
mod logs;
mod secrets;
mod several;

/// Two master keys, as a config has them.
pub(crate) const OLD_KEY: &str =
    "[[store.master_keys]]\nid = \"old\"\nkey = \"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\"\n";
pub(crate) const NEW_KEY: &str =
    "[[store.master_keys]]\nid = \"new\"\nkey = \"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\"\n";

/// One request that came to the receiver.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Came {
    pub(crate) fn event(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// How many secrets signed it.
    pub(crate) fn signatures(&self) -> usize {
        let both = [
            self.headers["drin-signature"].matches(",v1=").count(),
            self.headers["webhook-signature"].split(' ').count(),
        ];
        assert_eq!(both[0], both[1]);
        both[0]
    }
}

/// Keeps every request whole, and answers as it is told.
#[derive(Clone)]
pub(crate) struct Inbox {
    address: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Inbox {
    pub(crate) fn start() -> Self {
        Self::answering(200)
    }

    pub(crate) fn answering(status: u16) -> Self {
        let came = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&came);
        let server = HttpServer::new(move || {
            let came = Arc::clone(&shared);
            let handle = move |request: HttpRequest, body: web::Bytes| {
                let headers = request.headers().iter();
                let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
                let body = String::from_utf8(body.to_vec()).unwrap();
                came.lock().unwrap().push(Came { path: request.path().to_owned(), headers: headers.collect(), body });
                std::future::ready(HttpResponse::build(StatusCode::from_u16(status).unwrap()).finish())
            };
            App::new().default_service(web::to(handle))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        tokio::spawn(server.run());
        Self { address, came }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came to this path.
    pub(crate) fn came(&self, path: &str) -> Vec<Came> {
        self.came.lock().unwrap().iter().filter(|came| came.path == path).cloned().collect()
    }

    /// The request of this event to this path, when it has come.
    pub(crate) async fn wait(&self, path: &str, event: &str) -> Came {
        let find = || self.came(path).into_iter().find(|came| came.event() == event);
        until(&format!("{event} comes to {path}"), async || find().is_some()).await;
        find().unwrap()
    }
}

/// A gateway, and what its store is on.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) server: Option<Server>,
}

impl Stage {
    /// On `embedded` or `redis`, with these further lines of its config.
    pub(crate) async fn new(on: &str, config: &str) -> Self {
        let server = if on == "redis" { Some(Server::start().await) } else { None };
        let store = server.as_ref().map_or_else(|| "embedded".to_owned(), Server::url);
        let stage = Self { gateway: Gateway::serving(&store, config), server };
        stage.up().await
    }

    async fn up(mut self) -> Self {
        self.gateway.up(None);
        self.until_ready().await;
        self
    }

    pub(crate) async fn until_ready(&self) {
        until("it is ready", async || self.gateway.get("/readyz").await.is_some_and(|reply| reply.status == 200)).await;
    }

    /// Kills it and starts it again, with these further lines of its config.
    pub(crate) async fn restart(mut self, config: &str) -> Self {
        self.gateway.down();
        self.gateway.configure(config);
        self.up().await
    }

    /// As scope `admin`.
    pub(crate) async fn call(&self, route: &str, body: Value) -> (u16, Value) {
        call(&self.gateway, route, body).await
    }

    /// The same, which must succeed.
    pub(crate) async fn done(&self, route: &str, body: Value) -> Value {
        let (status, answer) = self.call(route, body).await;
        assert!((200..300).contains(&status), "{route}: {status} {answer}");
        answer
    }

    /// Makes a webhook of this URL; its id, and the secret that was generated.
    pub(crate) async fn create(&self, url: &str) -> (String, String) {
        let made = self.done("POST /v1/webhooks", json!({ "url": url, "retry": [1] })).await;
        (text(&made["id"]), text(&made["secret"]))
    }

    /// Whether these bytes are anywhere in the store, as they are.
    pub(crate) async fn holds(&self, text: &str) -> bool {
        match &self.server {
            None => bytes_below(&self.gateway.data()).windows(text.len()).any(|part| part == text.as_bytes()),
            Some(server) => everything(server).await.contains(text),
        }
    }
}

pub(crate) async fn call(gateway: &Gateway, route: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    gateway.call(API_KEY, route, &body).await
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// All bytes of all files.
fn bytes_below(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(bytes_below(&path));
        } else {
            // Without the room that the engine sets aside.
            let file = std::fs::read(path).unwrap();
            bytes.extend(file.chunks(4096).filter(|chunk| chunk.iter().any(|byte| *byte != 0)).flatten());
        }
    }
    bytes
}

/// Every key and its value, as Redis prints them.
async fn everything(server: &Server) -> String {
    let redis::Value::Array(keys) = server.command(&["KEYS", "*"]).await else { panic!("no keys") };
    let mut all = String::new();
    for key in keys {
        let redis::Value::BulkString(key) = key else { panic!("no key") };
        let key = String::from_utf8(key).unwrap();
        let kind = server.command(&["TYPE", &key]).await;
        let redis::Value::SimpleString(kind) = kind else { panic!("no type") };
        let value = match kind.as_str() {
            "string" => server.command(&["GET", &key]).await,
            "hash" => server.command(&["HGETALL", &key]).await,
            "zset" => server.command(&["ZRANGE", &key, "0", "-1"]).await,
            "stream" => server.command(&["XRANGE", &key, "-", "+"]).await,
            "list" => server.command(&["LRANGE", &key, "0", "-1"]).await,
            other => panic!("{key} is a {other}"),
        };
        all.push_str(&key);
        flatten(&value, &mut all);
    }
    all
}

fn flatten(value: &redis::Value, all: &mut String) {
    match value {
        redis::Value::BulkString(bytes) => all.push_str(&String::from_utf8_lossy(bytes)),
        redis::Value::Array(values) => values.iter().for_each(|value| flatten(value, all)),
        redis::Value::Map(pairs) => {
            pairs.iter().flat_map(|(one, other)| [one, other]).for_each(|one| flatten(one, all));
        }
        _ => {}
    }
}

/// Asks the libraries of Stripe and Standard Webhooks whether this secret signed this request.
pub(crate) fn verifies(came: &Came, secret: &str) -> bool {
    let Some(folder) = installed() else { return verifies_ourselves(came, secret) };
    let questions = json!([
        {"library": "stripe", "body": came.body, "header": came.headers["drin-signature"], "secret": secret},
        {"library": "standard", "body": came.body, "headers": came.headers, "secret": secret},
    ]);
    let said = tokio::task::block_in_place(|| ask(&folder, &questions));
    assert_eq!(said[0].answer, said[1].answer, "{said:?}");
    said[0].answer == true
}

/// The same where there is no Node.
fn verifies_ourselves(came: &Came, secret: &str) -> bool {
    use hmac::{Hmac, KeyInit, Mac};
    let seconds = &came.headers["webhook-timestamp"];
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{seconds}.{}", came.body).as_bytes());
    came.headers["drin-signature"].contains(&format!("v1={}", hex::encode(mac.finalize().into_bytes())))
}
