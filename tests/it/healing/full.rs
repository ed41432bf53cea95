//! A Redis whose disk is full: it takes nothing more, or ends.

use std::fs;

use super::{SOON, Scene};
use crate::hooks::until;
use crate::redis_harness::Server;

/// So many bytes more, so that a write is cut off in its middle.
const LEFT: u64 = 1_000;

fn fill(server: &Server) {
    server.take_room(Some(fs::metadata(server.log()).unwrap().len() + LEFT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_disk_is_full_takes_nothing_until_there_is_room() {
    let mut scene = Scene::on(Server::start_syncing("everysec").await).await;
    fill(&scene.server);
    scene.until_refused(20).await;
    let refused = scene.server.try_command(&["SET", "one", "1"]).await.unwrap_err();
    assert_eq!(refused.code(), Some("MISCONF"), "{refused}");
    scene.server.take_room(None);
    scene.heals(|_| true).await;
}

/// Which it does rather than say of a write that it is on the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_ends_with_its_disk_full_costs_nothing_that_was_accepted() {
    let mut scene = Scene::on(Server::start().await).await;
    fill(&scene.server);
    let server = &mut scene.server;
    until(SOON, "it ends by itself", || server.has_ended()).await;
    scene.until_refused(20).await;
    scene.server.up().await;
    scene.heals(|_| true).await;
}
