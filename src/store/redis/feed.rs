//! The feed: a stream in each partition, read side by side and merged by the stamps of commits. And the consumers that have
//! a name, a hash in the first partition.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use redis::{Cmd, Pipeline};
use tokio::sync::watch;

use super::keys::{FeedPlace, PARTITIONS, Partition, all};
use super::link::{Call, Link, corrupt, missing, read};
use super::read::{is_erased, parse};
use super::rows::timestamp;
use super::{RedisStore, scripts};
use crate::domain::consumer::Consumer;
use crate::domain::feed::{Cursor, Place, REWIND_MICROS};
use crate::domain::plan::StoredEvent;
use crate::store::{FEED_PART_BYTES_MAX, FEED_PART_MAX, Feed, FeedEntry, FeedPart, Result, StoreError};

const CONSUMERS: &str = "consumers";
/// So many entries of a partition are read at once: half the part, so that one that has most of it is soon read.
const READ_MAX: usize = FEED_PART_MAX / 2;

/// What a partition answers: entries before, the stamp after which, how many were missed, whether the place was lost; then
/// ids and events.
struct Part {
    place: Place,
    missed: u64,
    is_lost: bool,
    /// Each by its stamp.
    entries: Vec<(u64, String)>,
}

impl Part {
    fn read(answer: &[String]) -> Option<Self> {
        let [entries, stamp, missed, is_lost, rest @ ..] = answer else { return None };
        let place = Place { entries: entries.parse().ok()?, stamp: stamp.parse().ok()? };
        let entry = |pair: &[String]| {
            let [id, event] = pair else { return None };
            Some((FeedPlace::parse(&format!("{id}-0"))?.stamp(), event.clone()))
        };
        let entries = rest.chunks(2).map(entry).collect::<Option<_>>()?;
        Some(Self { place, missed: missed.parse().ok()?, is_lost: is_lost == "1", entries })
    }
}

/// The place in each partition.
fn places(cursor: &Cursor) -> Result<&[Place]> {
    let places = cursor.places();
    if places.len() == usize::from(PARTITIONS) { Ok(places) } else { Err(StoreError::BadCursor) }
}

async fn parts(link: &Link, after: Option<&[Place]>, limit: usize) -> Result<Vec<Part>> {
    let call = |(number, partition): (usize, Partition)| {
        let mut call = Call::new(&scripts::FEED, partition, &["feed"]);
        match after.and_then(|places| places.get(number)) {
            Some(place) => call.num(place.entries).num(place.stamp),
            None => call.arg("").num(0),
        };
        call.num(REWIND_MICROS).num(limit);
        call
    };
    let answers = link.run_all::<Vec<String>>(all().enumerate().map(call).collect()).await?;
    let parts: Option<Vec<_>> = answers.iter().map(|answer| Part::read(answer)).collect();
    parts.ok_or_else(|| corrupt("a feed entry that cannot be read"))
}

/// What is kept under the ids of events, each with its partition.
async fn kept(link: &Link, entries: &[(u64, usize, String)]) -> Result<Vec<Option<Vec<u8>>>> {
    let mut pipe = Pipeline::new();
    let mut of_partition: Vec<Vec<usize>> = vec![Vec::new(); usize::from(PARTITIONS)];
    for (number, (_, partition, _)) in entries.iter().enumerate() {
        of_partition.get_mut(*partition).into_iter().for_each(|numbers| numbers.push(number));
    }
    of_partition.retain(|numbers| !numbers.is_empty());
    for numbers in &of_partition {
        let mut cmd = Cmd::new();
        cmd.arg("MGET");
        for (_, number, event) in numbers.iter().filter_map(|number| entries.get(*number)) {
            let partition = all().nth(*number).ok_or_else(missing)?;
            cmd.arg(partition.event(&event.as_str().into()));
        }
        pipe.add_command(cmd);
    }
    let mut kept = vec![None; entries.len()];
    for (numbers, answer) in of_partition.iter().zip(link.pipe(&pipe).await?) {
        for (number, value) in numbers.iter().zip(read::<Vec<Option<Vec<u8>>>>(answer?)?) {
            kept.get_mut(*number).into_iter().for_each(|slot| slot.clone_from(&value));
        }
    }
    Ok(kept)
}

/// What an entry of the feed leads to.
enum Found {
    Event(StoredEvent),
    Expired,
    None,
}

/// An event that expired and was new again later has another place.
fn found(stamp: u64, kept: Option<&[u8]>) -> Found {
    match kept {
        None => Found::Expired,
        Some(kept) if is_erased(kept) => Found::None,
        Some(kept) => match parse(kept) {
            Ok((made, event)) if made <= stamp => Found::Event(event),
            Ok(_) => Found::Expired,
            // It must not hide the others.
            Err(error) => {
                tracing::error!(stamp, %error, "an event is passed over by the feed");
                Found::None
            }
        },
    }
}

async fn feed(link: &Link, after: Option<&[Place]>, limit: usize) -> Result<FeedPart> {
    let limit = limit.clamp(1, READ_MAX);
    let parts = parts(link, after, limit).await?;
    let mut places: Vec<_> = parts.iter().map(|part| part.place).collect();
    let mut part = FeedPart {
        start: Cursor::new(places.clone()),
        missed: parts.iter().map(|part| part.missed).sum(),
        is_rewound: parts.iter().any(|part| part.is_lost),
        ..FeedPart::default()
    };
    let is_more = parts.iter().any(|part| part.entries.len() == limit);
    let of_part = |(number, part): (usize, Part)| part.entries.into_iter().map(move |(at, event)| (at, number, event));
    let mut entries: Vec<_> = parts.into_iter().enumerate().flat_map(of_part).collect();
    entries.sort_unstable();
    let all = entries.len();
    entries.truncate(limit);
    let (mut bytes, mut looked_at) = (0, 0);
    for ((stamp, partition, _), kept) in entries.iter().zip(kept(link, &entries).await?) {
        if bytes >= FEED_PART_BYTES_MAX {
            break;
        }
        looked_at += 1;
        bytes += kept.as_ref().map_or(0, Vec::len);
        let Some(place) = places.get_mut(*partition) else { continue };
        *place = Place { entries: place.entries + 1, stamp: *stamp };
        match found(*stamp, kept.as_deref()) {
            Found::Event(event) => part.entries.push(FeedEntry { partition: *partition, place: *place, event }),
            Found::Expired => part.missed += 1,
            Found::None => {}
        }
    }
    part.has_more = is_more || looked_at < all;
    part.cursor = Cursor::new(places);
    Ok(part)
}

fn consumer(kept: &[u8]) -> Result<Consumer> {
    let json = kept.iter().position(|byte| *byte == b'|').and_then(|at| kept.get(at + 1..));
    json.and_then(|json| serde_json::from_slice(json).ok()).ok_or_else(|| corrupt("a consumer that cannot be read"))
}

#[async_trait]
impl Feed for RedisStore {
    async fn feed(&self, after: Option<&Cursor>, limit: usize) -> Result<FeedPart> {
        feed(&self.link, after.map(places).transpose()?, limit).await
    }

    async fn feed_end(&self) -> Result<Cursor> {
        let parts = parts(&self.link, None, 0).await?;
        Ok(Cursor::new(parts.into_iter().map(|part| part.place).collect()))
    }

    fn feed_grown(&self) -> watch::Receiver<()> {
        self.fed.subscribe()
    }

    async fn consumer(&self, name: &str) -> Result<(Option<Consumer>, Timestamp)> {
        let mut pipe = Pipeline::new();
        pipe.cmd("HGET").arg(Partition::FIRST.key(CONSUMERS)).arg(name).cmd("TIME");
        let mut answers = self.link.pipe_to(Partition::FIRST, &pipe).await?.into_iter();
        let mut next = || answers.next().ok_or_else(missing)?;
        let kept = read::<Option<Vec<u8>>>(next()?)?;
        let (seconds, micros): (u64, u64) = read(next()?)?;
        let now = timestamp(&(seconds * 1_000_000 + micros).to_string()).ok_or_else(|| corrupt("a time"))?;
        Ok((kept.map(|kept| consumer(&kept)).transpose()?, now))
    }

    async fn put_consumer(&self, consumer: &Consumer) -> Result<bool> {
        self.link.check().await?;
        let json = serde_json::to_vec(consumer).map_err(|_| corrupt("a consumer that cannot be written"))?;
        let mut call = Call::new(&scripts::CONSUMER, Partition::FIRST, &[CONSUMERS]);
        call.arg(&consumer.name).num(consumer.version).arg(json);
        self.link.run_one(call).await
    }

    async fn remove_consumer(&self, name: &str) -> Result<bool> {
        let mut cmd = Cmd::new();
        cmd.arg("HDEL").arg(Partition::FIRST.key(CONSUMERS)).arg(name);
        self.link.send(cmd).await
    }

    async fn consumers(&self) -> Result<Vec<Consumer>> {
        let mut cmd = Cmd::new();
        cmd.arg("HVALS").arg(Partition::FIRST.key(CONSUMERS));
        let kept: Vec<Vec<u8>> = self.link.send(cmd).await?;
        let consumers: Result<BTreeMap<_, _>> =
            kept.iter().map(|kept| consumer(kept).map(|one| (one.name.clone(), one))).collect();
        Ok(consumers?.into_values().collect())
    }
}
