//! A Redis that keeps its data, and for a while does not do what it is asked.

use super::{SOME, Scene};
use crate::port;
use crate::redis_harness::Server;

/// How many are refused before a fault is over.
const REFUSED: u32 = 20;

async fn fault(scene: &Scene, begin: &[&str], end: &[&str]) {
    scene.server.command(begin).await;
    scene.until_refused(REFUSED).await;
    scene.server.command(end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_a_redis_forgets_are_not_missed() {
    let mut scene = Scene::on(Server::start().await).await;
    for _ in 0..10 {
        scene.server.command(&["SCRIPT", "FLUSH"]).await;
        scene.load.until_more(SOME / 4).await;
    }
    assert_eq!(scene.heals(|_| true).await.refused, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_a_redis_closes_are_made_again() {
    let mut scene = Scene::on(Server::start().await).await;
    for _ in 0..10 {
        scene.server.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        scene.load.until_more(SOME / 4).await;
    }
    scene.heals(|_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_clients_are_paused_costs_nothing_but_time() {
    let mut scene = Scene::on(Server::start().await).await;
    for what in ["WRITE", "ALL"] {
        scene.server.command(&["CLIENT", "PAUSE", "2500", what]).await;
        scene.until_refused(2).await;
        scene.load.until_more(SOME).await;
    }
    scene.heals(|_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_costs_nothing_but_time() {
    let mut scene = Scene::on(Server::start_as(&["--enable-debug-command", "local"]).await).await;
    // Slower than it is waited for, and slow.
    for seconds in ["2.5", "0.4", "0.4", "0.4"] {
        // Whoever says so is not waited for either.
        let _ = scene.server.try_command(&["DEBUG", "SLEEP", seconds]).await;
        scene.load.until_more(SOME / 4).await;
    }
    assert!(scene.heals(|_| true).await.refused > 0, "it was never too slow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_a_replica_for_a_while_takes_nothing_meanwhile() {
    let mut scene = Scene::on(Server::start().await).await;
    // Of nobody, so that its data stays.
    fault(&scene, &["REPLICAOF", "127.0.0.1", &port::free().to_string()], &["REPLICAOF", "NO", "ONE"]).await;
    scene.heals(|_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_out_of_memory_takes_nothing_until_it_has_some() {
    let mut scene = Scene::on(Server::start().await).await;
    fault(&scene, &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]).await;
    scene.heals(|_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_takes_its_time_to_load_its_data_is_waited_for() {
    // A while for each key, in microseconds, and answers meanwhile.
    let slowly = ["--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"];
    let mut scene = Scene::on(Server::start_as(&slowly).await).await;
    scene.load.until_more(3 * SOME).await;
    scene.server.down();
    scene.until_refused(REFUSED).await;
    scene.server.up().await;
    scene.heals(|_| true).await;
}
