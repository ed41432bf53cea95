//! A Redis Cluster of the test's own: three primaries, with a replica each if asked for, put together over the protocol.

use std::time::Duration;

use redis::Value;
use waypost::clock::{Clock, SystemClock};

use crate::port;
use crate::redis_harness::Server;

/// A primary that is silent for so long is taken for dead.
const NODE_TIMEOUT_MS: &str = "1000";
const PRIMARIES: usize = 3;
const SLOTS: [[&str; 2]; PRIMARIES] = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]];
/// The slots of the partitions.
pub(crate) const PARTITIONS: [u16; 4] = [5_981, 1_916, 14_111, 10_046];
/// So many keys are moved at a time.
const MOVED_AT_ONCE: &str = "10";
const WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Cluster {
    /// Three primaries, then their replicas in the same order.
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    pub(crate) async fn start(has_replicas: bool) -> Self {
        let mut servers = Vec::new();
        for number in 0..PRIMARIES * if has_replicas { 2 } else { 1 } {
            let bus = port::free().to_string();
            let server = Server::start_as(
                &[
                    &["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", &bus][..],
                    &["--cluster-node-timeout", NODE_TIMEOUT_MS, "--repl-diskless-sync-delay", "0"],
                ]
                .concat(),
            )
            .await;
            server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).await;
            if let Some([first, last]) = SLOTS.get(number) {
                server.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
            }
            servers.push((server, bus));
        }
        for (server, bus) in &servers[1..] {
            let port = server.port().to_string();
            servers[0].0.command(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]).await;
        }
        let cluster = Self { servers: servers.into_iter().map(|(server, _)| server).collect() };
        let known = format!("cluster_known_nodes:{}", cluster.servers.len());
        cluster.until_all("CLUSTER INFO", &known).await;
        for number in PRIMARIES..cluster.servers.len() {
            let id = cluster.id(number - PRIMARIES).await;
            // Until it has heard of that one.
            until("a replica knows its primary", async || {
                cluster.servers[number].try_command(&["CLUSTER", "REPLICATE", &id]).await.is_ok()
            })
            .await;
        }
        cluster.until_whole().await;
        cluster
    }

    /// Waits until each slot has its primary, and each replica all that its primary has.
    pub(crate) async fn until_whole(&self) {
        self.until_all("CLUSTER INFO", "cluster_state:ok").await;
        for server in &self.servers {
            until("replicas are linked", async || {
                let info = text(server.command(&["INFO", "replication"]).await);
                info.contains("role:master") || info.contains("master_link_status:up")
            })
            .await;
        }
    }

    async fn until_all(&self, command: &str, line: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        for server in &self.servers {
            until(line, async || text(server.command(&words).await).contains(line)).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = self.servers[..2].iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// What the cluster calls a server.
    async fn id(&self, number: usize) -> String {
        text(self.servers[number].command(&["CLUSTER", "MYID"]).await)
    }

    /// The server that has a slot.
    pub(crate) async fn owner(&self, slot: u16) -> usize {
        let Value::Array(ranges) = self.servers[0].command(&["CLUSTER", "SLOTS"]).await else { panic!("no slots") };
        for range in ranges {
            let Value::Array(parts) = range else { continue };
            let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &parts[..] else { continue };
            if (*first..=*last).contains(&i64::from(slot)) {
                let Value::Int(port) = primary[1] else { continue };
                return self.servers.iter().position(|server| i64::from(server.port()) == port).unwrap();
            }
        }
        panic!("nobody has the slot {slot}");
    }

    /// Begins to move a slot, these keys of it first.
    pub(crate) async fn begin_to_move(&self, slot: u16, from: usize, to: usize, keys: &[String]) {
        let (slot, ids) = (slot.to_string(), [self.id(from).await, self.id(to).await]);
        self.servers[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]]).await;
        self.servers[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]]).await;
        self.move_these(from, to, keys).await;
    }

    /// Moves some keys; whether there were any.
    async fn move_keys(&self, slot: &str, from: usize, to: usize) -> bool {
        let keys = self.servers[from].command(&["CLUSTER", "GETKEYSINSLOT", slot, MOVED_AT_ONCE]).await;
        let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
        self.move_these(from, to, &keys).await;
        !keys.is_empty()
    }

    async fn move_these(&self, from: usize, to: usize, keys: &[String]) {
        let port = self.servers[to].port().to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        if !keys.is_empty() {
            self.servers[from].command(&words).await;
        }
    }

    /// Moves the rest of it, slowly enough for others to come in between.
    pub(crate) async fn end_to_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to).await);
        while self.move_keys(&slot, from, to).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for server in [to, from].into_iter().chain((0..PRIMARIES).filter(|other| ![to, from].contains(other))) {
            self.servers[server].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]).await;
        }
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let clock = SystemClock::new();
    while !is_so().await {
        assert!(clock.elapsed() < WITHIN, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn text(value: Value) -> String {
    redis::from_redis_value(value).unwrap()
}
