//! `waypost key new` and `waypost secrets rotate`, as processes.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use waypost::clock::SystemClock;
use waypost::domain::endpoint::{Endpoint, Origin};
use waypost::domain::id::EndpointId;
use waypost::domain::kept::Kept;
use waypost::domain::plan::Generation;
use waypost::domain::seal::{MasterKey, Place, seal};
use waypost::store::Store;
use waypost::store::embedded::Embedded;

use super::{Inbox, NEW_KEY, OLD_KEY, Stage, call, verifies};
use crate::embedded::LIFETIMES;
use crate::gateway::Poster;
use crate::gateways::accepted;
use crate::redis_harness::Server;
use crate::support::{at, endpoint};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// More than two steps of the command.
const ENDPOINTS: usize = 210;
const ABORTED: i32 = 6;

fn waypost(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
    command.args(arguments).env_remove("WAYPOST_CRASH_AT").env_remove("RUST_LOG");
    command
}

/// Runs the command on this store with these keys, and waits.
fn rotate(store: &str, keys: &str, crash_at: Option<&str>) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("waypost.toml");
    std::fs::write(&config, format!("[store]\nurl = \"{store}\"\n{keys}")).unwrap();
    let mut command = waypost(&["secrets", "rotate", "--config", config.to_str().unwrap()]);
    command.envs(crash_at.map(|point| ("WAYPOST_CRASH_AT", point)));
    command.output().unwrap()
}

/// What it printed, when it ended well.
fn told(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn key(config: &str) -> MasterKey {
    let quoted: Vec<_> = config.split('"').skip(1).step_by(2).collect();
    MasterKey::read(quoted[0], quoted[1]).unwrap()
}

/// An endpoint of the API whose secret and header this key sealed.
fn sealed(number: usize, key: &MasterKey) -> Endpoint {
    let id = EndpointId::from(format!("wh_{number:04}").as_str());
    let nonce = [u8::try_from(number % 256).unwrap(); 12];
    let secret = seal(key, Place::Secret(&id), SECRET, nonce).unwrap();
    let header = seal(key, Place::Header(&id, "x-a"), "hunter2", nonce).unwrap();
    let kept = Kept::new(secret, [("x-a".to_owned(), header)].into(), at(0));
    Endpoint { id, origin: Origin::Api(kept), ..endpoint("wh") }
}

async fn fill(store: &dyn Store) {
    let key = key(OLD_KEY);
    let mut all: Vec<_> = (0..ENDPOINTS).map(|number| sealed(number, &key)).collect();
    // The file's is left alone.
    all.push(endpoint("wh_file"));
    store.change_endpoints(Generation(0), &all).await.unwrap().unwrap();
}

/// How many endpoints this key alone opens, and how many need another.
async fn opened_by(store: &dyn Store, config: &str) -> (usize, usize) {
    let keys = [key(config)].into_iter().collect();
    let all = store.endpoints().await.unwrap().all;
    let now = at(1);
    let opens = |endpoint: &&Endpoint| {
        let opened = endpoint.origin.kept().unwrap().open(&endpoint.id, &keys);
        assert!(opened.failed(now).is_some() || opened.headers["x-a"] == "hunter2");
        opened.secrets(now).first().is_some_and(|secret| secret.text() == SECRET)
    };
    let (yes, no): (Vec<_>, Vec<_>) = all.iter().filter(|endpoint| endpoint.origin != Origin::File).partition(opens);
    (yes.len(), no.len())
}

/// Dies after its first step, is run again, and again when there is nothing left to do. `open` opens the store, and what
/// it opens is closed before the command is run.
async fn is_resumed<F>(url: &str, open: impl Fn() -> F)
where
    F: Future<Output = Arc<dyn Store>>,
{
    fill(&*open().await).await;
    let both = format!("{NEW_KEY}{OLD_KEY}");
    let died = rotate(url, &both, Some("secrets.resealed"));
    assert_eq!(died.status.signal(), Some(ABORTED), "{died:?}");
    assert_eq!(opened_by(&*open().await, NEW_KEY).await, (100, 110));

    let said = told(&rotate(url, &both, None));
    assert_eq!(said, "110 endpoints re-sealed with the key `new`\n  key `old`: no longer needed\n");
    let store = open().await;
    assert_eq!(opened_by(&*store, NEW_KEY).await, (ENDPOINTS, 0));
    let generation = store.endpoints().await.unwrap().generation;
    drop(store);
    let said = told(&rotate(url, &both, None));
    assert_eq!(said, "0 endpoints re-sealed with the key `new`\n  key `old`: no longer needed\n");
    assert_eq!(open().await.endpoints().await.unwrap().generation, generation);

    // Without the key that is needed it says which that is, and changes nothing.
    let failed = rotate(url, OLD_KEY, None);
    let error = String::from_utf8(failed.stderr).unwrap();
    assert!(
        !failed.status.success()
            && error.contains("endpoint wh_0000: not re-sealed: it is sealed with the master key `new`"),
        "{error}"
    );
    assert!(!error.contains(SECRET) && !error.contains("hunter2"));
    assert_eq!(opened_by(&*open().await, NEW_KEY).await, (ENDPOINTS, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_of_keys_that_dies_is_resumed_embedded() {
    let dir = tempfile::tempdir().unwrap();
    let open = || async {
        Arc::new(Embedded::open(dir.path(), Arc::new(SystemClock::new()), LIFETIMES).unwrap()) as Arc<dyn Store>
    };
    is_resumed(&format!("embedded:{}", dir.path().display()), open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_of_keys_that_dies_is_resumed_on_redis() {
    let server = Server::start().await;
    is_resumed(&server.url(), || async { Arc::new(server.store().await) as Arc<dyn Store> }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_of_keys_loses_nothing_that_a_gateway_changes_meanwhile() {
    let inbox = Inbox::start();
    let both = format!("{NEW_KEY}{OLD_KEY}");
    let stage = Stage::new("redis", &both).await;
    let server = stage.server.as_ref().unwrap();
    let store = server.store().await;
    let base = store.endpoints().await.unwrap().generation;
    let old = key(OLD_KEY);
    let all: Vec<_> = (0..ENDPOINTS).map(|number| sealed(number, &old)).collect();
    store.change_endpoints(base, &all).await.unwrap().unwrap();

    let url = server.url();
    let rotating = tokio::task::spawn_blocking({
        let both = both.clone();
        move || rotate(&url, &both, None)
    });
    let mut made = Vec::new();
    for number in 0..10 {
        let (status, deleted) = call(&stage.gateway, &format!("DELETE /v1/webhooks/wh_{number:04}"), Value::Null).await;
        assert_eq!(status, 204, "{deleted}");
        made.push(stage.create(&inbox.url(&format!("/{number}"))).await);
    }
    let said = told(&rotating.await.unwrap());
    assert!(said.ends_with("key `old`: no longer needed\n"), "{said}");
    let all = store.endpoints().await.unwrap().all;
    assert_eq!(all.len(), ENDPOINTS);
    assert!((0..10).all(|number| all.iter().all(|one| one.id.as_str() != format!("wh_{number:04}"))));
    let needed = all.iter().flat_map(|one| one.origin.kept().unwrap().keys());
    assert_eq!(needed.filter(|key| *key != "new").count(), 0);
    // And with the new key alone.
    let stage = stage.restart(NEW_KEY).await;
    let event = accepted(&Poster::new(), &stage.gateway, 1).await;
    assert!(verifies(&inbox.wait("/9", &event).await, &made[9].1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_that_an_embedded_store_made_can_be_replaced_while_its_gateway_is_stopped() {
    let inbox = Inbox::start();
    let mut stage = Stage::new("embedded", "").await;
    let (_, secret) = stage.create(&inbox.url("/a")).await;
    let url = format!("embedded:{}", stage.gateway.data().display());
    let refused = rotate(&url, NEW_KEY, None);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success(), "{error}");
    assert!(error.contains("is in use by another process") && error.contains("stop its gateway"), "{error}");

    stage.gateway.down();
    let said = told(&rotate(&url, NEW_KEY, None));
    assert!(said.starts_with("1 endpoints re-sealed with the key `new`\n  key `master.key-"), "{said}");
    assert!(said.ends_with("`: no longer needed\n"), "{said}");
    std::fs::remove_file(stage.gateway.data().join("master.key")).unwrap();
    let stage = stage.restart(NEW_KEY).await;
    let event = accepted(&Poster::new(), &stage.gateway, 1).await;
    assert!(verifies(&inbox.wait("/a", &event).await, &secret));
}

#[test]
fn a_new_key_is_good_for_the_store_and_for_the_api() {
    let keys = [(), ()].map(|()| {
        let output = waypost(&["key", "new"]).output().unwrap();
        let key = told(&output).trim_end().to_owned();
        assert_eq!(STANDARD.decode(&key).unwrap().len(), 32);
        key
    });
    assert_ne!(keys[0], keys[1]);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("waypost.toml");
    let store = format!("[[store.master_keys]]\nid = \"a\"\nkey = \"{}\"\n", keys[0]);
    let api = format!("[[api.keys]]\nname = \"a\"\nkey = \"{}\"\nscopes = [\"read\"]\n", keys[1]);
    std::fs::write(&config, store + &api).unwrap();
    let output = waypost(&["check", config.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_rotated_is_named() {
    let server = Server::start().await;
    let missing = Path::new("/no/such/place");
    for (store, keys, expected) in [
        (server.url(), "", "store.master_keys: there is no key to seal with; `waypost key new` prints one"),
        (format!("embedded:{}", missing.display()), NEW_KEY, "store.url: there is no store in /no/such/place yet"),
    ] {
        let output = rotate(&store, keys, None);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(expected), "{error}");
    }
    assert_eq!(told(&rotate(&server.url(), NEW_KEY, None)), "0 endpoints re-sealed with the key `new`\n");
}
