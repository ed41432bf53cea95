//! The process dies in the middle of a commit, and what was acknowledged is there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use waypost::clock::SystemClock;
use waypost::domain::delivery::{Class, Status};
use waypost::domain::id::EventId;
use waypost::domain::plan::Generation;
use waypost::store::embedded::Embedded;
use waypost::store::{Ingested, Store};

use crate::contract::{LONG, lease};
use crate::embedded::LIFETIMES;
use crate::support::{DELIVERED, finished, ingest, unit};

/// Where the child of a crash test is to work.
const DIR: &str = "WAYPOST_TEST_DIR";
/// Whether a lane is to be behind there, so that what comes in is synced beside the writer.
const BEHIND: &str = "WAYPOST_TEST_BEHIND";

fn open(dir: &Path) -> Embedded {
    Embedded::open(dir, Arc::new(SystemClock::new()), LIFETIMES).unwrap()
}

fn plan(number: u32) -> waypost::domain::plan::Ingest {
    let identity = number.to_string();
    ingest(Generation(0), vec![unit("resend", &identity, &identity, Class::Normal, &["wh_a"])])
}

/// No test by itself: the process that dies. Says on its output what was acknowledged.
#[tokio::test]
async fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let store = open(Path::new(&dir));
    if std::env::var_os(BEHIND).is_some() {
        let late = unit("resend", "late", "late", Class::Normal, &["wh_b"]);
        store.ingest(ingest(Generation(0), vec![late])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.ready().await.unwrap();
    }
    for number in 0..10 {
        store.ingest(plan(number)).await.unwrap();
        println!("\nacknowledged ingest {number}");
        let leases = lease(&store, "wh_a", 1, LONG).await;
        println!("\nacknowledged lease {number}");
        store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap();
        println!("\nacknowledged finish {number}");
    }
}

/// Has a child die the third time it passes this point; tells how many ingests, leases and finishes it acknowledged.
fn die_at(point: &str, dir: &Path) -> [u32; 3] {
    let mut child = Command::new(std::env::current_exe().unwrap());
    if point == "log.appended" {
        child.env(BEHIND, "");
    }
    let child = child
        .args(["crash::child", "--exact", "--nocapture"])
        .env(DIR, dir)
        .env("WAYPOST_CRASH_AT", format!("{point}:3"))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(!child.status.success(), "it should have died at {point}");
    let said = String::from_utf8(child.stdout).unwrap();
    let count = |what: &str| said.lines().filter(|line| line.starts_with(&format!("acknowledged {what} "))).count();
    ["ingest", "lease", "finish"].map(|what| u32::try_from(count(what)).unwrap())
}

/// `stored`, `begun` and `delivered` are how many there are after the crash.
async fn check(point: &str, acknowledged: [u32; 3], stored: u32, begun: u32, delivered: u32) {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(die_at(point, dir.path()), acknowledged);
    let store = open(dir.path());
    let mut found = [0; 3];
    for number in 0..10 {
        let id = EventId::of("resend", &number.to_string());
        let deliveries = store.deliveries_of(&id).await.unwrap();
        assert_eq!(store.event(&id).await.unwrap().is_some(), !deliveries.is_empty(), "an event is all or none");
        found[0] += u32::from(!deliveries.is_empty());
        found[1] += deliveries.iter().map(|delivery| delivery.begun).sum::<u32>();
        found[2] += u32::from(deliveries.iter().any(|delivery| delivery.status == Status::Delivered));
    }
    assert_eq!(found, [stored, begun, delivered]);
    for number in 0..4 {
        let expected = u32::from(number < stored);
        let answer = store.ingest(plan(number)).await.unwrap();
        assert_eq!(answer, Ingested::Stored { new: 1 - expected, repeated: expected }, "the resend of {number}");
    }
}

#[tokio::test]
async fn an_ingest_that_dies_before_its_commit_is_not_there() {
    check("ingest.before_commit", [2, 2, 2], 2, 2, 2).await;
}

#[tokio::test]
async fn an_ingest_that_dies_before_its_answer_is_a_repeat() {
    check("ingest.committed", [2, 2, 2], 3, 2, 2).await;
}

#[tokio::test]
async fn an_ingest_that_dies_while_it_is_synced_beside_the_writer_is_a_repeat() {
    check("log.appended", [2, 2, 2], 3, 2, 2).await;
}

#[tokio::test]
async fn a_lease_that_dies_before_its_answer_is_seen_as_begun() {
    check("lease.committed", [3, 2, 2], 3, 3, 2).await;
}

#[tokio::test]
async fn a_finish_that_dies_before_its_commit_leaves_its_delivery_pending() {
    check("finish.before_commit", [3, 3, 2], 3, 3, 2).await;
}

#[tokio::test]
async fn a_finish_that_dies_before_its_answer_has_ended_its_delivery() {
    check("finish.committed", [3, 3, 2], 3, 3, 3).await;
}
