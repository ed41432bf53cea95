//! Reads, on one snapshot each. What the engine shows has been committed, and what has expired is not there.

use fjall::{Iter, Readable, Slice, Snapshot};

use super::core::{ENDPOINTS, is_alive};
use super::rows::{ENDED_LEN, EventRow, Key, Row, corrupt, decode, number, read_ended_key, status_byte};
use super::spaces::{Space, Spaces, engine};
use crate::domain::breaker::Breaker;
use crate::domain::delivery::{Delivery, Status};
use crate::domain::id::{DeliveryId, EndpointId, EventId, RequestId};
use crate::domain::plan::StoredEvent;
use crate::store::{Endpoints, LaneState, Page, PageQuery, Result, StoreError, StoredRequest};

/// So many rows that are not shown are passed over for one page.
const PASSED_MAX: usize = 1_000;

/// The store at one moment.
pub(super) struct View<'a> {
    spaces: &'a Spaces,
    snapshot: Snapshot,
    now: u64,
}

impl<'a> View<'a> {
    pub(super) fn new(spaces: &'a Spaces, now: u64) -> Self {
        Self { spaces, snapshot: spaces.db.snapshot(), now }
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>> {
        self.snapshot.get(self.spaces.of(space), key).map_err(engine)
    }

    /// An event's row, if it has not expired.
    fn event_row(&self, id: &[u8]) -> Result<Option<Slice>> {
        let Some(row) = self.get(Space::Events, id)? else { return Ok(None) };
        Ok(is_alive(&row, self.now)?.then_some(row))
    }

    pub(super) fn event(&self, id: &EventId) -> Result<Option<StoredEvent>> {
        let Some(row) = self.event_row(id.as_str().as_bytes())? else { return Ok(None) };
        decode(EventRow::read(&row)?.json).map(Some)
    }

    pub(super) fn events(&self, page: &PageQuery) -> Result<Page<StoredEvent>> {
        let feed = self.back_from(Space::Feed, &[], size_of::<u64>(), page)?;
        self.page(feed, page, 0, |seq, id| {
            let Some(row) = self.event_row(id)? else { return Ok(None) };
            let row = EventRow::read(&row)?;
            if row.seq != number(seq)?.0 {
                return Ok(None);
            }
            decode(row.json).map(Some)
        })
    }

    pub(super) fn request(&self, id: &RequestId) -> Result<Option<StoredRequest>> {
        let Some(row) = self.get(Space::Requests, id.as_str().as_bytes())? else { return Ok(None) };
        let (expires, rest) = number(&row)?;
        if expires <= self.now {
            return Ok(None);
        }
        let (head_len, rest) = number(rest)?;
        let head_len = usize::try_from(head_len).unwrap_or(usize::MAX);
        let (head, body) = rest.split_at_checked(head_len).ok_or_else(|| corrupt("a request"))?;
        let mut stored: StoredRequest = decode(head)?;
        stored.request.body = body.to_vec().into();
        Ok(Some(stored))
    }

    pub(super) fn endpoints(&self) -> Result<Endpoints> {
        let Some(set) = self.get(Space::Meta, ENDPOINTS)? else { return Ok(Endpoints::default()) };
        let (generation, all) = decode(&set)?;
        Ok(Endpoints { generation, all })
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
        let Some(row) = self.event_row(id.as_str().as_bytes())? else { return Ok(Vec::new()) };
        let row = EventRow::read(&row)?;
        let event: StoredEvent = decode(row.json)?;
        let places = (0..=u16::MAX).zip(event.endpoints);
        places.map(|(place, endpoint)| self.delivery(Key { seq: row.seq, place }, id, endpoint)).collect()
    }

    fn delivery(&self, key: Key, event: &EventId, endpoint: EndpointId) -> Result<Delivery> {
        let key = key.bytes();
        let row = match self.get(Space::Pending, &key)? {
            Some(row) => Some(row),
            None => self.get(Space::Ended, &key)?,
        };
        match row {
            Some(row) => Ok(decode::<Row>(&row)?.delivery()),
            None => Ok(Delivery {
                id: DeliveryId::of(event, &endpoint),
                event_id: event.clone(),
                endpoint_id: endpoint,
                status: Status::Pending,
                reason: None,
                begun: 0,
                begun_at: None,
                due_at: None,
                ended_at: None,
                attempts: Vec::new(),
            }),
        }
    }

    pub(super) fn deliveries(&self, status: Status, page: &PageQuery) -> Result<Page<Delivery>> {
        if status == Status::Pending {
            // Also one whose event has expired: it is pending until it is leased and ended.
            let pending = self.back_from(Space::Pending, &[], Key::LEN, page)?;
            return self.page(pending, page, 0, |key, row| Ok(readable(key, row).map(Row::delivery)));
        }
        let ended = self.back_from(Space::ByStatus, &[status_byte(status)], ENDED_LEN, page)?;
        self.page(ended, page, 1, |key, _| {
            let Some(row) = self.get(Space::Ended, &read_ended_key(key)?.bytes())? else { return Ok(None) };
            Ok(readable(key, &row).filter(|row| row.expires > self.now).map(Row::delivery))
        })
    }

    /// The rows under a prefix, whose keys go on for `len` bytes, before the page's cursor.
    fn back_from(&self, space: Space, prefix: &[u8], len: usize, page: &PageQuery) -> Result<Iter> {
        let end = match &page.cursor {
            Some(cursor) => {
                let place = hex::decode(cursor).ok().filter(|place| place.len() == len);
                [prefix, &place.ok_or(StoreError::BadCursor)?].concat()
            }
            None => [prefix, &vec![u8::MAX; len]].concat(),
        };
        Ok(self.snapshot.range(self.spaces.of(space), prefix.to_vec()..end))
    }

    /// Collects a page from the last row to the first. `skip` is how much of each key is no part of the cursor.
    fn page<T>(
        &self,
        rows: Iter,
        page: &PageQuery,
        skip: usize,
        show: impl Fn(&[u8], &[u8]) -> Result<Option<T>>,
    ) -> Result<Page<T>> {
        let mut items = Vec::new();
        let (mut passed, mut last) = (0, None);
        for row in rows.rev() {
            if items.len() >= page.limit || passed >= PASSED_MAX {
                return Ok(Page { items, next: last });
            }
            let (key, value) = row.into_inner().map_err(engine)?;
            let key = key.get(skip..).ok_or_else(|| corrupt("a key"))?;
            last = Some(hex::encode(key));
            match show(key, &value)? {
                Some(item) => items.push(item),
                None => passed += 1,
            }
        }
        Ok(Page { items, next: None })
    }
}

/// A delivery's row, for a list; one that cannot be read is passed over, for it must not hide the others.
fn readable(key: &[u8], row: &[u8]) -> Option<Row> {
    let told = |error: &StoreError| tracing::error!(key = hex::encode(key), %error, "a delivery is not listed");
    decode(row).inspect_err(told).ok()
}
