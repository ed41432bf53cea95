//! Stores on a Redis Cluster, whose partitions move and whose primaries die; and what replicas are waited for.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use waypost::domain::id::{EventId, MailKey};
use waypost::domain::redis_url::{Durability, Redis};
use waypost::domain::retention::Lifetimes;
use waypost::store::redis::RedisStore;
use waypost::store::{Store, StoreError};

use crate::contract::{Harness, run_contract};
use crate::embedded::LIFETIMES;
use crate::gateway::{Gateway, Seen, receiver};
use crate::redis_cluster_harness::{Cluster, PARTITIONS, text, until};
use crate::redis_fixture::*;
use crate::redis_harness::{Server, connect, redis_at};
use crate::redis_load::Load;

struct OnCluster {
    cluster: Cluster,
    store: Arc<dyn Store>,
}

impl OnCluster {
    async fn open(cluster: &Cluster, lifetimes: Lifetimes) -> RedisStore {
        connect(&redis_at(&cluster.url()), lifetimes, &[]).await.unwrap()
    }
}

impl Harness for OnCluster {
    async fn start() -> Self {
        let cluster = Cluster::start(false).await;
        let store = Arc::new(Self::open(&cluster, LIFETIMES).await);
        Self { cluster, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    async fn reopen_for(&mut self, lifetimes: Lifetimes) {
        self.store = Arc::new(Self::open(&self.cluster, lifetimes).await);
    }

    async fn reopen_holding(&mut self, log_bytes: u64) {
        self.store = Arc::new(Self::open(&self.cluster, LIFETIMES).await.with_attempt_log(log_bytes));
    }
}

// Of each kind of call one, for each has to find its partitions.
run_contract!(OnCluster, ingest: [a_copy_is_a_repeat, a_token_is_remembered_under_each_key_that_signed_it, the_generation_grows]);
run_contract!(OnCluster, leases: [a_lease_finishes_once, work_wakes_who_waits]);
run_contract!(OnCluster, suppressions: [the_list_is_read_in_pages_while_it_changes]);
run_contract!(OnCluster, replays: [a_canceled_replay_ends_whatever_became_of_it, jobs_are_listed_latest_first]);
run_contract!(OnCluster, requests: [a_large_one_is_read_again_whole]);
run_contract!(OnCluster, search: [pages_skip_and_double_nothing_while_more_come]);
run_contract!(OnCluster, erasures: [all_that_is_kept_is_found_in_parts, its_files_are_written_anew]);
run_contract!(OnCluster, access: [what_was_told_is_listed_latest_first_and_survives_a_reopen]);

#[tokio::test]
async fn one_server_of_a_cluster_is_told_from_one_alone() {
    let cluster = Cluster::start(false).await;
    let store = connect(&redis_at(&cluster.servers[0].url()), LIFETIMES, &[]).await.unwrap();
    let refused = store.check_place().await;
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("`redis+cluster://`")), "{refused:?}");
}

#[tokio::test]
async fn while_a_partition_is_on_its_way_nothing_is_taken_for_new() {
    let cluster = Cluster::start(false).await;
    let store = OnCluster::open(&cluster, LIFETIMES).await;
    let partition = MailKey::of("mail", "m").partition(4);
    let (slot, prefix) = (PARTITIONS[usize::from(partition)], format!("{{wp:{partition}}}:"));
    let (from, ids) = (cluster.owner(slot).await, ["a", "b", "c", "d"]);
    let all = || ingest_of(b"{}", ids.iter().map(|name| unit(name, "m", "wh_1")).collect());
    store.ingest(all()).await.unwrap();
    // All keys that the script names are there.
    let named: [&[&str]; 4] = [&["ZADD", "st:skipped"], &["XADD", "announce"], &["ZADD", "states"], &["ZADD", "sups"]];
    for [command, key] in named.map(|words| [words[0], words[1]]) {
        let (key, rest) = (prefix.clone() + key, if command == "XADD" { ["*", "n", "1"] } else { ["NX", "0", "0"] });
        cluster.servers[from].command(&[&[command, &key][..], &rest].concat()).await;
    }
    let to = (from + 1) % 3;
    let events: Vec<_> = ids[..2].iter().map(|name| format!("{prefix}e:{}", EventId::of("main", name))).collect();
    cluster.begin_to_move(slot, from, to, &events).await;
    let refused = store.ingest(all()).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.starts_with("TRYAGAIN")), "{refused:?}");
    // What reads one key alone finds it on either side.
    for name in ids {
        assert!(store.event(&EventId::of("main", name)).await.unwrap().is_some(), "{name}");
    }
    cluster.end_to_move(slot, from, to).await;
    assert_eq!(store.ingest(all()).await.unwrap(), stored(0, 4));
    assert_eq!(take(&store, "wh_1", 10, LONG).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_partitions_move() {
    let cluster = Cluster::start(false).await;
    let (target, seen) = receiver();
    let mut gateway = Gateway::new(&cluster.url(), target);
    gateway.up(None);
    gateway.until_alive().await;
    let load = Load::start(&gateway);
    load.until_more(500).await;
    for slot in PARTITIONS {
        let from = cluster.owner(slot).await;
        cluster.begin_to_move(slot, from, (from + 1) % 3, &[]).await;
        cluster.end_to_move(slot, from, (from + 1) % 3).await;
    }
    load.until_more(50).await;
    let (accepted, refused) = load.end().await;
    let missed = missed(&accepted, &seen).await;
    println!("four partitions moved: {} accepted, {refused} refused, {missed} lost", accepted.len());
    assert_eq!(missed, 0);
}

/// How many of what was accepted does not come.
async fn missed(accepted: &HashSet<String>, seen: &Seen) -> usize {
    let left = || accepted.iter().filter(|id| !seen.lock().unwrap().contains_key(*id)).count();
    // Longer than the hold of a lease whose taking was not answered.
    for _ in 0..2_500 {
        if left() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    left()
}

/// Kills a primary under load, which its replica does not hear of for a while, and starts it again as a replica of the one
/// that took over. Answers how much of what was accepted is lost.
async fn fail_over(replicas: &'static str, meanwhile: usize) -> usize {
    let mut cluster = Cluster::start(true).await;
    let (target, seen) = receiver();
    let mut gateway = Gateway::new(&cluster.url(), target);
    gateway.start(Some(("WAYPOST__STORE__DURABILITY__REPLICAS", replicas)));
    gateway.until_alive().await;
    let load = Load::start(&gateway);
    load.until_more(300).await;
    // The one that has the first partition, without which nothing is leased.
    let primary = cluster.owner(PARTITIONS[0]).await;
    let replica = &cluster.servers[primary + 3];
    replica.signal("STOP");
    cluster.servers[primary].command(&["CLIENT", "KILL", "TYPE", "replica"]).await;
    load.until_more(meanwhile).await;
    cluster.servers[primary].down();
    let replica = &cluster.servers[primary + 3];
    replica.signal("CONT");
    let role = async || text(replica.command(&["INFO", "replication"]).await);
    until("the replica took over", async || role().await.contains("role:master")).await;
    cluster.servers[primary].up().await;
    cluster.until_whole().await;
    load.until_more(300).await;
    let (accepted, refused) = load.end().await;
    let store = OnCluster::open(&cluster, LIFETIMES).await;
    let mut kept = HashSet::new();
    for id in &accepted {
        if store.event(&EventId::of("resend", id)).await.unwrap().is_some() {
            kept.insert(id.clone());
        }
    }
    let lost = accepted.len() - kept.len();
    println!("a primary died, replicas = {replicas}: {} accepted, {refused} refused, {lost} lost", accepted.len());
    assert_eq!(missed(&kept, &seen).await, 0);
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_a_primary_dies_whose_replica_is_waited_for() {
    assert_eq!(fail_over("1", 5).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_did_not_have_is_lost_where_it_is_not_waited_for() {
    assert!(fail_over("0", 50).await > 0, "this shows nothing of replicas that are waited for");
}

async fn waiting(server: &Server, replicas: u16) -> RedisStore {
    let durability = Durability { replicas, wait_aof: false };
    let redis = Redis { durability, ..redis_at(&server.url()) };
    connect(&redis, LIFETIMES, &[]).await.unwrap()
}

#[tokio::test]
async fn a_repeat_waits_for_replicas_as_the_first_did() {
    let server = Server::start_as(&["--repl-diskless-sync-delay", "0"]).await;
    let store = waiting(&server, 1).await;
    let one = || ingest_of(b"{}", vec![unit("a", "m", "wh_1")]);
    for _ in 0..2 {
        let refused = store.ingest(one()).await;
        assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("is to be on 1")), "{refused:?}");
    }
    assert!(store.ready().await.is_err());
    let port = server.port().to_string();
    let replica = Server::start_as(&["--replicaof", "127.0.0.1", &port]).await;
    until("the replica is linked", async || {
        text(replica.command(&["INFO", "replication"]).await).contains("master_link_status:up")
    })
    .await;
    until("it acknowledges", async || store.ready().await.is_ok()).await;
    // Until then not even its request was acknowledged.
    assert_eq!(store.ingest(one()).await.unwrap(), stored(1, 0));
    replica.signal("STOP");
    assert!(store.ingest(one()).await.is_err(), "a repeat is on the primary alone, for all that is known");
    // Who does not wait is not held up by those who do.
    assert_eq!(take(&store, "wh_1", 10, LONG).await.len(), 1);
    replica.signal("CONT");
    until("it acknowledges again", async || store.ready().await.is_ok()).await;
    assert_eq!(store.ingest(one()).await.unwrap(), stored(0, 1));
}

#[tokio::test]
async fn a_server_that_cannot_tell_what_is_on_its_disk_is_refused() {
    let server = Server::start().await;
    let durability = Durability { replicas: 0, wait_aof: true };
    let redis = Redis { durability, ..redis_at(&server.url()) };
    let is_known = !matches!(&server.command(&["COMMAND", "INFO", "WAITAOF"]).await,
        redis::Value::Array(all) if matches!(all[..], [redis::Value::Nil]));
    match connect(&redis, LIFETIMES, &[]).await {
        Ok(store) if is_known => assert_eq!(put(&store, vec![unit("a", "m", "wh_1")]).await, stored(1, 0)),
        Err(StoreError::Refused(why)) if !is_known => {
            assert!(why.contains("store.durability.wait_aof") && why.contains("7.2"), "{why}");
        }
        other => panic!("{:?}, and WAITAOF is known: {is_known}", other.map(|_| "connected")),
    }
}
