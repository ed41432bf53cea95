//! The feed: the events by their places, from one on. And the consumers that have a name, among what is kept of those who
//! use the API.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Embedded;
use super::batch::decide;
use super::core::{LAST, last};
use super::range::Span;
use super::read::View;
use super::rows::{EventRow, decode, number};
use super::spaces::Space;
use super::txn::Txn;
use crate::domain::consumer::Consumer;
use crate::domain::feed::{Cursor, Place, REWIND_MICROS};
use crate::domain::plan::StoredEvent;
use crate::store::{FEED_PART_BYTES_MAX, FEED_PART_MAX, Feed, FeedEntry, FeedPart, Result, StoreError};

/// What the keys of consumers lead with.
const CONSUMER: u8 = b'f';

fn key(name: &str) -> Vec<u8> {
    [&[CONSUMER], name.as_bytes()].concat()
}

/// The place in the one partition there is.
fn place(cursor: &Cursor) -> Result<Place> {
    match cursor.places() {
        [place] => Ok(*place),
        _ => Err(StoreError::BadCursor),
    }
}

/// What is read of one row.
enum Entry {
    Event(StoredEvent),
    /// It has expired, and is yet to be removed.
    Expired,
    /// It is not in the feed, or cannot be read, or was erased.
    None,
}

impl View<'_> {
    fn feed(&self, after: Option<Place>, limit: usize) -> Result<FeedPart> {
        // First: all until there is seen below.
        let end = last(self.get(Space::Meta, LAST)?)?.event;
        let (mut place, is_rewound) = match after {
            Some(place) if self.is_known(place, end)? => (place, false),
            Some(place) => {
                let stamp = place.stamp.saturating_sub(REWIND_MICROS);
                (self.before(self.first_committed(stamp)?, end)?, true)
            }
            None => (self.before(1, end)?, false),
        };
        let mut part = FeedPart { start: Cursor::new(vec![place]), is_rewound, ..FeedPart::default() };
        let mut bytes = 0;
        for (count, row) in self.events_from(place.entries.saturating_add(1)).enumerate() {
            if part.entries.len() >= limit || count >= FEED_PART_MAX || bytes >= FEED_PART_BYTES_MAX {
                part.has_more = true;
                break;
            }
            let (seq, row) = row?;
            let seq = number(&seq)?.0;
            bytes += row.len();
            part.missed += seq - place.entries - 1;
            place.entries = seq;
            let Ok(read) = EventRow::read(&row) else { continue };
            place.stamp = read.committed;
            match self.entry(seq, &read)? {
                Entry::Event(event) => part.entries.push(FeedEntry { partition: 0, place, event }),
                Entry::Expired => part.missed += 1,
                Entry::None => {}
            }
        }
        if !part.has_more && end > place.entries {
            part.missed += end - place.entries;
            place.entries = end;
        }
        part.cursor = Cursor::new(vec![place]);
        Ok(part)
    }

    fn entry(&self, seq: u64, row: &EventRow<'_>) -> Result<Entry> {
        if row.is_erased() {
            return Ok(Entry::None);
        }
        let event: StoredEvent = match decode(row.json) {
            Ok(event) => event,
            // It must not hide the others.
            Err(error) => {
                tracing::error!(seq, %error, "an event is passed over by the feed");
                return Ok(Entry::None);
            }
        };
        Ok(match event.kind.in_feed(event.mail) {
            None => Entry::None,
            Some(_) if row.expires <= self.now() => Entry::Expired,
            Some(_) => Entry::Event(event),
        })
    }

    /// Whether the store has had the entry that ends there, if it is not one that has gone.
    fn is_known(&self, place: Place, end: u64) -> Result<bool> {
        let row = self.get(Space::Events, &place.entries.to_be_bytes())?;
        let is_it = |row: &[u8]| EventRow::read(row).map_or(true, |row| row.committed == place.stamp);
        Ok(place.entries <= end && row.is_none_or(|row| is_it(&row)))
    }

    /// The place before the first event that is still there from this one on.
    fn before(&self, seq: u64, end: u64) -> Result<Place> {
        let first = self.events_from(seq).next().transpose()?;
        let first = first.map_or(Ok(end + 1), |(seq, _)| number(&seq).map(|(seq, _)| seq))?;
        self.place_at(first - 1)
    }

    /// The place after so many entries.
    fn place_at(&self, entries: u64) -> Result<Place> {
        let row = self.get(Space::Events, &entries.to_be_bytes())?;
        let stamp = row.map_or(Ok(0), |row| EventRow::read(&row).map(|row| row.committed))?;
        Ok(Place { entries, stamp })
    }

    fn feed_end(&self) -> Result<Cursor> {
        let end = last(self.get(Space::Meta, LAST)?)?.event;
        Ok(Cursor::new(vec![self.place_at(end)?]))
    }

    fn consumer(&self, name: &str) -> Result<Option<Consumer>> {
        self.get(Space::Access, &key(name))?.map(|row| decode(&row)).transpose()
    }

    fn consumers(&self) -> Result<Vec<Consumer>> {
        let rows = self.range(&Span::from(Space::Access, [CONSUMER]).to([CONSUMER + 1]));
        rows.map(|row| decode(&row?.1)).collect()
    }
}

fn put_consumer(txn: &mut Txn<'_>, consumer: &Consumer) -> Result<bool> {
    let key = key(&consumer.name);
    let known: Option<Consumer> = txn.get_json(Space::Access, &key)?;
    if known.map_or(0, |known| known.version) + 1 != consumer.version {
        return Ok(false);
    }
    txn.synced = true;
    txn.put_json(Space::Access, &key, consumer)?;
    Ok(true)
}

fn remove_consumer(txn: &mut Txn<'_>, name: &str) -> Result<bool> {
    let key = key(name);
    let is_there = txn.get(Space::Access, &key)?.is_some();
    if is_there {
        txn.synced = true;
        txn.remove(Space::Access, &key);
    }
    Ok(is_there)
}

#[async_trait]
impl Feed for Embedded {
    async fn feed(&self, after: Option<&Cursor>, limit: usize) -> Result<FeedPart> {
        let after = after.map(place).transpose()?;
        self.read(move |view| view.feed(after, limit)).await
    }

    async fn feed_end(&self) -> Result<Cursor> {
        self.read(|view| view.feed_end()).await
    }

    fn feed_grown(&self) -> watch::Receiver<()> {
        self.shared.fed.subscribe()
    }

    async fn consumer(&self, name: &str) -> Result<(Option<Consumer>, Timestamp)> {
        let name = name.to_owned();
        Ok((self.read(move |view| view.consumer(&name)).await?, self.clock.now()))
    }

    async fn put_consumer(&self, consumer: &Consumer) -> Result<bool> {
        let consumer = consumer.clone();
        self.ask(|answer| decide(answer, move |_, txn, _| put_consumer(txn, &consumer))).await
    }

    async fn remove_consumer(&self, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.ask(|answer| decide(answer, move |_, txn, _| remove_consumer(txn, &name))).await
    }

    async fn consumers(&self) -> Result<Vec<Consumer>> {
        self.read(|view| view.consumers()).await
    }
}
