//! Searches: by the index of words, or by a look at all events of a span. Each part reads the same of each partition, and
//! merges what it finds by the stamps of commits.

use std::ops::Range;

use async_trait::async_trait;
use redis::streams::StreamRangeReply;
use redis::{Cmd, Pipeline};

use super::RedisStore;
use super::keys::{FeedPlace, Partition, STAMP_LEN, all, stamp};
use super::link::{Link, corrupt, read};
use super::read::{get, is_erased, parse};
use super::rows::timestamp;
use crate::domain::plan::StoredEvent;
use crate::domain::search::{MailId, Search, Word, WordHash, is_of_mail};
use crate::store::{LOOKED_AT_BYTES_MAX, LOOKED_AT_MAX, Page, PageQuery, Result, Searched, Searches, StoreError};

/// So many places are read at once, and so many events.
const PART_LEN: usize = 100;
/// Stamps are below this, which has a digit more.
const STAMPS_END: u64 = 10_u64.pow(STAMP_LEN as u32);
/// How much of a word's hash, in hex, leads to the key that it is kept under: enough for keys to stay short, and few
/// enough for most to have several members.
const BUCKET_LEN: usize = 4;
/// How many such keys a partition has at most.
pub(super) const BUCKETS: u32 = 1 << (4 * BUCKET_LEN);

/// The key of these words.
pub(super) fn bucket(partition: Partition, number: u32) -> String {
    partition.key(&format!("w:{number:0BUCKET_LEN$x}"))
}

/// Which events are looked at, and in which order.
struct Look<'a> {
    link: &'a Link,
    /// Those that any of these lead to; of none, all.
    words: Vec<WordHash>,
    /// Committed within this, by partition.
    spans: Vec<(Partition, Range<u64>)>,
    is_back: bool,
}

/// What a look found.
struct Looked {
    items: Vec<StoredEvent>,
    /// The last event looked at, if there may be more.
    last: Option<FeedPlace>,
}

/// An event by its place, and its id and type as the feed tells them.
type Entry = (FeedPlace, Option<(String, String)>);

impl Look<'_> {
    /// Leaves out what is not beyond this place.
    fn go_on(&mut self, from: FeedPlace) {
        for (partition, span) in &mut self.spans {
            let stamp = from.stamp();
            if self.is_back {
                span.end = span.end.min(if *partition < from.partition { stamp.saturating_add(1) } else { stamp });
            } else {
                span.start = span.start.max(if *partition > from.partition { stamp } else { stamp.saturating_add(1) });
            }
        }
    }

    /// The next events, and whether there are more.
    async fn part(&self) -> Result<(Vec<Entry>, bool)> {
        let mut entries = if self.words.is_empty() { self.fed().await? } else { self.indexed().await? };
        entries.sort_unstable();
        entries.dedup_by_key(|(place, _)| *place);
        if self.is_back {
            entries.reverse();
        }
        let more = entries.len() > PART_LEN;
        entries.truncate(PART_LEN);
        if !self.words.is_empty() {
            self.name(&mut entries).await?;
        }
        Ok((entries, more))
    }

    /// Those of the feeds.
    async fn fed(&self) -> Result<Vec<Entry>> {
        let mut pipe = Pipeline::new();
        for (partition, span) in &self.spans {
            let [first, last] = [span.start, span.end.saturating_sub(1)].map(feed_id);
            let (name, [begin, end]) =
                if self.is_back { ("XREVRANGE", [last, first]) } else { ("XRANGE", [first, last]) };
            pipe.cmd(name).arg(partition.key("feed")).arg(begin).arg(end).arg("COUNT").arg(PART_LEN + 1);
        }
        let mut entries = Vec::new();
        for ((partition, span), answer) in self.spans.iter().zip(self.link.pipe(&pipe).await?) {
            let found = read::<StreamRangeReply>(answer?)?.ids;
            for entry in found.iter().filter(|_| !span.is_empty()) {
                let place = FeedPlace::parse(&format!("{}-{}", entry.id, partition.0));
                let place = place.ok_or_else(|| corrupt("a feed entry that cannot be read"))?;
                entries.push((place, entry.get("id").zip(entry.get("type"))));
            }
        }
        Ok(entries)
    }

    /// Those that the index leads to, not yet named.
    async fn indexed(&self) -> Result<Vec<Entry>> {
        let (mut pipe, mut partitions) = (Pipeline::new(), Vec::new());
        for (partition, span) in self.spans.iter().filter(|(_, span)| !span.is_empty()) {
            for word in &self.words {
                pipe.add_command(members(*partition, *word, span, self.is_back));
                partitions.push(*partition);
            }
        }
        let mut entries = Vec::new();
        for (partition, answer) in partitions.into_iter().zip(self.link.pipe(&pipe).await?) {
            for member in read::<Vec<String>>(answer?)? {
                let stamp = member_stamp(&member).ok_or_else(|| corrupt("a place of a word"))?;
                entries.push((FeedPlace::of(stamp, partition), None));
            }
        }
        Ok(entries)
    }

    /// Asks the feeds for their ids and types.
    async fn name(&self, entries: &mut [Entry]) -> Result<()> {
        let mut pipe = Pipeline::new();
        for (place, _) in &*entries {
            let id = feed_id(place.stamp());
            pipe.cmd("XRANGE").arg(place.partition.key("feed")).arg(&id).arg(&id);
        }
        for ((_, named), answer) in entries.iter_mut().zip(self.link.pipe(&pipe).await?) {
            let entry = read::<StreamRangeReply>(answer?)?.ids.into_iter().next();
            *named = entry.and_then(|entry| entry.get("id").zip(entry.get("type")));
        }
        Ok(())
    }

    /// Looks at events until enough are found, or have been looked at. What is of another type is not read.
    async fn run(
        mut self,
        limit: usize,
        wants_type: impl Fn(&str) -> bool,
        wants: impl Fn(&StoredEvent) -> bool,
    ) -> Result<Looked> {
        let (mut items, mut looked_at, mut bytes) = (Vec::new(), 0, 0);
        loop {
            let (entries, more) = self.part().await?;
            let mut pipe = Pipeline::new();
            let is_read = |(_, named): &&Entry| named.as_ref().is_some_and(|(_, kind)| wants_type(kind));
            for (place, named) in entries.iter().filter(is_read) {
                let id = named.as_ref().map_or("", |(id, _)| id);
                pipe.add_command(get(place.partition.event(&id.into())));
            }
            let mut answers = self.link.pipe(&pipe).await?.into_iter();
            let len = entries.len();
            for (count, entry) in entries.iter().enumerate() {
                if is_read(&entry) {
                    let answer = answers.next().ok_or_else(super::link::missing)??;
                    let kept = read::<Option<Vec<u8>>>(answer)?.filter(|kept| !is_erased(kept));
                    let Some(kept) = kept else { continue };
                    bytes += kept.len();
                    items.extend(readable(entry, parse(&kept))?.filter(&wants));
                }
                if items.len() >= limit {
                    let is_last = !more && count + 1 == len;
                    return Ok(Looked { items, last: (!is_last).then_some(entry.0) });
                }
            }
            looked_at += len;
            let last = entries.last().map(|(place, _)| *place).filter(|_| more);
            let Some(last) = last else { return Ok(Looked { items, last: None }) };
            if looked_at >= LOOKED_AT_MAX || bytes >= LOOKED_AT_BYTES_MAX {
                return Ok(Looked { items, last: Some(last) });
            }
            self.go_on(last);
        }
    }
}

/// One that cannot be read is passed over, for it must not hide the others; so is one that expired there and was new again
/// later, which has a place of its own.
fn readable((place, _): &Entry, read: Result<(u64, StoredEvent)>) -> Result<Option<StoredEvent>> {
    match read {
        Ok((made, event)) => Ok((made <= place.stamp()).then_some(event)),
        Err(error @ StoreError::Corrupt(_)) => {
            tracing::error!(place = place.cursor(), %error, "an event is passed over by a search");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn feed_id(stamp: u64) -> String {
    format!("{}-{}", stamp / 1_000, stamp % 1_000)
}

/// Where this word leads within a span.
fn members(partition: Partition, word: WordHash, span: &Range<u64>, is_back: bool) -> Cmd {
    let hash = hex::encode(word);
    let (start, rest) = hash.split_at(BUCKET_LEN);
    let [first, last] = [span.start, span.end.min(STAMPS_END).saturating_sub(1)];
    let [first, last] = [first, last].map(|stamp| format!("[{rest}{stamp:0STAMP_LEN$}"));
    let mut cmd = Cmd::new();
    cmd.arg("ZRANGE").arg(partition.key(&format!("w:{start}")));
    if is_back {
        cmd.arg(last).arg(first).arg("BYLEX").arg("REV");
    } else {
        cmd.arg(first).arg(last).arg("BYLEX");
    }
    cmd.arg("LIMIT").arg(0).arg(PART_LEN + 1).clone()
}

/// The stamp that a member ends with.
pub(super) fn member_stamp(member: &str) -> Option<u64> {
    stamp(member.as_bytes().get(member.len().checked_sub(STAMP_LEN)?..)?)
}

fn place(page: &PageQuery) -> Result<Option<FeedPlace>> {
    page.cursor.as_deref().map(FeedPlace::from_cursor).transpose()
}

/// When the events were committed that can be asked for, in each partition.
async fn spans(link: &Link, search: &Search) -> Result<Vec<(Partition, Range<u64>)>> {
    let (since, until) = search.committed();
    let micros = |at: jiff::Timestamp| u64::try_from(at.as_microsecond()).unwrap_or_default();
    let start = since.map_or(0, micros);
    let Some(until) = until.map(micros) else {
        return Ok(all().map(|partition| (partition, start..STAMPS_END)).collect());
    };
    let mut pipe = Pipeline::new();
    for partition in all() {
        pipe.add_command(get(partition.key("reprocessed")));
    }
    let answers = all().zip(link.pipe(&pipe).await?).map(|(partition, answer)| {
        let reprocessed = read::<Option<u64>>(answer?)?;
        Ok((partition, start..until.max(reprocessed.map_or(0, |stamp| stamp + 1))))
    });
    answers.collect()
}

impl RedisStore {
    /// The hashes of words under the key that the store has now; none while it has no key, and so no word.
    async fn hashes(&self, words: impl Iterator<Item = Word>) -> Result<Option<Vec<WordHash>>> {
        let key = self.address_keys.current(&self.link).await?;
        Ok(key.map(|key| words.map(|word| word.hash(&key)).collect()))
    }
}

#[async_trait]
impl Searches for RedisStore {
    async fn search(&self, search: &Search, page: &PageQuery) -> Result<Searched> {
        let from = place(page)?;
        let words = match search.word() {
            None => Vec::new(),
            Some(word) => match self.hashes([word].into_iter()).await? {
                Some(words) => words,
                None => return Ok(Searched::default()),
            },
        };
        let spans = spans(&self.link, search).await?;
        let mut look = Look { link: &self.link, words, spans, is_back: true };
        from.into_iter().for_each(|from| look.go_on(from));
        let wants_type =
            |name: &str| waypost_providers::Kind::by_name(name).is_some_and(|kind| search.wants_kind(kind));
        let Looked { items, last } = look.run(page.limit, wants_type, |event| search.wants(event)).await?;
        let next = |last: FeedPlace| Some((last.cursor(), timestamp(&last.stamp().to_string())?));
        Ok(Searched { items, next: last.and_then(next) })
    }

    async fn events_of_mail(&self, ids: &[MailId], page: &PageQuery) -> Result<Page<StoredEvent>> {
        let from = place(page)?;
        let Some(words) = self.hashes(ids.iter().cloned().map(Word::Mail)).await? else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let spans = all().map(|partition| (partition, 0..STAMPS_END)).collect();
        let mut look = Look { link: &self.link, words, spans, is_back: false };
        from.into_iter().for_each(|from| look.go_on(from));
        let Looked { items, last } = look.run(page.limit, |_| true, |event| is_of_mail(event, ids)).await?;
        Ok(Page { items, next: last.map(FeedPlace::cursor) })
    }
}
