//! What an ingest changes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fjall::Slice;

use super::core::Core;
use super::delivery::{Ended, Planned, Row, Waiting};
use super::ids::Kind;
use super::index::{Item, Stored};
use super::requests::Lacks;
use super::rows::{
    EventRow, Expiring, Id, Key, Place, RequestHead, RequestRow, after, corrupt, encode, number, pack, unpack,
};
use super::spaces::Space;
use super::suppression;
use super::txn::Txn;
use crate::domain::address::AddressKey;
use crate::domain::delivery::{EndReason, Status};
use crate::domain::id::EventId;
use crate::domain::plan::{Condition, Copies, Fingerprint, Ingest, PlannedDelivery, RawRequest, StoredEvent, Unit};
use crate::domain::search::{self, WordHash};
use crate::store::blobs::Blob;
use crate::store::{Committed, Fate, Result};

/// An ingest with all that its caller can do for the writer.
pub(super) struct Arrival {
    pub(super) ingest: Ingest,
    pub(super) request: Option<Received>,
    /// What is found out of each event beforehand.
    events: Vec<Known>,
}

/// Of an event.
struct Known {
    id: Id,
    /// Under which it suppresses addresses.
    suppressed: Vec<suppression::Key>,
    /// That a search finds it by.
    words: Vec<WordHash>,
}

/// Where the body of a request is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// In its row.
    Here,
    /// In a file.
    File(Blob),
    /// Where it is: the request was there a moment ago.
    There,
}

/// A request to be kept.
pub(super) struct Received {
    pub(super) id: Id,
    /// What is said of it, packed.
    head: Vec<u8>,
    body: Bytes,
    kept: Kept,
    pub(super) lacks: Option<Lacks>,
}

impl Arrival {
    /// # Errors
    /// When an id is none that was derived, or the request cannot be packed.
    pub(super) fn new(ingest: Ingest, kept: Kept, address_key: &AddressKey) -> Result<Self> {
        let request = ingest.raw.as_ref().map(|raw| Received::new(raw, kept)).transpose()?;
        let event = |unit: &Unit| {
            let id = unit.id.bits().ok_or_else(|| corrupt("an event's id"))?;
            let suppressed = suppression::keys(unit.suppresses.as_ref(), address_key);
            let words = search::words(&unit.event).iter().map(|word| word.hash(address_key)).collect();
            Ok(Known { id, suppressed, words })
        };
        let events = ingest.units.iter().map(event).collect::<Result<_>>()?;
        Ok(Self { ingest, request, events })
    }

    /// How much it brings, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.request.as_ref().map_or(0, |request| request.body.len())
            + self.ingest.units.iter().map(|unit| unit.json.len()).sum::<usize>()
    }
}

impl Received {
    fn new(raw: &RawRequest, kept: Kept) -> Result<Self> {
        let id = raw.id.bits().ok_or_else(|| corrupt("a request's id"))?;
        let (blob, body) = match kept {
            Kept::Here => (None, raw.request.body.clone()),
            Kept::File(blob) => (Some(blob), Bytes::new()),
            Kept::There => (None, Bytes::new()),
        };
        let head = pack(&RequestHead::of(raw, blob))?;
        Ok(Self { id, head, body, kept, lacks: Lacks::of(id, raw) })
    }
}

impl Core {
    pub(super) fn ingest(&mut self, txn: &mut Txn<'_>, arrival: &Arrival, now: u64) -> Result<Committed> {
        let ingest = &arrival.ingest;
        let mut new_guards = Vec::new();
        for guard in &ingest.guards {
            match txn.get(Space::Tokens, &guard.token)? {
                Some(known) if number(&known)?.0 > now => {
                    if known[8..] != guard.digest {
                        return Ok(Committed::Forged);
                    }
                }
                _ => new_guards.push(guard),
            }
        }
        if ingest.generation != self.generation {
            return Ok(Committed::Stale(Vec::new()));
        }
        // It has expired since: its body is to be kept anew.
        if let Some(request) = arrival.request.as_ref().filter(|request| request.kept == Kept::There)
            && !txn.place(Kind::Request, &request.id)?.is_some_and(|known| known.is_alive(now))
        {
            return Ok(Committed::Stale(Vec::new()));
        }
        txn.synced = true;
        let expires = after(now, self.lifetimes.tokens);
        for guard in new_guards {
            txn.put(Space::Tokens, &guard.token, [&expires.to_be_bytes()[..], &guard.digest].concat());
            txn.put(Space::Expiry, &Expiring::Token(&guard.token).key(expires), Slice::empty());
        }
        let fates = self.add_events(txn, arrival, after(now, self.lifetimes.events), now)?;
        if let Some(request) = &arrival.request {
            let life = ingest.request_life(&self.lifetimes);
            self.keep_request(txn, request, life, now)?;
        }
        Ok(Committed::Stored(fates))
    }

    /// Remembers its states, and commits those events that are new.
    pub(super) fn add_events(
        &mut self,
        txn: &mut Txn<'_>,
        arrival: &Arrival,
        expires: u64,
        now: u64,
    ) -> Result<Vec<Fate>> {
        for told in &arrival.ingest.states {
            is_news(txn, told)?;
        }
        let mut fates = Vec::with_capacity(arrival.ingest.units.len());
        txn.reserve(arrival.ingest.units.len());
        for (unit, Known { id, suppressed, words }) in arrival.ingest.units.iter().zip(&arrival.events) {
            let known = txn.place(Kind::Event, id)?;
            let is_known = known.is_some_and(|known| known.is_alive(now));
            let twin = if is_known { None } else { twin(txn, unit.fingerprint, now)? };
            if is_known || matches!(twin, Some((Copies::Repeat, _))) {
                fates.push(Fate::Repeated);
            } else if unit.condition.as_ref().map_or(Ok(true), |told| is_news(txn, told))? {
                let outlived = self.outlived.remove(id);
                if let Some(expired) = known.map(|known| known.seq).or(outlived) {
                    self.supersede(txn, expired, &unit.deliveries, now)?;
                }
                match twin {
                    None => self.add_event(txn, unit, *id, expires, now)?,
                    Some((_, first)) => self.add_event(txn, &marked(txn, unit, first)?, *id, expires, now)?,
                }
                txn.put_words(words, Place { seq: self.last.event, expires });
                suppression::put(txn, unit.suppresses.as_ref(), suppressed, *id)?;
                fates.push(Fate::New);
            } else {
                fates.push(Fate::Unmet);
            }
        }
        Ok(fates)
    }

    /// One that is there stays as it is, and is no longer listed once it is understood.
    fn keep_request(&mut self, txn: &mut Txn<'_>, request: &Received, life: Duration, now: u64) -> Result<()> {
        let Received { id, head, body, lacks, .. } = request;
        if let Some(known) = txn.place(Kind::Request, id)?.filter(|known| known.is_alive(now)) {
            let seq = known.seq.to_be_bytes();
            if lacks.is_none() && txn.get(Space::Incomplete, &seq)?.is_some() {
                txn.remove(Space::Incomplete, &seq);
            }
            return Ok(());
        }
        self.has_long_lived |= life > self.lifetimes.requests;
        self.last.request += 1;
        let seq = self.last.request;
        if let Some(lacks) = lacks {
            txn.add_packed(Space::Incomplete, &seq.to_be_bytes(), lacks)?;
        }
        let expires = after(now, life);
        let row = RequestRow { expires, id: *id, head, body };
        txn.put_place(Kind::Request, *id, Place { seq, expires });
        txn.put_written(Space::Requests, &seq.to_be_bytes(), |to| row.write(to));
        Ok(())
    }

    fn add_event(&mut self, txn: &mut Txn<'_>, unit: &Unit, id: Id, expires: u64, now: u64) -> Result<()> {
        let places = u16::try_from(unit.deliveries.len()).map_err(|_| corrupt("an event with so many deliveries"))?;
        self.last.event += 1;
        let seq = self.last.event;
        let fingerprint = unit.fingerprint.map(|fingerprint| fingerprint.bits);
        if let Some(bits) = fingerprint {
            txn.put_place(Kind::Fingerprint, bits, Place { seq, expires });
        }
        txn.put_place(Kind::Event, id, Place { seq, expires });
        let row = EventRow { committed: now, expires, id, places, fingerprint, json: &unit.json };
        txn.put_written(Space::Events, &seq.to_be_bytes(), |to| row.write(to));
        let mut waiting =
            Waiting { event: id, mail: unit.mail, committed: now, expires, planned: Vec::with_capacity(places.into()) };
        for (place, PlannedDelivery { endpoint, class, skipped }) in (0..places).zip(&unit.deliveries) {
            let key = Key::new(seq, place);
            if *skipped {
                put_ended(txn, key, skipped_now(id, endpoint, now, expires))?;
                continue;
            }
            let (class, endpoint) = (*class, endpoint.clone());
            let item = Item {
                event: id,
                mail: unit.mail,
                expires,
                due: now,
                lane: self.index.lane(&endpoint),
                class,
                stored: Stored::Nothing,
                tried: false,
                held: false,
                next: None,
            };
            self.joining.push((key, item));
            waiting.planned.push(Planned { place, class, endpoint, replay: None });
        }
        if !waiting.planned.is_empty() {
            txn.add_packed(Space::Waiting, &seq.to_be_bytes(), &waiting)?;
            self.recent.push(seq, Arc::clone(&unit.event));
        }
        Ok(())
    }

    /// An identity that has expired is new again: what is still to be delivered of the old event, and is of the new one
    /// too, ends here.
    fn supersede(&mut self, txn: &mut Txn<'_>, expired: u64, again: &[PlannedDelivery], now: u64) -> Result<()> {
        let Some(row) = txn.get(Space::Waiting, &expired.to_be_bytes())? else { return Ok(()) };
        let mut waiting: Waiting = unpack(&row)?;
        self.has_superseded = true;
        let is_again =
            |planned: &Planned| planned.replay.is_none() && again.iter().any(|one| one.endpoint == planned.endpoint);
        for planned in waiting.planned.extract_if(.., |planned| is_again(planned)) {
            let key = Key::new(expired, planned.place);
            if self.index.get(key).is_none() {
                continue;
            }
            txn.remove(Space::Deliveries, &key.bytes());
            self.moved = true;
            let moved = self.index.remove(key, now);
            self.write_moved(txn, moved, now)?;
        }
        if self.index.of_event(expired).next().is_some() {
            txn.put_packed(Space::Waiting, &expired.to_be_bytes(), &waiting)
        } else {
            txn.remove(Space::Waiting, &expired.to_be_bytes());
            Ok(())
        }
    }
}

/// Where the event is that has the same fingerprint, and what becomes of its copies.
fn twin(txn: &Txn<'_>, fingerprint: Option<Fingerprint>, now: u64) -> Result<Option<(Copies, Place)>> {
    let Some(Fingerprint { bits, copies }) = fingerprint else { return Ok(None) };
    let first = txn.place(Kind::Fingerprint, &bits)?.filter(|first| first.is_alive(now));
    Ok(first.map(|first| (copies, first)))
}

/// The same with a mark, unless the first of them cannot be read. That one keeps the fingerprint.
fn marked(txn: &Txn<'_>, unit: &Unit, first: Place) -> Result<Unit> {
    let first = txn.event_id(first.seq)?.map(EventId::from_bits);
    let event = StoredEvent { possible_duplicate_of: first, ..(*unit.event).clone() };
    Ok(Unit { json: encode(&event)?.into(), event: Arc::new(event), fingerprint: None, ..unit.clone() })
}

pub(super) fn put_ended(txn: &mut Txn<'_>, key: Key, ended: Ended) -> Result<()> {
    txn.put(Space::ByStatus, &ended.index_key(key), Slice::empty());
    txn.put_packed(Space::Deliveries, &key.bytes(), &Row::Ended(ended))
}

fn skipped_now(event: Id, endpoint: &crate::domain::id::EndpointId, now: u64, expires: u64) -> Ended {
    Ended {
        event,
        endpoint: endpoint.clone(),
        replay: None,
        status: Status::Skipped,
        reason: Some(EndReason::Disabled),
        begun: 0,
        begun_at: None,
        ended_at: now,
        expires,
        attempts: Vec::new(),
    }
}

/// Remembers the state, if it is later than the one that is known. Whether it is news.
fn is_news(txn: &mut Txn<'_>, Condition { entity, state }: &Condition) -> Result<bool> {
    let known = txn.get(Space::States, entity)?.map(|row| unpack(&row)).transpose()?;
    let Some(is_news) = state.replaces(known) else { return Ok(false) };
    txn.put_packed(Space::States, entity, state)?;
    Ok(is_news)
}
