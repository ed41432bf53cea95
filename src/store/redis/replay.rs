//! Deliveries that are made anew, and the jobs that make many.

use std::collections::BTreeMap;

use async_trait::async_trait;
use redis::streams::StreamRangeReply;
use redis::{Cmd, Pipeline};

use super::gather::{Shape, run_gathered};
use super::keys::{FeedPlace, Partition, all};
use super::link::{Call, Link, corrupt, read};
use super::read::{get, is_erased, parse};
use super::rows::seconds;
use super::{RedisStore, scripts};
use crate::domain::delivery::{EndReason, Status};
use crate::domain::id::{EndpointId, ReplayId};
use crate::domain::job::Job;
use crate::domain::replay::{Found, REPLAYS_OF_EVENT_MAX, Replay};
use crate::store::replays::passing_over;
use crate::store::{Page, PageQuery, Replayed, Replays, Result, ScanFrom, Scanned, StoreError};

/// How many jobs made in one microsecond a page may pass over.
const TIES_MAX: usize = 10;

/// How many rows one counts as in a call: what is live is not to wait for long ones.
const ROWS: usize = 5;

#[async_trait]
impl Replays for RedisStore {
    async fn replay(&self, replays: Vec<Replay>) -> Result<Vec<Replayed>> {
        let shape = Shape { partition: |one: &Replay| Partition::of_mail(one.mail), rows: |_: &Replay| ROWS };
        let link = self.link.kept();
        let answers = run_gathered(&link, &replays, &shape, |partition, replays| {
            let mut call = Call::new(&scripts::REPLAY, partition, &["lanes", "st:replays", "announce"]);
            call.num(REPLAYS_OF_EVENT_MAX).num(replays.len());
            for one in replays {
                call.arg(one.event_id.as_str()).arg(one.mail.to_string());
                call.arg(one.endpoint.as_str()).arg(one.replay.as_str());
            }
            call
        });
        let replayed = answers.await.into_iter().map(|answer| replayed(answer?)).collect();
        self.work.notify_one();
        replayed
    }

    async fn pending_of(&self, replay: &ReplayId) -> Result<usize> {
        let mut pipe = Pipeline::new();
        for partition in all() {
            pipe.add_command(command("ZCARD", &partition.key(&format!("rp:{replay}"))));
        }
        self.link.pipe(&pipe).await?.into_iter().map(|answer| read::<usize>(answer?)).sum()
    }

    async fn cancel(&self, replay: &ReplayId, limit: usize) -> Result<usize> {
        let mut calls = Vec::new();
        for partition in all() {
            let keys = [&format!("rp:{replay}"), "st:replays", "st:canceled", "announce"];
            let mut call = Call::new(&scripts::CANCEL, partition, &keys);
            call.num(seconds(self.lifetimes.events)).arg(replay.as_str()).arg(EndReason::ReplayCanceled.as_str());
            call.num(limit.div_ceil(all().count()));
            calls.push(call);
        }
        let ended = self.link.kept().run_all::<usize>(calls).await?.into_iter().sum();
        self.work.notify_one();
        Ok(ended)
    }

    async fn deliveries_to(&self, endpoint: &EndpointId, from: &ScanFrom, limit: usize) -> Result<Scanned> {
        scan(&self.link, endpoint, from, limit).await
    }

    async fn keep_job(&self, job: &Job) -> Result<bool> {
        let json = serde_json::to_vec(job).map_err(|_| corrupt("a job that cannot be written"))?;
        let keys = [&format!("j:{}", job.id), "jobs", "jobs:active"];
        let mut call = Call::new(&scripts::JOB, Partition::FIRST, &keys);
        call.num(seconds(self.lifetimes.events)).arg(job.id.as_str()).num(job.version);
        call.num(job.created_at.as_microsecond()).num(u8::from(job.state.is_active())).arg(json);
        Ok(self.link.kept().run_one::<i64>(call).await? == 1)
    }

    async fn job(&self, id: &ReplayId) -> Result<Option<Job>> {
        rows(&self.link, &[id.to_string()]).await?.pop().transpose().map(Option::flatten)
    }

    async fn jobs(&self, page: &PageQuery) -> Result<Page<Job>> {
        let from = page.cursor.as_deref().map(|cursor| place(cursor).ok_or(StoreError::BadCursor)).transpose()?;
        let mut cmd = command("ZREVRANGEBYSCORE", &Partition::FIRST.key("jobs"));
        cmd.arg(from.as_ref().map_or("+inf".into(), |(score, _)| score.to_string())).arg("-inf").arg("WITHSCORES");
        cmd.arg("LIMIT").arg(0).arg(page.limit + 1 + TIES_MAX);
        let found: Vec<(String, i64)> = self.link.send(cmd).await?;
        let mut found: Vec<_> = found.into_iter().map(|(id, score)| (score, id)).collect();
        found.retain(|place| from.as_ref().is_none_or(|from| place < from));
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let next = found.last().filter(|_| more).map(|(score, id)| format!("{score}-{id}"));
        let ids: Vec<_> = found.into_iter().map(|(_, id)| id).collect();
        Ok(Page { items: readable(&ids, rows(&self.link, &ids).await?)?, next })
    }

    async fn active_jobs(&self) -> Result<Vec<Job>> {
        let active = Partition::FIRST.key("jobs:active");
        let ids: Vec<String> = self.link.send(command("SMEMBERS", &active)).await?;
        let jobs = rows(&self.link, &ids).await?;
        let mut forget = command("SREM", &active);
        let is_expired = |job: &Result<Option<Job>>| matches!(job, Ok(None));
        let expired: Vec<_> = ids.iter().zip(&jobs).filter(|(_, job)| is_expired(job)).map(|(id, _)| id).collect();
        if !expired.is_empty() {
            forget.arg(expired);
            self.link.send::<i64>(forget).await?;
        }
        readable(&ids, jobs)
    }
}

/// Those that are there and can be read.
fn readable(ids: &[String], jobs: Vec<Result<Option<Job>>>) -> Result<Vec<Job>> {
    ids.iter().zip(jobs).filter_map(|(id, job)| passing_over(id, job).transpose()).collect()
}

fn command(name: &str, key: &str) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg(name).arg(key);
    cmd
}

fn replayed(answer: i64) -> Result<Replayed> {
    Ok(match answer {
        1 => Replayed::Made,
        2 => Replayed::Known,
        3 => Replayed::Gone,
        4 => Replayed::Full,
        5 => Replayed::Canceled,
        _ => return Err(corrupt("an answer of another shape")),
    })
}

/// When a job was made, and its id.
fn place(cursor: &str) -> Option<(i64, String)> {
    let (score, id) = cursor.split_once('-')?;
    ReplayId::from(id).bits()?;
    Some((score.parse().ok()?, id.to_owned()))
}

async fn rows(link: &Link, ids: &[String]) -> Result<Vec<Result<Option<Job>>>> {
    let mut pipe = Pipeline::new();
    for id in ids {
        pipe.add_command(get(Partition::FIRST.key(&format!("j:{id}"))));
    }
    let unreadable = || corrupt("a job that cannot be read");
    let job = |answer: Result<redis::Value>| {
        let Some(row) = read::<Option<String>>(answer?)? else { return Ok(None) };
        let (_, json) = row.split_once('|').ok_or_else(unreadable)?;
        serde_json::from_str(json).map(Some).map_err(|_| unreadable())
    };
    Ok(link.pipe(&pipe).await?.into_iter().map(job).collect())
}

/// Where each partition's feed was read until; none where it has yet to be.
type Places = BTreeMap<Partition, FeedPlace>;

fn read_places(cursor: &str) -> Option<Places> {
    cursor.split(',').map(|text| FeedPlace::parse(text).map(|place| (place.partition, place))).collect()
}

fn write_places(places: &Places) -> String {
    places.values().map(|place| place.cursor()).collect::<Vec<_>>().join(",")
}

async fn scan(link: &Link, endpoint: &EndpointId, from: &ScanFrom, limit: usize) -> Result<Scanned> {
    let mut places = Places::new();
    match from {
        // Whatever comes after these, in each partition.
        ScanFrom::Time(time) => {
            let ms = u64::try_from(time.as_millisecond()).unwrap_or_default().saturating_sub(1);
            places.extend(all().map(|partition| (partition, FeedPlace { ms, sequence: u64::MAX, partition })));
        }
        ScanFrom::Cursor(cursor) => places = read_places(cursor).ok_or(StoreError::BadCursor)?,
    }
    let mut pipe = Pipeline::new();
    for partition in all() {
        pipe.add_command(get(partition.key("reprocessed")));
    }
    let reprocessed = link.pipe(&pipe).await?.into_iter().map(|answer| read::<Option<u64>>(answer?));
    let reprocessed = reprocessed.collect::<Result<Vec<_>>>()?.into_iter().flatten().max();
    let mut pipe = Pipeline::new();
    for (partition, place) in &places {
        let mut range = command("XRANGE", &partition.key("feed"));
        range.arg(format!("({}-{}", place.ms, place.sequence)).arg("+").arg("COUNT").arg(limit + 1);
        pipe.add_command(range);
    }
    let mut entries = Vec::new();
    for (partition, answer) in places.keys().zip(link.pipe(&pipe).await?) {
        for entry in read::<StreamRangeReply>(answer?)?.ids {
            let place = FeedPlace::parse(&format!("{}-{}", entry.id, partition.0));
            let place = place.ok_or_else(|| corrupt("a feed entry that cannot be read"))?;
            // One without an event leads to none.
            entries.push((place, entry.get::<String>("id").unwrap_or_default()));
        }
    }
    entries.sort();
    let more = entries.len() > limit;
    entries.truncate(limit);
    places.extend(entries.iter().map(|(place, _)| (place.partition, *place)));
    let mut scanned = found(link, endpoint, &entries).await?;
    scanned.next = more.then(|| write_places(&places));
    let is_before = |(place, _): &(FeedPlace, String)| reprocessed > Some(place.ms * 1_000 + place.sequence);
    if entries.last().is_some_and(is_before) {
        scanned.last = None;
    }
    Ok(scanned)
}

/// The deliveries to this endpoint of these events.
async fn found(link: &Link, endpoint: &EndpointId, entries: &[(FeedPlace, String)]) -> Result<Scanned> {
    let (mut events, mut rows) = (Pipeline::new(), Pipeline::new());
    for (place, id) in entries {
        events.add_command(get(place.partition.event(&id.as_str().into())));
    }
    let mut scanned = Scanned::default();
    for ((place, id), answer) in entries.iter().zip(link.pipe(&events).await?) {
        let kept = read::<Option<Vec<u8>>>(answer?)?.filter(|kept| !is_erased(kept));
        let Some(kept) = kept else { continue };
        let event = match parse(&kept) {
            Ok((_, event)) => event,
            Err(error) => {
                tracing::error!(event.id = id, %error, "an event is passed over by a replay");
                continue;
            }
        };
        scanned.last = Some(event.received_at);
        // One that is operational is not in the feed.
        let kind = event.kind.in_feed(event.mail);
        let Some(kind) = kind.filter(|_| event.endpoints.contains(endpoint)) else { continue };
        let mut row = command("HGET", &place.partition.key(&format!("d:{id}")));
        row.arg(endpoint.as_str());
        rows.add_command(row);
        let (mail, received_at) = (event.mail, event.received_at);
        scanned.found.push(Found { event_id: event.id, mail, kind, received_at, status: Status::Pending });
    }
    let mut unreadable = Vec::new();
    for (place, (found, answer)) in scanned.found.iter_mut().zip(link.pipe(&rows).await?).enumerate() {
        // One that has no such row has not ended.
        let Some(row) = read::<Option<String>>(answer?)? else { continue };
        match row.split('|').next().and_then(Status::by_name) {
            Some(status) => found.status = status,
            None => {
                tracing::error!(event.id = %found.event_id, %endpoint, "a delivery is passed over by a replay");
                unreadable.push(place);
            }
        }
    }
    for place in unreadable.into_iter().rev() {
        scanned.found.remove(place);
    }
    Ok(scanned)
}
