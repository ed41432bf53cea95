//! Large bodies in files, on a running gateway: it dies between any two steps, files go, the disk is full.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use tempfile::TempDir;
use waypost::domain::id::RequestId;
use waypost_providers::Signed;

use crate::crash_points::ABORTED;
use crate::gateway::{Gateway, Poster, receiver, until};
use crate::mails::{SOURCE, proven};
use crate::redis_harness::Server;
use crate::wire;

/// A gateway with large bodies in files, and what it stands on.
struct Stage {
    gateway: Gateway,
    blobs: PathBuf,
    dir: TempDir,
    _server: Option<Server>,
}

impl Stage {
    async fn new(on: &str) -> Self {
        let server = if on == "redis" { Some(Server::start().await) } else { None };
        let store = server.as_ref().map_or_else(|| "embedded".to_owned(), Server::url);
        let gateway = Gateway::with(&store, receiver().0, "", SOURCE);
        let dir = tempfile::tempdir().unwrap();
        let blobs = gateway.data().join("blobs");
        let mut stage = Self { gateway, blobs, dir, _server: server };
        if stage._server.is_some() {
            stage.blobs = stage.dir.path().join("bodies");
            stage.configure(Some(&stage.blobs));
        }
        stage
    }

    /// Writes its config again with this directory, or none.
    fn configure(&self, blobs: Option<&Path>) {
        let config = self.gateway.data().with_file_name("waypost.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let others = text.lines().filter(|line| !line.starts_with("blobs =")).collect::<Vec<_>>().join("\n");
        let line = blobs.map_or_else(String::new, |blobs| format!("blobs = \"{}\"\n", blobs.display()));
        std::fs::write(config, others.replacen("[store]\n", &format!("[store]\n{line}"), 1)).unwrap();
    }

    async fn post(&self, signed: &Signed) -> u16 {
        wire::exchange(self.gateway.port(), &wire::post("/in/mail", signed)).await.unwrap().status
    }

    /// The files of bodies, and whether each is whole: those that are not end in `.new`.
    fn files(&self) -> Vec<PathBuf> {
        let list = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        list(&self.blobs).iter().filter(|day| day.is_dir()).flat_map(|day| list(day)).collect()
    }

    /// How many are whole, and how many are not.
    fn counts(&self) -> (usize, usize) {
        let (new, whole): (Vec<_>, Vec<_>) =
            self.files().into_iter().partition(|path| path.extension().is_some_and(|extension| extension == "new"));
        (whole.len(), new.len())
    }

    async fn events(&self) -> usize {
        self.gateway.read("/v1/events").await["data"].as_array().unwrap().len()
    }

    /// What the API has of a request.
    async fn raw(&self, signed: &Signed) -> (u16, serde_json::Value) {
        let id = RequestId::of("mail", &signed.body);
        let reply = self.gateway.get(&format!("/v1/requests/{id}")).await.unwrap();
        (reply.status, serde_json::from_str(&reply.body).unwrap())
    }

    async fn assert_whole(&self, signed: &Signed) {
        let (status, raw) = self.raw(signed).await;
        assert_eq!(status, 200, "{raw}");
        assert!(raw["body_base64"] == STANDARD.encode(&signed.body));
    }
}

fn large(id: &str) -> Signed {
    proven(id, &"large ".repeat(60_000))
}

async fn dies_at(point: &str, on: &str) {
    let mut stage = Stage::new(on).await;
    stage.gateway.up(Some(point));
    stage.gateway.until_alive().await;
    let (mail, small) = (large("one"), proven("two", "small"));
    assert_eq!(stage.post(&small).await, 200);
    let answered = wire::exchange(stage.gateway.port(), &wire::post("/in/mail", &mail)).await;
    let (status, _) = stage.gateway.ended(Duration::from_secs(10)).await.expect("it dies at its point");
    assert_eq!(status.signal(), Some(ABORTED), "{status}, after it answered {answered:?}");
    assert_eq!(stage.counts(), if point == "blob.written" { (0, 1) } else { (1, 0) });

    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    until("the store is ready", async || stage.gateway.get("/readyz").await.is_some_and(|it| it.status == 200)).await;
    assert_eq!(stage.raw(&mail).await.0, 404);
    assert_eq!(stage.events().await, 1);
    // The provider sends it again, and again.
    for _ in 0..3 {
        assert_eq!(stage.post(&mail).await, 200);
    }
    stage.assert_whole(&mail).await;
    stage.assert_whole(&small).await;
    assert_eq!(stage.events().await, 2);
    assert_eq!(stage.counts(), (1, usize::from(point == "blob.written")));
}

async fn dies_when_its_directory_has_an_id(on: &str) {
    let mut stage = Stage::new(on).await;
    stage.gateway.up(Some("blobs.marked"));
    let (status, _) = stage.gateway.ended(Duration::from_secs(10)).await.expect("it dies at its point");
    assert_eq!(status.signal(), Some(ABORTED), "{status}");
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    let mail = large("one");
    until("the mail is taken", async || stage.post(&mail).await == 200).await;
    stage.assert_whole(&mail).await;
}

async fn another_directory_is_refused(on: &str) {
    let mut stage = Stage::new(on).await;
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    let mail = large("one");
    until("the mail is taken", async || stage.post(&mail).await == 200).await;
    assert!(stage.gateway.terminate(Duration::from_secs(10)).await);
    let other = stage.dir.path().join("other");
    // To leave it out is to name the embedded store's own.
    let wrong: &[_] = if on == "redis" { &[Some(&*other), None] } else { &[Some(&*other)] };
    for blobs in wrong {
        stage.configure(*blobs);
        stage.gateway.up(None);
        let (status, _) = stage.gateway.ended(Duration::from_secs(10)).await.expect("it does not start");
        assert!(!status.success());
    }
    assert_eq!(stage.gateway.log().matches("store.blobs: ").count(), wrong.len(), "{}", stage.gateway.log());
    std::fs::remove_dir_all(&other).unwrap();
    std::fs::rename(&stage.blobs, &other).unwrap();
    stage.configure(Some(&other));
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    stage.assert_whole(&mail).await;
}

async fn a_missing_file_is_told(on: &str) {
    let mut stage = Stage::new(on).await;
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    let [one, other] = [large("one"), large("other")];
    assert_eq!((stage.post(&one).await, stage.post(&other).await), (200, 200));
    let name = RequestId::of("mail", &one.body);
    let of_one = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(name.as_str());
    std::fs::remove_file(stage.files().iter().find(|path| of_one(path)).unwrap()).unwrap();
    assert_eq!(stage.raw(&one).await.0, 503);
    stage.assert_whole(&other).await;
    let logged = stage.gateway.logged("the body of a request cannot be read");
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0]["request.id"], name.as_str());
    // The provider sends it again.
    assert_eq!((stage.post(&one).await, stage.events().await), (200, 2));
    stage.assert_whole(&one).await;
    assert!(!stage.gateway.log().contains("panicked"));
}

async fn a_full_disk_keeps_nothing_by_half(on: &str) {
    let mut stage = Stage::new(on).await;
    stage.gateway.up_in_little_room();
    stage.gateway.until_alive().await;
    let [before, mail] = [large("before"), large("one")];
    assert_eq!(stage.post(&before).await, 200);
    stage.gateway.take_room(true);
    for _ in 0..3 {
        assert_eq!(stage.post(&mail).await, 503);
    }
    if on == "redis" {
        // What needs no file is taken.
        let signed = Poster::new().resend_event(1).1;
        assert_eq!(wire::exchange(stage.gateway.port(), &wire::post("/in/resend", &signed)).await.unwrap().status, 200);
        assert_eq!(stage.raw(&mail).await.0, 404);
    }
    assert_eq!(stage.counts(), (1, 0));
    stage.gateway.take_room(false);
    until("it takes mails again", async || stage.post(&mail).await == 200).await;
    stage.assert_whole(&mail).await;
    stage.assert_whole(&before).await;
    assert_eq!(stage.counts(), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_the_commit_is_completed_by_a_resend() {
    for on in ["embedded", "redis"] {
        tokio::join!(dies_at("blob.written", on), dies_at("blob.named", on), dies_when_its_directory_has_an_id(on));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_directory_than_the_one_it_began_with_is_refused() {
    tokio::join!(another_directory_is_refused("embedded"), another_directory_is_refused("redis"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_gone_fails_who_reads_it_and_nobody_else() {
    tokio::join!(a_missing_file_is_told("embedded"), a_missing_file_is_told("redis"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_heals() {
    tokio::join!(a_full_disk_keeps_nothing_by_half("embedded"), a_full_disk_keeps_nothing_by_half("redis"));
}
