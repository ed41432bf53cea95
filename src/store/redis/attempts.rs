//! The logs of attempts, and deliveries with what these have of their attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use redis::streams::StreamRangeReply;
use redis::{Cmd, Pipeline};

use super::keys::{FeedPlace, Partition, all, read_name};
use super::link::{Call, Link, corrupt, read};
use super::queue::time;
use super::read::{PAGE_LEN_MAX, get, parse};
use super::rows::{Row, micros};
use super::{RedisStore, scripts};
use crate::domain::attempt_log::{Detail, Logged};
use crate::domain::delivery::Delivery;
use crate::domain::event_type::EventType;
use crate::domain::id::EndpointId;
use crate::store::{Attempts, LogPage, Page, PageQuery, Result};

fn stream(endpoint: &EndpointId) -> String {
    format!("al:{endpoint}")
}

/// A delivery whose attempts are yet to be filled in: where the log has each.
pub(super) struct Unfilled {
    pub(super) partition: Partition,
    pub(super) delivery: Delivery,
    pub(super) places: Vec<String>,
}

/// Deliveries with what the logs have of their attempts.
pub(super) async fn filled(link: &Link, mut all: Vec<Unfilled>) -> Result<Vec<Delivery>> {
    let mut pipe = Pipeline::new();
    for Unfilled { partition, delivery, places } in &all {
        let key = partition.key(&stream(&delivery.endpoint_id));
        for place in places {
            pipe.add_command(Cmd::new().arg("XRANGE").arg(&key).arg(place).arg(place).clone());
        }
    }
    let mut answers = link.pipe(&pipe).await?.into_iter();
    for Unfilled { delivery, .. } in &mut all {
        let mut attempts = Vec::with_capacity(delivery.attempts.len());
        for (attempt, answer) in std::mem::take(&mut delivery.attempts).into_iter().zip(answers.by_ref()) {
            let entry = read::<StreamRangeReply>(answer?)?.ids.pop();
            let detail = entry.map(|entry| detail(&entry.get::<Vec<u8>>("b").unwrap_or_default())).transpose()?;
            attempts.push(Detail::put_back(detail, attempt));
        }
        delivery.attempts = attempts;
    }
    Ok(all.into_iter().map(|one| one.delivery).collect())
}

fn detail(json: &[u8]) -> Result<Detail> {
    serde_json::from_slice(json).map_err(|_| corrupt("an attempt in a log that cannot be read"))
}

/// An entry of a log as its script answers it: place, name, detail, row.
type Entry = (String, String, Vec<u8>, Vec<u8>);

pub(super) async fn attempts(
    link: &Link,
    lifetime: Duration,
    endpoint: &EndpointId,
    page: &PageQuery,
) -> Result<LogPage> {
    let limit = page.limit.min(PAGE_LEN_MAX);
    let from = page.cursor.as_deref().map(FeedPlace::from_cursor).transpose()?;
    let mut calls = vec![Call::plain(&["TIME"])];
    for partition in all() {
        let mut call = Call::new(&scripts::ATTEMPTS, partition, &[&stream(endpoint), &format!("as:{endpoint}")]);
        call.arg(endpoint.as_str()).arg(from.map_or("+".into(), |place| place.below(partition))).num(limit + 1);
        calls.push(call);
    }
    let mut answers = link.run(calls).await?.into_iter();
    let now = time(answers.next())?;
    let (mut found, mut cut_ms): (Vec<(FeedPlace, Entry)>, u64) = (Vec::new(), 0);
    for (partition, answer) in all().zip(answers) {
        let (cut, entries): (u64, Vec<Entry>) = read(answer?)?;
        cut_ms = cut_ms.max(cut);
        for entry in entries {
            let place = FeedPlace::parse(&format!("{}-{}", entry.0, partition.0));
            found.push((place.ok_or_else(|| corrupt("a place in a log of attempts"))?, entry));
        }
    }
    found.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(place, _)| place.cursor());
    let mut items = Vec::with_capacity(found.len());
    for (place, entry) in found {
        items.extend(logged(entry)?.map(|logged| (place.partition, logged)));
    }
    let is_cut = cut_ms > 0 && cut_ms.saturating_mul(1_000).saturating_add(micros(lifetime)) > now.unsigned_abs();
    Ok(LogPage { page: Page { items: with_kinds(link, items).await?, next }, is_cut })
}

/// What an entry tells; nothing where its delivery has expired, or begun anew.
fn logged((place, name, json, row): Entry) -> Result<Option<Logged>> {
    if row.is_empty() {
        return Ok(None);
    }
    let (event_id, replay_id) = read_name(&name);
    let attempt = Row::parse(&row, 0)?.attempts.into_iter().find(|made| made.log == place);
    let Some(attempt) = attempt.map(|made| made.attempt) else { return Ok(None) };
    let attempt = Detail::put_back(Some(detail(&json)?), attempt);
    Ok(Some(Logged { event_id, kind: None, replay_id, attempt }))
}

/// The same with what each event that is kept tells.
async fn with_kinds(link: &Link, mut items: Vec<(Partition, Logged)>) -> Result<Vec<Logged>> {
    let events: BTreeSet<_> = items.iter().map(|(partition, logged)| (*partition, logged.event_id.clone())).collect();
    let mut pipe = Pipeline::new();
    for (partition, id) in &events {
        pipe.add_command(get(partition.event(id)));
    }
    let mut kinds: BTreeMap<_, EventType> = BTreeMap::new();
    for ((_, id), answer) in events.into_iter().zip(link.pipe(&pipe).await?) {
        let kept = read::<Option<Vec<u8>>>(answer?)?;
        kinds.extend(kept.and_then(|kept| Some((id, parse(&kept).ok()?.1.kind))));
    }
    for (_, logged) in &mut items {
        logged.kind = kinds.get(&logged.event_id).copied();
    }
    Ok(items.into_iter().map(|(_, logged)| logged).collect())
}

#[async_trait]
impl Attempts for RedisStore {
    async fn attempts(&self, endpoint: &EndpointId, page: &PageQuery) -> Result<LogPage> {
        attempts(&self.link, self.lifetimes.events, endpoint, page).await
    }
}
