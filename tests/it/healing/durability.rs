//! What each row of the table of durability says that is lost, and nothing more. What a failover costs is in
//! `redis_cluster`; what the embedded store does when its process dies, in `crash_points`, and when a sync fails, among
//! its own tests.

use std::fs::{self, File};
use std::time::Duration;

use waypost::domain::id::EventId;
use waypost::store::Store;

use super::{SOME, Scene};
use crate::gateway::until;
use crate::redis_harness::Server;
use crate::redis_load::{Times, Told};

/// How old what an unsynced file loses may be.
const UNSYNCED: Duration = Duration::from_secs(2);
const DATA: &str = "appendonlydir";

/// How many of those accepted the store does not have any more. None of `kept` may be among them.
async fn lost(server: &Server, told: &Told, kept: impl Fn(&Times) -> bool) -> usize {
    let store = server.store().await;
    let mut lost = 0;
    for (id, times) in &told.accepted {
        if store.event(&EventId::of("resend", id)).await.unwrap().is_none() {
            assert!(!kept(times), "lost, though it was accepted in time");
            lost += 1;
        }
    }
    lost
}

async fn gateway_killed(sync: &'static str) {
    let mut scene = Scene::on(Server::start_syncing(sync).await).await;
    scene.was_down = true;
    scene.gateway.down();
    scene.gateway.up(None);
    let told = scene.heals(|_| true).await;
    assert_eq!(lost(&scene.server, &told, |_| true).await, 0);
}

async fn redis_killed(sync: &'static str, may_lose: Duration) {
    let mut scene = Scene::on(Server::start_syncing(sync).await).await;
    tokio::time::sleep(may_lose).await;
    scene.server.down();
    let killed = scene.load.now();
    scene.server.up().await;
    let is_old = |times: &Times| times.answered + may_lose <= killed || times.posted > killed;
    let kept = |times: &Times| may_lose.is_zero() || is_old(times);
    let told = scene.heals(kept).await;
    println!("{sync}, Redis killed: {} lost", lost(&scene.server, &told, kept).await);
}

/// The disk has what it was given until `unsynced` before the power fails, and nothing of what came then.
async fn power_lost(sync: &'static str, unsynced: Duration) {
    let mut scene = Scene::on(Server::start_syncing(sync).await).await;
    let synced = scene.load.now();
    let len = fs::metadata(scene.server.log()).unwrap().len();
    scene.load.until_more(SOME / 4).await;
    tokio::time::sleep((synced + unsynced).saturating_sub(scene.load.now())).await;
    scene.server.down();
    let log = scene.server.log();
    assert!(fs::metadata(&log).unwrap().len() > len, "there is nothing to lose");
    File::options().write(true).open(log).unwrap().set_len(len).unwrap();
    let failed = scene.load.now();
    scene.server.up().await;
    let kept = |times: &Times| times.answered <= synced || times.posted > failed;
    let told = scene.heals(kept).await;
    let lost = lost(&scene.server, &told, kept).await;
    println!("{sync}, power lost: {lost} lost, of what came in {:?} that were not on the disk", failed - synced);
    assert!(lost > 0, "this shows nothing of what is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_synced_at_once_is_kept() {
    tokio::join!(
        gateway_killed("always"),
        redis_killed("always", Duration::ZERO),
        power_lost("always", Duration::ZERO)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_synced_every_second_is_kept_but_for_the_last_two() {
    tokio::join!(gateway_killed("everysec"), redis_killed("everysec", UNSYNCED), power_lost("everysec", UNSYNCED));
}

async fn until_linked(replica: &Server) {
    until("the replica is linked", async || {
        let told = replica.command(&["INFO", "replication"]).await;
        redis::from_redis_value::<String>(told).unwrap().contains("master_link_status:up")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_is_gone_costs_nothing_while_a_replica_lives() {
    let now = ["--repl-diskless-sync-delay", "0", "--appendfsync", "everysec"];
    let primary = Server::start_as(&now).await;
    let port = primary.port().to_string();
    let mut replica = Server::start_as(&now).await;
    replica.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    until_linked(&replica).await;
    let mut scene = Scene::with(primary, Some(("WAYPOST__STORE__DURABILITY__REPLICAS", "1"))).await;
    scene.server.down();
    fs::remove_dir_all(scene.server.dir().join(DATA)).unwrap();
    replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    // Another machine with the name of the old one, which gets all from the replica before it takes its place.
    scene.server.also(&["--replicaof", "127.0.0.1", &replica.port().to_string()]);
    scene.server.up().await;
    until_linked(&scene.server).await;
    scene.until_refused(1).await;
    scene.server.command(&["REPLICAOF", "NO", "ONE"]).await;
    replica.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    until_linked(&replica).await;
    let told = scene.heals(|_| true).await;
    assert_eq!(lost(&scene.server, &told, |_| true).await, 0);
    replica.down();
}
