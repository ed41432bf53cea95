//! The examples are killed in the middle of their work, and nothing is missed.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use redis::streams::{StreamInfoGroupsReply, StreamPendingReply};
use serde_json::Value;

use super::{OF_A_MAIL, Place, STAMP_LEN, Stage, feed, number};
use crate::gateway::{API_KEY, until};
use crate::signal::{kill, signal};
use crate::tidy::root;
use crate::{hooks, interop, openapi};

const SOON: Duration = Duration::from_secs(60);
/// How long entries have been idle that the last consumer takes over; the others leave those to it.
const IDLE_MS: &str = "200";

impl Stage {
    /// How many entries are pending in each partition.
    async fn pending(&self) -> Vec<usize> {
        let mut counts = Vec::new();
        for partition in 0..4 {
            let pending = self.server.command(&["XPENDING", &feed(partition), "crm"]).await;
            counts.push(redis::from_redis_value::<StreamPendingReply>(pending).unwrap().count());
        }
        counts
    }

    /// The entries that have been pending for so long, in the order of their ids.
    async fn idle(&self, partition: usize, ms: &str) -> Vec<String> {
        let words = ["XPENDING", &feed(partition), "crm", "IDLE", ms, "-", "+", "1000"];
        let rows: Vec<(String, String, u64, u64)> = redis::from_redis_value(self.server.command(&words).await).unwrap();
        rows.into_iter().map(|(id, ..)| id).collect()
    }

    /// The events that are not acknowledged.
    async fn open(&self, places: &HashMap<String, Place>) -> BTreeSet<String> {
        let mut open = BTreeSet::new();
        for partition in 0..4 {
            let groups = self.server.command(&["XINFO", "GROUPS", &feed(partition)]).await;
            let groups: StreamInfoGroupsReply = redis::from_redis_value(groups).unwrap();
            let read = number(&groups.groups[0].last_delivered_id);
            let pending: BTreeSet<_> = self.idle(partition, "0").await.iter().map(|id| number(id)).collect();
            let is_open = |place: &Place| place.0 == partition && (place.1 > read || pending.contains(&place.1));
            open.extend(places.iter().filter(|(_, place)| is_open(place)).map(|(id, _)| id.clone()));
        }
        open
    }

    /// The event of the nth entry that is pending there, and that entry.
    async fn pending_event(&self, partition: usize, n: usize, places: &HashMap<String, Place>) -> (String, String) {
        let entry = self.idle(partition, "0").await.swap_remove(n);
        let is_it = |(_, place): &(&String, &Place)| **place == (partition, number(&entry));
        (places.iter().find(is_it).unwrap().0.clone(), entry)
    }

    /// Trims a pending entry there. Its event.
    async fn trim(&self, partition: usize, places: &HashMap<String, Place>) -> String {
        let (event, entry) = self.pending_event(partition, 0, places).await;
        self.server.command(&["XDEL", &feed(partition), &entry]).await;
        event
    }

    /// Has a pending event expire, and its person erased. Both events.
    async fn lose(&self, partition: usize, places: &HashMap<String, Place>) -> [String; 2] {
        let (expired, _) = self.pending_event(partition, 1, places).await;
        self.server.command(&["DEL", &format!("{{wp:{partition}}}:e:{expired}")]).await;
        let (erased, _) = self.pending_event(partition, 2, places).await;
        let address = self.gateway.read(&format!("/v1/events/{erased}")).await["data"]["to"].clone();
        let route = format!("DELETE /v1/recipients/{}", address.as_str().unwrap().replace('@', "%40"));
        assert_eq!(self.gateway.call(API_KEY, &route, "").await.0, 202);
        until("it is erased", async || self.kept(partition, &erased).await.len() == STAMP_LEN).await;
        [expired, erased]
    }

    /// What is kept of an event.
    async fn kept(&self, partition: usize, event: &str) -> String {
        let answer = self.server.command(&["GET", &format!("{{wp:{partition}}}:e:{event}")]).await;
        redis::from_redis_value(answer).unwrap()
    }
}

/// An example at work.
struct Consumer {
    process: Option<Child>,
    /// What it prints. It stands still while nobody takes it, but for what a pipe and a reader hold.
    lines: Receiver<String>,
}

impl Consumer {
    fn start(program: &[PathBuf], url: &str, name: &str, more: Option<(&str, &str)>) -> Self {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).env("REDIS_URL", url).env("GROUP", "crm").env("CONSUMER", name).envs(more);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (give, lines) = sync_channel(0);
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| give.send(line)));
        Self { process: Some(process), lines }
    }

    /// The id of the next event that it prints.
    fn next(&self) -> String {
        let line = self.lines.recv_timeout(SOON).expect("the consumer goes on");
        let event: Value = serde_json::from_str(&line).unwrap();
        event["id"].as_str().unwrap().to_owned()
    }

    /// Kills it once it prints of a second partition, so that it has acknowledged a first, and is in the middle of another.
    /// All that it printed.
    fn killed(mut self, places: &HashMap<String, Place>) -> Vec<String> {
        let mut ids = vec![self.next()];
        while places[ids.last().unwrap()].0 == places[&ids[0]].0 {
            ids.push(self.next());
        }
        kill(&mut self.process);
        // The last line may be half written.
        let rest = self.lines.iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        ids.extend(rest.map(|event| event["id"].as_str().unwrap().to_owned()));
        ids
    }
}

impl Consumer {
    /// Asks it to stop; it ends well.
    async fn stopped(mut self) {
        let mut process = self.process.take().unwrap();
        signal(&process, "TERM");
        let mut status = None;
        hooks::until(SOON, "it ends", || {
            status = process.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert!(status.unwrap().success());
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

/// In each partition in the order of commits, and nothing twice.
fn hold_order(ids: &[String], places: &HashMap<String, Place>) {
    let mut last = [(0, 0); 4];
    for id in ids {
        let (partition, number) = places[id];
        assert!(last[partition] < number, "{id} came late");
        last[partition] = number;
    }
}

/// Two consumers die in the middle of their work, the second under the name of the first; a third takes it over. Meanwhile
/// entries are trimmed, an event expires, and another is erased.
async fn misses_nothing(program: &[PathBuf]) {
    let stage = Stage::new().await;
    for first in [0, 100, 200, 300] {
        stage.post(first, 50).await;
    }
    let mut places = stage.places().await;
    assert_eq!(places.len(), 200 * OF_A_MAIL);

    let first = Consumer::start(program, &stage.url, "crm-1", None).killed(&places);
    hold_order(&first, &places);
    let left = stage.pending().await;
    let [done, middle] = [&first[0], first.last().unwrap()].map(|id| places[id].0);
    assert!(left[done] == 0 && left[middle] > 0, "{left:?}");

    // It does what is its own at once, and that first.
    let mut gone = BTreeSet::from([stage.trim(middle, &places).await]);
    let second = Consumer::start(program, &stage.url, "crm-1", None).killed(&places);
    hold_order(&second, &places);
    let [again, middle] = [&second[0], second.last().unwrap()].map(|id| places[id].0);
    assert!(left[again] > 0, "{left:?}");
    let left = stage.pending().await;
    assert!(left[again] == 0 && left[middle] > 0, "{left:?}");

    let open = stage.open(&places).await;
    gone.insert(stage.trim(middle, &places).await);
    gone.extend(stage.lose(middle, &places).await);
    for (partition, left) in left.iter().enumerate() {
        until("it has been idle", async || stage.idle(partition, IDLE_MS).await.len() == *left).await;
    }
    let third = Consumer::start(program, &stage.url, "crm-2", Some(("CLAIM_AFTER_MS", IDLE_MS)));
    let mut taken: Vec<_> = open.difference(&gone).map(|_| third.next()).collect();
    hold_order(&taken, &places);
    assert_eq!(taken.iter().cloned().collect::<BTreeSet<_>>(), &open - &gone);

    // What comes from now on.
    stage.post(400, 1).await;
    taken.extend((0..OF_A_MAIL).map(|_| third.next()));
    places.extend(stage.places().await);
    hold_order(&taken, &places);
    third.stopped().await;
    assert_eq!(stage.pending().await, [0; 4]);
    let all: BTreeSet<_> = [first, second, taken].concat().into_iter().collect();
    assert!(places.keys().all(|id| all.contains(id) || gone.contains(id)));
}

#[tokio::test]
async fn a_consumer_in_python_misses_nothing() {
    let Some(folder) = openapi::installed("streams") else { return };
    misses_nothing(&[folder.join("venv/bin/python"), root().join("docs/examples/redis_streams.py")]).await;
}

#[tokio::test]
async fn a_consumer_in_node_misses_nothing() {
    let Some(folder) = interop::installed() else { return };
    misses_nothing(&["node".into(), folder.join("redis-streams.mjs")]).await;
}
