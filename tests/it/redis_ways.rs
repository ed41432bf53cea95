//! Ways to a Redis: over TLS, with a login, and by sentinels.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use redis::Value;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use waypost::domain::redis_url::Redis;
use waypost::store::redis::RedisStore;
use waypost::store::{Store, StoreError};

use crate::embedded::LIFETIMES;
use crate::gateway::{Gateway, Poster, receiver};
use crate::redis_cluster_harness::{text, until};
use crate::redis_fixture::*;
use crate::redis_harness::{Server, redis_at};
use crate::redis_load::Load;
use crate::signal::kill;
use crate::tls::Authority;
use crate::{port, redis_harness};

/// A server that speaks TLS too, with a certificate for `localhost`.
async fn server_with_tls(authority: &Authority, more: &[&str]) -> (Server, u16, TempDir) {
    let (folder, port) = (authority.issue("localhost"), port::free());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (key, certificate) = (file("key.pem"), file("cert.pem"));
    let number = port.to_string();
    let tls = ["--tls-port", &number, "--tls-key-file", &key, "--tls-cert-file", &certificate];
    let trusting = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"];
    let server = Server::start_as(&[&tls[..], &trusting, more].concat()).await;
    (server, port, folder)
}

async fn connect(url: &str, authorities: Vec<CertificateDer<'static>>) -> waypost::store::Result<RedisStore> {
    redis_harness::connect(&Redis { authorities, ..redis_at(url) }, LIFETIMES, &[]).await
}

#[tokio::test]
async fn a_server_over_tls_is_trusted_by_its_authority_and_its_name() {
    let authority = Authority::new();
    let (_server, port, _folder) = server_with_tls(&authority, &[]).await;
    let url = format!("rediss://localhost:{port}");
    let store = connect(&url, vec![authority.certificate()]).await.unwrap();
    assert_eq!(put(&store, vec![unit("a", "m", "wh_1")]).await, stored(1, 0));
    assert_eq!(take(&store, "wh_1", 1, LONG).await.len(), 1);
    let refused = async |url: &str, authorities| match connect(url, authorities).await {
        Err(StoreError::Refused(why)) => why,
        other => panic!("{:?}", other.map(|_| "connected")),
    };
    for authorities in [Vec::new(), vec![Authority::new().certificate()]] {
        let why = refused(&url, authorities).await;
        assert!(why.contains(&format!("localhost:{port}")) && why.contains("store.ca_file"), "{why}");
    }
    let why = refused(&format!("rediss://127.0.0.1:{port}"), vec![authority.certificate()]).await;
    assert!(why.contains("for another name") && why.contains("store.url"), "{why}");
}

#[tokio::test]
async fn a_cluster_over_tls_is_found() {
    let (authority, bus) = (Authority::new(), port::free().to_string());
    let more = ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", &bus];
    let (server, port, _folder) = server_with_tls(&authority, &more).await;
    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    until("it is a cluster", async || text(server.command(&["CLUSTER", "INFO"]).await).contains("cluster_state:ok"))
        .await;
    let store = connect(&format!("rediss+cluster://localhost:{port}"), vec![authority.certificate()]).await.unwrap();
    assert_eq!(put(&store, vec![unit("a", "m", "wh_1")]).await, stored(1, 0));
    assert_eq!(take(&store, "wh_1", 1, LONG).await.len(), 1);
    let refused = connect(&Server::start().await.url().replace("redis", "redis+cluster"), Vec::new()).await;
    let Err(StoreError::Refused(why)) = refused else { panic!("one server is no cluster") };
    assert!(why.contains("is no cluster") && why.contains("`redis://`"), "{why}");
}

#[tokio::test]
async fn a_login_is_used_and_a_wrong_one_is_not_repeated() {
    let server = Server::start().await;
    server.command(&["ACL", "SETUSER", "ops", "on", ">hunt@er2", "~*", "&*", "+@all"]).await;
    let url = |login: &str| server.url().replace("redis://", &format!("redis://{login}@"));
    let store = connect(&url("ops:hunt%40er2"), Vec::new()).await.unwrap();
    assert_eq!(put(&store, vec![unit("a", "m", "wh_1")]).await, stored(1, 0));
    let store = connect(&url("ops:hunter3"), Vec::new()).await.unwrap();
    let Err(StoreError::Unavailable(why)) = store.ready().await else { panic!("a wrong password is let in") };
    assert!(!why.contains("hunter3"), "{why}");
}

/// A sentinel that watches one primary, which it calls `main`.
struct Sentinel {
    process: Option<Child>,
    port: u16,
    _folder: TempDir,
}

impl Sentinel {
    async fn start(primary: &Server) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), port::free());
        let config = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            primary.port()
        );
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, config).unwrap();
        let process = Self::run(&file);
        let sentinel = Self { process: Some(process), port, _folder: folder };
        until("the sentinel knows the replica", async || {
            matches!(sentinel.ask(&["SENTINEL", "REPLICAS", "main"]).await, Some(Value::Array(all)) if !all.is_empty())
        })
        .await;
        sentinel
    }

    fn run(file: &Path) -> Child {
        let mut command = Command::new("redis-server");
        command.arg(file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("redis-server is installed")
    }

    async fn ask(&self, words: &[&str]) -> Option<Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let mut cmd = redis::Cmd::new();
        for word in words {
            cmd.arg(*word);
        }
        cmd.query_async(&mut connection).await.ok()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_goes_on_with_whom_the_sentinels_made_the_primary() {
    let mut primary = Server::start_as(&["--repl-diskless-sync-delay", "0"]).await;
    let port = primary.port().to_string();
    let replica = Server::start_as(&["--replicaof", "127.0.0.1", &port]).await;
    until("the replica is linked", async || {
        text(replica.command(&["INFO", "replication"]).await).contains("master_link_status:up")
    })
    .await;
    let sentinel = Sentinel::start(&primary).await;
    let (target, seen) = receiver();
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/main", port::free(), sentinel.port);
    let mut gateway = Gateway::new(&url, target);
    gateway.up(None);
    gateway.until_alive().await;
    let load = Load::start(&gateway);
    load.until_more(100).await;
    primary.down();
    load.until_more(100).await;
    let (accepted, refused) = load.end().await;
    assert!(refused > 0, "nobody noticed");
    let id = Poster::new().until_accepted(&gateway, 1_000_000).await;
    until("what comes later is delivered", async || seen.lock().unwrap().contains_key(&id)).await;
    println!("a primary died under a sentinel: {} accepted, {refused} refused", accepted.len());
}
