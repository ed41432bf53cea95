//! What is due, who may send it, and what became of it.

use std::collections::HashMap;
use std::time::Duration;

use redis::Value;

use super::gather::{Shape, run_gathered};
use super::keys::{PARTITIONS, Partition, all, lane_member, letter, name};
use super::link::{Call, Link, corrupt, read};
use super::recent::Seen;
use super::rows::{micros, seconds};
use super::{RedisStore, scripts};
use crate::crash;
use crate::domain::attempt_log::Detail;
use crate::domain::delivery::EndReason;
use crate::domain::id::EndpointId;
use crate::domain::ownership::Shards;
use crate::domain::retention::Lifetimes;
use crate::store::{DUE_LEN_MAX, Due, Finished, Lease, LeaseLost, Result, Then};

/// The most pages of the lanes index that one look reads.
const PAGES_MAX: usize = 100;
/// How long the first page is: what is due first is enough, but for a gateway that others share the lanes with.
const FIRST_PAGE_LEN: usize = 128;
/// What a delivery that is finished counts for: of so many in one call, twelve, that takes less than a millisecond with a
/// million pending.
const ROWS: usize = 40;

pub(super) async fn due(store: &RedisStore, shards: Shards) -> Result<Due> {
    let mut seen = Seen::default();
    // How long until each lane's earliest due time; what is due has none left.
    let mut lanes: HashMap<EndpointId, i64> = HashMap::new();
    let mut partitions: Vec<Partition> = all().collect();
    let (mut offset, mut len) = (0, FIRST_PAGE_LEN);
    for _ in 0..PAGES_MAX {
        let mut calls = vec![Call::plain(&["TIME"])];
        calls.extend(partitions.iter().map(|partition| look(*partition, offset, len)));
        let mut answers = store.link.run(calls).await?.into_iter();
        let now = time(answers.next())?;
        let mut unread = Vec::new();
        for (partition, answer) in partitions.into_iter().zip(answers) {
            if store.link.passes_over(&answer) {
                continue;
            }
            let found: Vec<(String, i64)> = read(answer?)?;
            let (is_full, mut is_enough) = (found.len() >= len, false);
            for (member, score) in found {
                let Some((class, endpoint)) = lane_member(&member) else { continue };
                if shards.contains(&endpoint) {
                    is_enough |= score > now;
                    if score <= now {
                        seen.add(&endpoint, class, score, partition);
                    }
                    let left = lanes.entry(endpoint).or_insert(i64::MAX);
                    *left = (*left).min(score - now);
                }
            }
            if is_full && !is_enough {
                unread.push(partition);
            }
        }
        let mut recent = store.recent();
        recent.rests.retain(|_, until| *until > now);
        for (endpoint, until) in &recent.rests {
            if let Some(left) = lanes.get_mut(endpoint) {
                *left = (*left).max(until - now);
            }
        }
        drop(recent);
        partitions = unread;
        if partitions.is_empty() {
            break;
        }
        (offset, len) = (offset + len, DUE_LEN_MAX);
    }
    store.recent().seen = seen;
    let next = lanes.values().filter(|left| **left > 0).min().and_then(|left| u64::try_from(*left).ok());
    let mut due: Vec<(i64, EndpointId)> =
        lanes.into_iter().filter(|(_, left)| *left <= 0).map(|(endpoint, left)| (left, endpoint)).collect();
    due.sort();
    due.truncate(DUE_LEN_MAX);
    Ok(Due { lanes: due.into_iter().map(|(_, endpoint)| endpoint).collect(), next: next.map(Duration::from_micros) })
}

/// The server's time, as it answers it.
pub(super) fn time(answer: Option<Result<Value>>) -> Result<i64> {
    let (seconds, micros): (i64, i64) = read(answer.ok_or_else(|| corrupt("no time"))??)?;
    Ok(seconds * 1_000_000 + micros)
}

/// Ends of rests are below zero.
fn look(partition: Partition, offset: usize, len: usize) -> Call {
    let mut call = Call::plain(&["ZRANGEBYSCORE", &partition.key("lanes"), "0", "+inf", "WITHSCORES", "LIMIT"]);
    call.num(offset).num(len);
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

/// A [`Finished`] with what its script keeps of it.
pub(super) struct Finishing {
    lease: Lease,
    then: Then,
    /// What the delivery's row keeps of it, and what the log does; nothing of none.
    attempt: Option<(Vec<u8>, Vec<u8>)>,
    lane: Option<(i64, Vec<u8>)>,
}

impl Finishing {
    fn of(finished: Finished) -> Result<Self> {
        let Finished { lease, attempt, then, lane } = finished;
        let attempt = attempt.map(|mut attempt| {
            let detail = serde_json::to_vec(&Detail::take(&mut attempt))?;
            Ok((serde_json::to_vec(&attempt)?, detail))
        });
        let attempt = attempt.transpose();
        let lane = lane.map(|lane| Ok((lane.at.as_microsecond(), serde_json::to_vec(&lane)?))).transpose();
        let unwritable = |_: serde_json::Error| corrupt("an attempt that cannot be written");
        Ok(Self { lease, then, attempt: attempt.map_err(unwritable)?, lane: lane.map_err(unwritable)? })
    }

    fn write(&self, call: &mut Call) {
        let Lease { event_id, replay, class, mail, endpoint, token, .. } = &self.lease;
        call.arg(name(event_id, replay.as_ref())).arg(letter(*class)).arg(mail.to_string()).arg(endpoint.as_str());
        call.num(*token);
        match &self.attempt {
            Some((attempt, detail)) => call.arg(attempt).arg(detail),
            None => call.arg(""),
        };
        match self.then {
            Then::Retry(after) => call.arg("pending").arg("").num(micros(after)),
            Then::End(status, reason) => call.arg(status.as_str()).arg(reason.map_or("", EndReason::as_str)).arg("0"),
        };
        match &self.lane {
            Some((at, lane)) => call.arg(lane).num(*at),
            None => call.arg(""),
        };
    }
}

/// Records what has gathered.
pub(super) async fn record(
    link: &Link,
    lifetimes: Lifetimes,
    log_bytes: u64,
    items: Vec<Finishing>,
) -> Vec<Result<i64>> {
    let shape = Shape { partition: |one: &Finishing| Partition::of_mail(one.lease.mail), rows: |_: &Finishing| ROWS };
    let answers = run_gathered(link, &items, &shape, |partition, finished| {
        let mut call = Call::new(&scripts::FINISH, partition, &["lanes", "ls", "announce"]);
        call.num(seconds(lifetimes.events)).num(log_bytes / u64::from(PARTITIONS)).num(finished.len());
        for one in finished {
            one.write(&mut call);
        }
        call
    });
    let unreadable =
        |answer| if answer < 0 { Err(corrupt("a delivery's row that cannot be read")) } else { Ok(answer) };
    answers.await.into_iter().map(|answer| answer.and_then(unreadable)).collect()
}
