//! The client over TLS, against Node's HTTPS servers. Needs Node; without it they say so and pass, unless
//! `WAYPOST_REQUIRE_NODE=1`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use waypost::clock::SystemClock;
use waypost::dispatch::client::{Client, Egress, Posted};
use waypost::domain::delivery::{ErrorClass, Split};
use waypost::domain::target::Networks;

use crate::tidy::root;

const DEADLINE: Duration = Duration::from_secs(10);

/// An authority that nobody else trusts.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A key and a certificate for a name, in a folder.
    pub(crate) fn issue(&self, name: &str) -> TempDir {
        let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        folder
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A client that trusts it, and no other for what it signed.
    fn client(&self) -> Client {
        client(vec![self.certificate()])
    }
}

fn client(authorities: Vec<CertificateDer<'static>>) -> Client {
    let networks = Networks::parse(&["127.0.0.1"]).unwrap();
    Client::new(Egress { networks, authorities, proxy: None }, Arc::new(SystemClock::new())).unwrap()
}

struct Server {
    process: Child,
    lines: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    /// None without Node.
    fn start(folder: &Path, protocol: &str) -> Option<Self> {
        let mut node = Command::new("node");
        node.arg(root().join("tests/it/tls/server.mjs")).arg(folder).arg(protocol);
        let mut process = match node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(process) => process,
            Err(error) => {
                assert!(std::env::var_os("WAYPOST_REQUIRE_NODE").is_none(), "node does not start: {error}");
                println!("skipped: node does not start: {error}");
                return None;
            }
        };
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let port = line(&mut lines).as_u64().unwrap().try_into().unwrap();
        Some(Self { process, lines, port })
    }

    async fn post(&self, client: &Client, host: &str) -> Posted {
        let request = http::Request::post(format!("https://{host}:{}/in", self.port));
        client.post(request.body(Bytes::from_static(b"{}")).unwrap(), DEADLINE).await
    }

    /// What it saw of the next request.
    fn seen(&mut self) -> Value {
        line(&mut self.lines)
    }
}

fn line(lines: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_offered_and_one_connection_serves_many() {
    let authority = Authority::new();
    let folder = authority.issue("localhost");
    let Some(mut server) = Server::start(folder.path(), "h2") else { return };
    let client = authority.client();
    let first = server.post(&client, "localhost").await;
    assert_eq!((first.answer.status, first.answer.error), (Some(200), None));
    assert!(first.split.resolve_ms.is_some() && first.split.connect_ms.is_some() && first.split.tls_ms.is_some());
    for posted in join_all((0..20).map(|_| server.post(&client, "localhost"))).await {
        assert_eq!((posted.answer.status, posted.answer.body.as_deref()), (Some(200), Some("thanks")));
        assert!(posted.split.first_byte_ms.is_some());
        assert_eq!(Split { first_byte_ms: None, ..posted.split }, Split::default(), "the connection was there");
    }
    let host = format!("localhost:{}", server.port);
    for _ in 0..21 {
        let seen = json!({"version": "2.0", "name": "localhost", "host": host, "connections": 1});
        assert_eq!(server.seen(), seen);
    }
}

#[tokio::test]
async fn the_name_is_told_to_the_server_though_an_address_is_called() {
    let authority = Authority::new();
    let folder = authority.issue("localhost");
    let Some(mut server) = Server::start(folder.path(), "http/1.1") else { return };
    assert_eq!(server.post(&authority.client(), "localhost").await.answer.status, Some(200));
    let host = format!("localhost:{}", server.port);
    assert_eq!(server.seen(), json!({"version": "1.1", "name": "localhost", "host": host, "connections": 1}));
}

#[tokio::test]
async fn a_certificate_of_a_stranger_or_for_another_name_ends_the_attempt() {
    let authority = Authority::new();
    let folder = authority.issue("other.example");
    let Some(server) = Server::start(folder.path(), "h2") else { return };
    for client in [authority.client(), client(Vec::new()), Authority::new().client()] {
        let posted = server.post(&client, "localhost").await;
        assert_eq!((posted.answer.status, posted.answer.error), (None, Some(ErrorClass::Tls)));
        assert!(posted.split.connect_ms.is_some() && posted.split.tls_ms.is_none());
    }
}

#[tokio::test]
async fn a_command_trusts_the_authorities_of_its_file_beside_the_public_ones() {
    let authority = Authority::new();
    let folder = authority.issue("localhost");
    let Some(server) = Server::start(folder.path(), "http/1.1") else { return };
    let (url, file) = (format!("https://localhost:{}", server.port), folder.path().join("ca.pem"));
    std::fs::write(&file, authority.0.pem()).unwrap();
    let told = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
        let output =
            command.args(["sources", "--url", &url]).args(more).env("WAYPOST_API_KEY", "key").output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(told(&[]).contains("the TLS handshake failed"), "{}", told(&[]));
    // It is no gateway, but it was heard.
    let file = ["--ca-file", file.to_str().unwrap()];
    assert!(told(&file).contains("the answer is not a gateway's"), "{}", told(&file));
    assert!(told(&["--ca-file", "/nowhere"]).starts_with("waypost: --ca-file: `/nowhere` cannot be read"));
}
