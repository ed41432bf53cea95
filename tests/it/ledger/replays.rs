//! Asks for replays while whoever should make them is killed: each again, under its key, until it is answered.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use waypost::clock::{Clock, SystemClock};
use waypost::domain::id::{DeliveryId, EventId};

use super::Ledger;
use super::receivers::{Arrival, endpoints_of};
use crate::client_of_api::Api;
use crate::gateway::Gateway;

const PAUSE: Duration = Duration::from_millis(40);
/// A job for each of these, one so many replays after the other.
const JOBS: [&str; 3] = ["wh_cloudevents", "wh_relaypost", "wh_waypost"];
const JOB_EVERY: usize = 15;
/// How long a job may take once nothing is killed any more.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// What was asked for, and granted.
#[derive(Default)]
pub(super) struct Replays {
    granted: Mutex<HashSet<Arrival>>,
    /// The jobs by their endpoints.
    jobs: Mutex<HashMap<&'static str, String>>,
    /// What should have been granted and was not.
    pub(super) denied: Mutex<Vec<String>>,
}

/// Who asks.
pub(super) struct Asker {
    pub(super) ledger: Arc<Ledger>,
    pub(super) replays: Arc<Replays>,
    /// The gateways.
    pub(super) ports: Vec<u16>,
    /// What was in before this is what the jobs replay: `early`.
    pub(super) until: Timestamp,
    pub(super) early: HashSet<String>,
}

impl Replays {
    pub(super) fn granted(&self) -> HashSet<Arrival> {
        self.granted.lock().unwrap().clone()
    }

    /// The jobs in the end: what each counted, made, left out and has pending.
    pub(super) async fn jobs(&self, gateway: &Gateway) -> Vec<[Value; 4]> {
        let ids: Vec<_> = self.jobs.lock().unwrap().values().cloned().collect();
        let mut ended = Vec::new();
        for id in ids {
            let read = async || gateway.get(&format!("/v1/replays/{id}")).await.unwrap().body;
            let mut job: Value = serde_json::from_str(&read().await).unwrap();
            let clock = SystemClock::new();
            // One that the store has lost has no state.
            while clock.elapsed() < ENDED_WITHIN
                && !job["state"].is_null()
                && (job["state"] != "done" || job["pending"] != 0)
            {
                tokio::time::sleep(PAUSE).await;
                job = serde_json::from_str(&read().await).unwrap();
            }
            ended.push(["total", "made", "left_out", "pending"].map(|name| job[name].clone()));
        }
        ended
    }
}

impl Asker {
    /// One delivery, one event and a span, by turns, until the ledger is over and all jobs are begun.
    pub(super) async fn run(self) {
        let mut jobs = JOBS.into_iter();
        for turn in 0.. {
            let is_over = self.ledger.is_over.load(Ordering::SeqCst);
            if turn % JOB_EVERY == 0 || is_over {
                let Some(endpoint) = jobs.next() else {
                    if is_over {
                        return;
                    }
                    continue;
                };
                self.span(turn, endpoint).await;
            } else if turn % 2 == 0 {
                self.event(turn).await;
            } else {
                self.delivery(turn).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn delivery(&self, turn: usize) {
        let (event, is_bounce) = self.ledger.one(turn);
        let all: Vec<_> = endpoints_of(is_bounce).collect();
        let endpoint = all[turn / 2 % all.len()];
        let delivery = DeliveryId::of(&EventId::from(event.as_str()), &endpoint.into(), None);
        if let Some(made) = self.ask(turn, &format!("/v1/deliveries/{delivery}/retry"), Value::Null).await {
            self.grant(&made["replay_id"], &event, endpoint);
        }
    }

    async fn event(&self, turn: usize) {
        let (event, is_bounce) = self.ledger.one(turn);
        let Some(made) = self.ask(turn, &format!("/v1/events/{event}/replay"), json!({})).await else { return };
        let data = made["data"].as_array().unwrap();
        if data.len() != endpoints_of(is_bounce).count() {
            self.replays.denied.lock().unwrap().push(made.to_string());
        }
        for delivery in data {
            let endpoint = endpoints_of(true).find(|id| delivery["endpoint_id"] == *id).unwrap();
            self.grant(&made["replay_id"], &event, endpoint);
        }
    }

    async fn span(&self, turn: usize, endpoint: &'static str) {
        let span = json!({"since": "2026-01-01T00:00:00Z", "until": self.until});
        let Some(job) = self.ask(turn, &format!("/v1/webhooks/{endpoint}/replay"), span).await else { return };
        self.replays.jobs.lock().unwrap().insert(endpoint, job["id"].as_str().unwrap().to_owned());
        for event in &self.early {
            self.grant(&job["id"], event, endpoint);
        }
    }

    fn grant(&self, replay: &Value, event: &str, endpoint: &'static str) {
        let replay = replay.as_str().unwrap().to_owned();
        self.replays.granted.lock().unwrap().insert((event.to_owned(), endpoint, Some(replay)));
    }

    /// Asks one gateway after the other until one answers; what it made, unless it says that it never will.
    async fn ask(&self, turn: usize, path: &str, body: Value) -> Option<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        for port in self.ports.iter().cycle().skip(turn) {
            let api = Api::new("POST", path).with("idempotency-key", &turn.to_string()).saying(&body);
            match api.try_call(*port).await {
                Ok((201 | 202, made)) => return Some(made),
                Ok((503, _)) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Ok((status, answer)) => {
                    self.replays.denied.lock().unwrap().push(format!("{path}: {status} {answer}"));
                    return None;
                }
            }
        }
        None
    }
}
