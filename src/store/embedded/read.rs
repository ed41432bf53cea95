//! Reads. What the engine shows is one snapshot; of what it does not have yet, a later look may show a later commit. All
//! has been committed, and what has expired is not there.

use std::sync::Arc;

use fjall::{Readable, Slice, Snapshot};

use super::core::{GENERATION, NUMBERED, generation, numbered_before};
use super::delivery::{Again, ENDED_LEN, Ended, Planned, Progress, Row, Waiting, pending, status_byte};
use super::ids::Kind;
use super::layers::Layers;
use super::range::{Range, Span};
use super::rows::{EventRow, Id, Key, RequestHead, RequestRow, corrupt, decode, number, unpack};
use super::spaces::{Space, Spaces, engine};
use crate::domain::breaker::Breaker;
use crate::domain::delivery::{Delivery, Status};
use crate::domain::id::{EndpointId, EventId, RequestId};
use crate::domain::plan::StoredEvent;
use crate::store::blobs::{Blob, Blobs};
use crate::store::{Endpoints, LaneState, Page, PageQuery, Result, StoreError, StoredRequest};

/// So many rows that are not shown are passed over for one page.
const PASSED_MAX: usize = 1_000;

/// The store from one moment on.
pub(super) struct View<'a> {
    pub(super) spaces: &'a Spaces,
    layers: Layers,
    snapshot: Snapshot,
    now: u64,
    _reader: Arc<()>,
}

impl<'a> View<'a> {
    pub(super) fn new(spaces: &'a Spaces, now: u64) -> Self {
        // In this order, for a row may move from a layer to the engine meanwhile.
        let (reader, layers) = (spaces.reader(), spaces.layers());
        Self { spaces, layers, snapshot: spaces.db.snapshot(), now, _reader: reader }
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>> {
        match self.layers.get(space, key) {
            Some(known) => Ok(known),
            None => self.snapshot.get(self.spaces.of(space), key).map_err(engine),
        }
    }

    /// Where something with this id is, if it has not expired.
    pub(super) fn place(&self, kind: Kind, id: Option<Id>) -> Result<Option<u64>> {
        let place = id.map(|id| self.spaces.ids.get(kind, &id)).transpose()?.flatten();
        Ok(place.filter(|place| place.is_alive(self.now)).map(|place| place.seq))
    }

    pub(super) fn event(&self, id: &EventId) -> Result<Option<StoredEvent>> {
        let Some(seq) = self.place(Kind::Event, id.bits())? else { return Ok(None) };
        self.event_at(seq)
    }

    /// The event at a place in the feed.
    pub(super) fn event_at(&self, seq: u64) -> Result<Option<StoredEvent>> {
        self.get(Space::Events, &seq.to_be_bytes())?.map_or(Ok(None), |row| self.alive(&row))
    }

    /// The same, and how many deliveries the event began with.
    pub(super) fn event_and_places(&self, seq: u64) -> Result<Option<(StoredEvent, u16)>> {
        let Some(row) = self.get(Space::Events, &seq.to_be_bytes())? else { return Ok(None) };
        let event = self.alive(&row)?;
        event.map(|event| Ok((event, EventRow::read(&row)?.places))).transpose()
    }

    pub(super) fn alive(&self, row: &[u8]) -> Result<Option<StoredEvent>> {
        let row = EventRow::read(row)?;
        if row.expires > self.now && !row.is_erased() { decode(row.json).map(Some) } else { Ok(None) }
    }

    pub(super) fn request(&self, id: &RequestId, blobs: &Blobs) -> Result<Option<StoredRequest>> {
        let Some(seq) = self.place(Kind::Request, id.bits())? else { return Ok(None) };
        let Some(row) = self.get(Space::Requests, &seq.to_be_bytes())? else { return Ok(None) };
        let row = RequestRow::read(&row)?;
        if row.is_erased() {
            return Ok(None);
        }
        let head: RequestHead = unpack(row.head)?;
        let body = match head.blob {
            Some(blob) => blobs.read(id, blob)?,
            None => row.body.to_vec().into(),
        };
        Ok(Some(head.with(id.clone(), body, self.lacks_at(seq)?)))
    }

    pub(super) fn request_len(&self, id: &RequestId) -> Result<Option<usize>> {
        let Some(seq) = self.place(Kind::Request, id.bits())? else { return Ok(None) };
        let Some(row) = self.get(Space::Requests, &seq.to_be_bytes())? else { return Ok(None) };
        let row = RequestRow::read(&row)?;
        if row.is_erased() {
            return Ok(None);
        }
        Ok(Some(row.blob()?.map_or(row.body.len(), Blob::len)))
    }

    pub(super) fn endpoints(&self) -> Result<Endpoints> {
        // First, so that the set is never older than this says. A newer one is found out by whoever plans with it.
        let generation = generation(self.get(Space::Meta, GENERATION)?)?;
        let all = self.range(&Span::from(Space::Endpoints, []));
        let mut all: Vec<_> = all.map(|row| decode(&row?.1)).collect::<Result<_>>()?;
        all.shrink_to_fit();
        Ok(Endpoints { generation, numbered: numbered_before(self.get(Space::Meta, NUMBERED)?)?, all })
    }

    pub(super) fn lane_states(&self, endpoints: Vec<EndpointId>) -> Result<Vec<(EndpointId, LaneState)>> {
        let mut states = Vec::new();
        for endpoint in endpoints {
            let Some(row) = self.get(Space::Lanes, endpoint.as_str().as_bytes())? else { continue };
            let state: LaneState = decode(&row)?;
            if state.breaker != Breaker::default() {
                states.push((endpoint, state));
            }
        }
        Ok(states)
    }

    pub(super) fn deliveries_of(&self, id: &EventId) -> Result<Vec<Delivery>> {
        let Some(seq) = self.place(Kind::Event, id.bits())? else { return Ok(Vec::new()) };
        let Some(event) = self.event_at(seq)? else { return Ok(Vec::new()) };
        let waiting = self.get(Space::Waiting, &seq.to_be_bytes())?;
        let waiting: Option<Waiting> = waiting.map(|row| unpack(&row)).transpose()?;
        let due = waiting.map(|waiting| waiting.committed);
        let begun = (0..=u16::MAX).zip(event.endpoints).map(|(place, endpoint)| (place, endpoint, None));
        let replays = self.get(Space::Replays, &seq.to_be_bytes())?;
        let replays: Vec<Planned> = replays.map_or(Ok(Vec::new()), |row| unpack(&row))?;
        let replays = replays.into_iter().map(|one| (one.place, one.endpoint, one.replay));
        let delivery = |(place, endpoint, replay): (_, _, Option<Again>)| {
            let (due, replay) = (replay.map(|replay| replay.made).or(due), replay.map(|replay| replay.id));
            let key = Key::new(seq, place);
            match self.row(key)? {
                Some(Row::Ended(ended)) => self.ended(key, ended),
                Some(Row::Pending(progress)) => self.begun(key, id.clone(), endpoint, replay, progress),
                None => Ok(pending(id.clone(), endpoint, replay, due.map(not_begun), Vec::new())),
            }
        };
        begun.chain(replays).map(delivery).collect()
    }

    fn ended(&self, key: Key, mut ended: Ended) -> Result<Delivery> {
        let attempts = self.attempts_of(&ended.endpoint, key, std::mem::take(&mut ended.attempts))?;
        Ok(ended.delivery(attempts))
    }

    fn begun(
        &self,
        key: Key,
        event: EventId,
        endpoint: EndpointId,
        replay: Option<Id>,
        mut progress: Progress,
    ) -> Result<Delivery> {
        let attempts = self.attempts_of(&endpoint, key, std::mem::take(&mut progress.attempts))?;
        Ok(pending(event, endpoint, replay, Some(progress), attempts))
    }

    pub(super) fn row(&self, key: Key) -> Result<Option<Row>> {
        self.get(Space::Deliveries, &key.bytes())?.map(|row| unpack(&row)).transpose()
    }

    pub(super) fn deliveries(&self, status: Status, page: &PageQuery) -> Result<Page<Delivery>> {
        if status == Status::Pending {
            return self.pending(page);
        }
        let status = [status_byte(status)];
        let end = cursor(page, ENDED_LEN)?;
        let ended = self.back_from(Space::ByStatus, &status, &end);
        let key = |row: Result<(Slice, _)>| Ok((row?.0.get(1..).ok_or_else(|| corrupt("a key"))?.to_vec(), ()));
        collect(ended.map(key), page, |(key, ())| {
            let key = Key::read(number(&key)?.1)?;
            match readable(key, self.row(key))? {
                Some(Some(Row::Ended(ended))) if ended.expires > self.now => self.ended(key, ended).map(Some),
                _ => Ok(None),
            }
        })
    }

    /// Also one whose event has expired: it is pending until it is leased and ended.
    fn pending(&self, page: &PageQuery) -> Result<Page<Delivery>> {
        let end = cursor(page, Key::LEN)?;
        let until = Key::read(&end)?;
        // The event that a page ended in has more.
        let waiting = self.back_from(Space::Waiting, &[], &until.seq().saturating_add(1).to_be_bytes());
        let rows = waiting.flat_map(|row| places(row, until));
        collect(rows, page, |(key, (event, endpoint, replay, due))| {
            let key = Key::read(&key)?;
            let progress = match readable(key, self.row(key).map(|row| row.unwrap_or(Row::Pending(not_begun(due)))))? {
                Some(Row::Pending(progress)) => progress,
                _ => return Ok(None),
            };
            self.begun(key, EventId::from_bits(event), endpoint, replay, progress).map(Some)
        })
    }

    /// Events from this place in the feed on.
    pub(super) fn events_from(&self, first: u64) -> Range {
        self.range(&Span::from(Space::Events, first.to_be_bytes()))
    }

    /// The rows under a prefix before this end, the last first.
    pub(super) fn back_from(&self, space: Space, prefix: &[u8], end: &[u8]) -> Range {
        self.range(&Span::from(space, prefix).to([prefix, end].concat()).back())
    }

    pub(super) fn range(&self, span: &Span) -> Range {
        let rows = self.snapshot.range::<&[u8], _>(self.spaces.of(span.space), span.bounds());
        Range::new(span, &self.layers, rows)
    }
}

/// A pending delivery of a list: its event, its endpoint, its replay, and since when it waits.
type Listed = (Id, EndpointId, Option<Id>, u64);

/// The deliveries of an event that have not ended, as far as its own row says, the last first; those before `until`.
fn places(row: Result<(Slice, Slice)>, until: Key) -> Vec<Result<(Vec<u8>, Listed)>> {
    let read = || {
        let (seq, row) = row?;
        let seq = number(&seq)?.0;
        Ok((seq, readable(Key::new(seq, 0), unpack::<Waiting>(&row))?))
    };
    let (seq, Waiting { event, committed, planned, .. }) = match read() {
        Ok((seq, Some(waiting))) => (seq, waiting),
        Ok((_, None)) => return Vec::new(),
        Err(error) => return vec![Err(error)],
    };
    let listed = |Planned { place, endpoint, replay, .. }| {
        let since = replay.map_or(committed, |replay: Again| replay.made);
        (Key::new(seq, place), (event, endpoint, replay.map(|replay| replay.id), since))
    };
    let before = planned.into_iter().rev().map(listed).filter(|(key, _)| *key < until);
    before.map(|(key, listed)| Ok((key.bytes().to_vec(), listed))).collect()
}

/// What became of a delivery that waits since then and has no row.
fn not_begun(due: u64) -> Progress {
    Progress { due, ..Progress::default() }
}

/// Where a page begins, going back: before the key of the last row of the page before it.
pub(super) fn cursor(page: &PageQuery, len: usize) -> Result<Vec<u8>> {
    let Some(cursor) = &page.cursor else { return Ok(vec![u8::MAX; len]) };
    hex::decode(cursor).ok().filter(|key| key.len() == len).ok_or(StoreError::BadCursor)
}

/// Collects a page of rows, each led by its key.
pub(super) fn collect<R, T>(
    rows: impl Iterator<Item = Result<(impl AsRef<[u8]>, R)>>,
    page: &PageQuery,
    show: impl Fn((Vec<u8>, R)) -> Result<Option<T>>,
) -> Result<Page<T>> {
    let mut items = Vec::new();
    let (mut passed, mut last) = (0, None);
    for row in rows {
        if items.len() >= page.limit || passed >= PASSED_MAX {
            return Ok(Page { items, next: last });
        }
        let (key, row) = row?;
        let key = key.as_ref().to_vec();
        last = Some(hex::encode(&key));
        match show((key, row))? {
            Some(item) => items.push(item),
            None => passed += 1,
        }
    }
    Ok(Page { items, next: None })
}

/// A row for a list; one that cannot be read is passed over, for it must not hide the others.
pub(super) fn readable<T>(key: Key, row: Result<T>) -> Result<Option<T>> {
    match row {
        Ok(row) => Ok(Some(row)),
        Err(error @ StoreError::Corrupt(_)) => {
            tracing::error!(key = hex::encode(key.bytes()), %error, "a delivery is not listed");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
