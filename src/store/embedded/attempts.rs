//! The log of attempts: what the rows of deliveries do not hold of them, by endpoint and time; and how many bytes of each
//! endpoint there are, so that the oldest go where there are too many.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::Embedded;
use super::core::Core;
use super::delivery::{Made, Row};
use super::range::Span;
use super::read::{View, collect, cursor, readable};
use super::rows::{EventRow, Id, Key, after, corrupt, decode, number, pack, timestamp, unpack};
use super::spaces::{Space, Spaces};
use super::txn::Txn;
use crate::domain::attempt_log::{Detail, Logged};
use crate::domain::delivery::Attempt;
use crate::domain::event_type::EventType;
use crate::domain::id::{EndpointId, EventId, ReplayId, hash64};
use crate::store::{Attempts, KeptAnswer, LogPage, PageQuery, Result};

/// What the log has of an attempt.
#[derive(Serialize, Deserialize)]
struct Entry {
    event: Id,
    replay: Option<Id>,
    sent: String,
    answer: Option<String>,
}

const PLACE_LEN: usize = 8 + Key::LEN + 4;
const LANE_LEN: usize = 8;
/// A place in the log of an endpoint: when it was recorded, the key of its delivery, its number.
type Place = [u8; PLACE_LEN];

fn place(made: &Made, key: Key) -> Place {
    let mut place = [0; PLACE_LEN];
    place[..8].copy_from_slice(&made.logged_at.to_be_bytes());
    place[8..8 + Key::LEN].copy_from_slice(&key.bytes());
    place[8 + Key::LEN..].copy_from_slice(&made.number.to_be_bytes());
    place
}

/// What the places of an endpoint are led by.
fn lane(endpoint: &EndpointId) -> [u8; LANE_LEN] {
    hash64(&[endpoint.as_str().as_bytes()]).to_be_bytes()
}

fn row_key(lane: [u8; LANE_LEN], place: &Place) -> [u8; LANE_LEN + PLACE_LEN] {
    let mut key = [0; LANE_LEN + PLACE_LEN];
    key[..LANE_LEN].copy_from_slice(&lane);
    key[LANE_LEN..].copy_from_slice(place);
    key
}

/// How much the log of an endpoint holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Size {
    bytes: u64,
    /// The last place that was taken out because there was too much.
    cut: Option<Place>,
}

impl Size {
    fn cut_at(&self) -> Option<u64> {
        self.cut.and_then(|place| Some(number(&place).ok()?.0))
    }
}

/// How much each log holds.
#[derive(Default)]
pub(super) struct Logs {
    sizes: FxHashMap<EndpointId, Size>,
    /// Those to be written.
    changed: BTreeSet<EndpointId>,
}

impl Logs {
    pub(super) fn read(spaces: &Spaces) -> Result<Self> {
        let read = |row: Result<(fjall::Slice, fjall::Slice)>| {
            let (id, size) = row?;
            Ok((String::from_utf8_lossy(&id).as_ref().into(), unpack(&size)?))
        };
        let sizes = spaces.range(&Span::from(Space::LogSizes, [])).map(read).collect::<Result<_>>()?;
        Ok(Self { sizes, changed: BTreeSet::new() })
    }

    fn change(&mut self, endpoint: &EndpointId, change: impl FnOnce(&mut Size)) {
        change(self.sizes.entry(endpoint.clone()).or_default());
        if !self.changed.contains(endpoint) {
            self.changed.insert(endpoint.clone());
        }
    }

    /// Writes what has changed; there is nothing of an endpoint whose log is empty.
    pub(super) fn write(&mut self, txn: &mut Txn<'_>) -> Result<()> {
        for endpoint in std::mem::take(&mut self.changed) {
            let size = self.sizes.get(&endpoint).copied().unwrap_or_default();
            if size == Size::default() {
                self.sizes.remove(&endpoint);
                txn.remove(Space::LogSizes, endpoint.as_str().as_bytes());
            } else {
                txn.put_packed(Space::LogSizes, endpoint.as_str().as_bytes(), &size)?;
            }
        }
        Ok(())
    }

    /// Takes the oldest out of logs that hold more than so many bytes. Whether that was all, before the batch had so many
    /// rows.
    pub(super) fn cut(&mut self, txn: &mut Txn<'_>, bytes_max: u64, rows_max: usize) -> Result<bool> {
        let over = self.sizes.iter().filter(|(_, size)| size.bytes > bytes_max);
        for endpoint in over.map(|(endpoint, _)| endpoint.clone()).collect::<Vec<_>>() {
            let (lane, mut size) = (lane(&endpoint), self.sizes.get(&endpoint).copied().unwrap_or_default());
            // After the last that was taken out, for the engine would walk over all that were.
            let start = size.cut.map_or(lane.to_vec(), |place| [&lane[..], &place, &[0]].concat());
            let end = [&lane[..], &[u8::MAX; PLACE_LEN + 1]].concat();
            let mut rows = txn.spaces.range(&Span::from(Space::AttemptLog, start).to(end));
            while size.bytes > bytes_max && txn.len() < rows_max {
                let Some(row) = rows.next() else {
                    size.bytes = 0;
                    break;
                };
                let (key, entry) = row?;
                txn.remove(Space::AttemptLog, &key);
                size.bytes = size.bytes.saturating_sub((key.len() + entry.len()) as u64);
                size.cut = key.get(LANE_LEN..).and_then(|place| place.try_into().ok());
            }
            self.change(&endpoint, |known| *known = size);
            if size.bytes > bytes_max {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets that something was taken out which would have gone by now.
    pub(super) fn forget_cuts(&mut self, before: u64) {
        let is_over = |size: &Size| size.cut_at().is_some_and(|at| at < before);
        let over: Vec<_> = self.sizes.iter().filter(|(_, size)| is_over(size)).map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|endpoint| self.change(endpoint, |size| size.cut = None));
    }
}

impl Core {
    /// Puts an attempt into the log of its endpoint. Answers what the delivery's own row has of it.
    pub(super) fn log(
        &mut self,
        txn: &mut Txn<'_>,
        (key, event, replay): (Key, Id, Option<Id>),
        endpoint: &EndpointId,
        mut attempt: Attempt,
        now: u64,
    ) -> Result<Made> {
        let Detail { sent, answer } = Detail::take(&mut attempt);
        let entry = pack(&Entry { event, replay, sent, answer })?;
        let len = LANE_LEN + PLACE_LEN + entry.len();
        let made = Made::new(&attempt, now, u32::try_from(len).unwrap_or(u32::MAX));
        txn.add(Space::AttemptLog, &row_key(lane(endpoint), &place(&made, key)), entry);
        self.logs.change(endpoint, |size| size.bytes = size.bytes.saturating_add(len as u64));
        Ok(made)
    }

    /// Takes the attempts of a delivery that goes out of the log.
    pub(super) fn unlog(&mut self, txn: &mut Txn<'_>, endpoint: &EndpointId, key: Key, attempts: &[Made]) {
        let lane = lane(endpoint);
        for made in attempts {
            let place = place(made, key);
            let cut = self.logs.sizes.get(endpoint).and_then(|size| size.cut);
            if cut.is_none_or(|cut| place > cut) {
                txn.remove(Space::AttemptLog, &row_key(lane, &place));
                self.logs.change(endpoint, |size| size.bytes = size.bytes.saturating_sub(made.logged_len.into()));
            }
        }
    }

    /// Takes all attempts of a delivery that stays out of the log.
    pub(super) fn forget_answers(&mut self, txn: &mut Txn<'_>, endpoint: &EndpointId, key: Key, attempts: &mut [Made]) {
        self.unlog(txn, endpoint, key, attempts);
        // When the delivery goes, they are not taken out again.
        attempts.iter_mut().for_each(|made| made.logged_len = 0);
    }

    /// Takes the attempt with this key out of the log.
    pub(super) fn forget_answer(&mut self, txn: &mut Txn<'_>, row_key: &[u8]) -> Result<()> {
        let (logged_at, rest) = number(row_key.get(LANE_LEN..).unwrap_or_default())?;
        let (key, tail) = rest.split_at_checked(Key::LEN).ok_or_else(|| corrupt("a place in the log of attempts"))?;
        let key = Key::read(key)?;
        txn.synced = true;
        let row = txn.get(Space::Deliveries, &key.bytes())?;
        let Some(mut row) = row.and_then(|row| unpack::<Row>(&row).ok()) else {
            txn.remove(Space::AttemptLog, row_key);
            return Ok(());
        };
        let (endpoint, attempts) = match &mut row {
            Row::Ended(ended) => (Some(ended.endpoint.clone()), &mut ended.attempts),
            Row::Pending(progress) => {
                let item = self.index.get(key);
                (item.map(|item| self.index.endpoint(item.lane).clone()), &mut progress.attempts)
            }
        };
        let is_it = |made: &&mut Made| made.logged_at == logged_at && made.number.to_be_bytes() == *tail;
        match (endpoint, attempts.iter_mut().find(is_it)) {
            (Some(endpoint), Some(made)) => {
                self.forget_answers(txn, &endpoint, key, std::slice::from_mut(made));
                txn.put_packed(Space::Deliveries, &key.bytes(), &row)
            }
            _ => {
                txn.remove(Space::AttemptLog, row_key);
                Ok(())
            }
        }
    }
}

/// What the log has under a key.
pub(super) fn kept_answer(key: &[u8], entry: &[u8]) -> Result<KeptAnswer> {
    let at = timestamp(number(key.get(LANE_LEN..).unwrap_or_default())?.0);
    let Entry { sent, answer, .. } = unpack(entry)?;
    Ok(KeptAnswer { place: hex::encode(key), at, detail: Detail { sent, answer } })
}

impl View<'_> {
    pub(super) fn log_page(
        &self,
        endpoint: &EndpointId,
        page: &PageQuery,
        lifetime: std::time::Duration,
    ) -> Result<LogPage> {
        let (lane, end) = (lane(endpoint), cursor(page, PLACE_LEN)?);
        let rows = self.back_from(Space::AttemptLog, &lane, &end).map(|row| {
            let (key, entry) = row?;
            let place: Place = key[LANE_LEN..].try_into().map_err(|_| corrupt("a place in the log of attempts"))?;
            Ok((place, entry))
        });
        let page = collect(rows, page, |(place, entry)| self.logged(&place, &entry))?;
        let size = self.get(Space::LogSizes, endpoint.as_str().as_bytes())?;
        let cut_at = size.map_or(Ok(None), |size| unpack::<Size>(&size).map(|size| size.cut_at()))?;
        Ok(LogPage { page, is_cut: cut_at.is_some_and(|at| after(at, lifetime) > self.now()) })
    }

    /// What is at a place in a log; nothing where the delivery has expired.
    fn logged(&self, place: &[u8], entry: &[u8]) -> Result<Option<Logged>> {
        let (logged_at, rest) = number(place)?;
        let key = Key::read(rest.get(..Key::LEN).unwrap_or_default())?;
        let attempts = match readable(key, self.row(key))?.flatten() {
            Some(Row::Pending(progress)) => progress.attempts,
            Some(Row::Ended(ended)) if ended.expires > self.now() => ended.attempts,
            _ => return Ok(None),
        };
        let tail = &rest[Key::LEN..];
        let is_it = |made: &Made| made.logged_at == logged_at && made.number.to_be_bytes() == *tail;
        let Some(made) = attempts.into_iter().find(is_it) else { return Ok(None) };
        let Entry { event, replay, sent, answer } = unpack(entry)?;
        Ok(Some(Logged {
            event_id: EventId::from_bits(event),
            kind: self.kind_at(key.seq())?,
            replay_id: replay.map(ReplayId::from_bits),
            attempt: Detail::put_back(Some(Detail { sent, answer }), made.into()),
        }))
    }

    /// What the event at a place in the feed tells, while it is kept.
    fn kind_at(&self, seq: u64) -> Result<Option<EventType>> {
        #[derive(Deserialize)]
        struct Kinded {
            #[serde(rename = "type")]
            kind: EventType,
        }
        let Some(row) = self.get(Space::Events, &seq.to_be_bytes())? else { return Ok(None) };
        let row = EventRow::read(&row)?;
        Ok(if row.expires > self.now() { decode::<Kinded>(row.json).ok().map(|event| event.kind) } else { None })
    }

    /// The attempts of a delivery, with what the log has of them.
    pub(super) fn attempts_of(&self, endpoint: &EndpointId, key: Key, attempts: Vec<Made>) -> Result<Vec<Attempt>> {
        let lane = lane(endpoint);
        let whole = |made: Made| {
            let entry = self.get(Space::AttemptLog, &row_key(lane, &place(&made, key)))?;
            let entry = entry.map(|entry| unpack::<Entry>(&entry)).transpose()?;
            let detail = entry.map(|Entry { sent, answer, .. }| Detail { sent, answer });
            Ok(Detail::put_back(detail, made.into()))
        };
        attempts.into_iter().map(whole).collect()
    }
}

#[async_trait]
impl Attempts for Embedded {
    async fn attempts(&self, endpoint: &EndpointId, page: &PageQuery) -> Result<LogPage> {
        let (endpoint, page, lifetime) = (endpoint.clone(), page.clone(), self.lifetimes.events);
        self.read(move |view| view.log_page(&endpoint, &page, lifetime)).await
    }
}
