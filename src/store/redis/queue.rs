//! What is due, who may send it, and what became of it.

use std::collections::HashMap;
use std::time::Duration;

use super::gather::{Shape, run_gathered};
use super::keys::{Partition, all, letter};
use super::link::{Call, Link, corrupt};
use super::rows::{micros, seconds, word};
use super::{RedisStore, scripts};
use crate::crash;
use crate::domain::id::EndpointId;
use crate::domain::ownership::Shards;
use crate::domain::retention::Lifetimes;
use crate::store::{DUE_LEN_MAX, Due, Finished, LeaseLost, Result, Then};

/// The most pages of the lanes index that one look reads.
const PAGES_MAX: usize = 100;

/// Lanes with their scores.
type Scored = Vec<(String, i64)>;

pub(super) async fn due(link: &Link, shards: Shards) -> Result<Due> {
    // How long until each lane's earliest due time; what is due has none left.
    let mut lanes: HashMap<EndpointId, i64> = HashMap::new();
    let mut partitions: Vec<Partition> = all().collect();
    for page in 0..PAGES_MAX {
        let calls: Vec<Call> = partitions.iter().map(|partition| look(*partition, page)).collect();
        let mut unread = Vec::new();
        for (partition, answer) in partitions.into_iter().zip(link.run_all(&calls).await?) {
            let (now, due, later): (i64, Scored, Scored) = answer;
            if due.len() >= DUE_LEN_MAX || (later.len() >= DUE_LEN_MAX && !mine(shards, &later)) {
                unread.push(partition);
            }
            for (endpoint, score) in due.into_iter().chain(later) {
                let endpoint = EndpointId::from(endpoint.as_str());
                if shards.contains(&endpoint) {
                    let left = lanes.entry(endpoint).or_insert(i64::MAX);
                    *left = (*left).min(score - now);
                }
            }
        }
        partitions = unread;
        if partitions.is_empty() {
            break;
        }
    }
    let next = lanes.values().filter(|left| **left > 0).min().and_then(|left| u64::try_from(*left).ok());
    let mut due: Vec<(i64, EndpointId)> =
        lanes.into_iter().filter(|(_, left)| *left <= 0).map(|(endpoint, left)| (left, endpoint)).collect();
    due.sort();
    due.truncate(DUE_LEN_MAX);
    Ok(Due { lanes: due.into_iter().map(|(_, endpoint)| endpoint).collect(), next: next.map(Duration::from_micros) })
}

fn mine(shards: Shards, lanes: &[(String, i64)]) -> bool {
    lanes.iter().any(|(endpoint, _)| shards.contains(&EndpointId::from(endpoint.as_str())))
}

fn look(partition: Partition, page: usize) -> Call {
    let mut call = Call::new(&scripts::DUE, partition, &["lanes"]);
    call.num(page * DUE_LEN_MAX).num(DUE_LEN_MAX);
    call
}

pub(super) async fn finish(store: &RedisStore, finished: Vec<Finished>) -> Result<Vec<LeaseLost>> {
    let named: Vec<LeaseLost> = finished
        .iter()
        .map(|one| LeaseLost { event_id: one.lease.event_id.clone(), endpoint: one.lease.endpoint.clone() })
        .collect();
    let mut items = Vec::with_capacity(finished.len());
    for one in finished {
        items.push(Finishing::of(one)?);
    }
    let (mut lost, mut failed) = (Vec::new(), None);
    for (name, answer) in named.into_iter().zip(store.finishes.call(items).await) {
        match answer {
            Ok(0) => lost.push(name),
            Ok(_) => crash::point("finish.committed"),
            Err(error) => failed = Some(error),
        }
    }
    store.work.notify_one();
    failed.map_or(Ok(lost), Err)
}

/// A [`Finished`] as its script takes it.
pub(super) struct Finishing {
    partition: Partition,
    args: Vec<String>,
}

impl Finishing {
    fn of(finished: Finished) -> Result<Self> {
        let lease = finished.lease;
        let attempt = finished.attempt.map(|attempt| serde_json::to_string(&attempt)).transpose();
        let lane = finished.lane.map(|lane| Ok((lane.at.as_microsecond(), serde_json::to_string(&lane)?))).transpose();
        let unwritable = |_: serde_json::Error| corrupt("an attempt that cannot be written");
        let (lane_at, lane) = lane.map_err(unwritable)?.unwrap_or_default();
        let (status, reason, after) = match finished.then {
            Then::Retry(after) => ("pending", "", micros(after)),
            Then::End(status, reason) => (status.as_str(), reason.map_or("", word), 0),
        };
        let args = vec![
            lease.event_id.to_string(),
            letter(lease.class),
            lease.mail.to_string(),
            lease.endpoint.to_string(),
            lease.token.to_string(),
            attempt.map_err(unwritable)?.unwrap_or_default(),
            status.to_owned(),
            reason.to_owned(),
            after.to_string(),
            lane_at.to_string(),
            lane,
        ];
        Ok(Self { partition: Partition::of_mail(lease.mail), args })
    }
}

/// Records what has gathered.
pub(super) async fn record(link: &Link, lifetimes: Lifetimes, items: Vec<Finishing>) -> Vec<Result<i64>> {
    let shape = Shape { partition: |one: &Finishing| one.partition, rows: |_: &Finishing| 1 };
    run_gathered(link, &items, &shape, |partition, finished| {
        let keys =
            ["lanes", "rest", "ls", "announce", "st:pending", "st:delivered", "st:failed", "st:skipped", "st:canceled"];
        let mut call = Call::new(&scripts::FINISH, partition, &keys);
        call.num(seconds(lifetimes.events)).num(finished.len());
        for arg in finished.iter().flat_map(|one| &one.args) {
            call.arg(arg);
        }
        call
    })
    .await
}
