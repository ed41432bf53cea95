//! Every decision of the writer, on one batch of writes and the index. What is changed here counts only when the batch
//! is committed; if it is not, both are thrown away.

use fjall::Slice;

use super::index::{Index, Moved};
use super::rows::{
    EventRow, Expiring, Key, Row, State, after, corrupt, decode, encode, expiry_key, micros, number, timestamp,
};
use super::spaces::{Space, Spaces, Txn, engine};
use crate::domain::delivery::{EndReason, Status};
use crate::domain::endpoint::Endpoint;
use crate::domain::plan::{Condition, Generation, Ingest, RawRequest, Unit};
use crate::domain::retention::Lifetimes;
use crate::store::{
    Endpoints, Finished, Ingested, LaneState, Lease, LeaseLost, Leased, Result, StoreError, StoredRequest, Then, Want,
};

/// The keys of [`Space::Meta`].
pub(super) const ENDPOINTS: &[u8] = b"endpoints";
const LAST_SEQ: &[u8] = b"last_seq";

/// What the writer knows.
pub(super) struct Core {
    pub(super) index: Index,
    generation: Generation,
    last_seq: u64,
    lifetimes: Lifetimes,
    /// Whether work was added or moved since this was last put down.
    pub(super) moved: bool,
}

impl Core {
    /// Reads what is pending. A row that cannot be read is set aside: it stays where it is, and nobody is told of it.
    pub(super) fn rebuild(spaces: &Spaces, lifetimes: Lifetimes) -> Result<Self> {
        let txn = Txn::new(spaces);
        let last_seq = match txn.get(Space::Meta, LAST_SEQ)? {
            Some(bytes) => number(&bytes)?.0,
            None => 0,
        };
        let generation = endpoints(&txn)?.generation;
        let mut index = Index::default();
        for pending in spaces.of(Space::Pending).iter() {
            let (key, row) = pending.into_inner().map_err(engine)?;
            match Key::read(&key).and_then(|read| Ok((read, decode(&row)?))) {
                Ok((key, row)) => index.add(key, &row),
                Err(error) => tell_set_aside(&key, &error),
            }
        }
        Ok(Self { index, generation, last_seq, lifetimes, moved: true })
    }

    /// The same, read again.
    pub(super) fn again(&self, spaces: &Spaces) -> Result<Self> {
        Self::rebuild(spaces, self.lifetimes)
    }

    pub(super) fn ingest(&mut self, txn: &mut Txn<'_>, ingest: Ingest, now: u64) -> Result<Ingested> {
        let mut new_guards = Vec::new();
        for guard in &ingest.guards {
            match txn.get(Space::Tokens, &guard.token)? {
                Some(known) if is_alive(&known, now)? => {
                    if known[8..] != guard.digest {
                        return Ok(Ingested::Forged);
                    }
                }
                _ => new_guards.push(guard),
            }
        }
        if ingest.generation != self.generation {
            return Ok(Ingested::Stale);
        }
        txn.synced = true;
        let expires = after(now, self.lifetimes.tokens);
        for guard in new_guards {
            txn.put(Space::Tokens, &guard.token, [&expires.to_be_bytes()[..], &guard.digest].concat());
            txn.put(Space::Expiry, &expiry_key(expires, Expiring::Token, &guard.token), Slice::default());
        }
        self.keep_request(txn, ingest.raw, now)?;
        let (mut new, mut repeated) = (0, 0);
        for unit in &ingest.units {
            match txn.get(Space::Events, unit.id.as_str().as_bytes())? {
                Some(known) if is_alive(&known, now)? => repeated += 1,
                _ if !holds(txn, unit.condition.as_ref())? => {}
                _ => {
                    self.add_event(txn, unit, now)?;
                    new += 1;
                }
            }
        }
        self.moved |= new > 0;
        Ok(Ingested::Stored { new, repeated })
    }

    fn keep_request(&self, txn: &mut Txn<'_>, raw: RawRequest, now: u64) -> Result<()> {
        let id = raw.id.clone();
        let id = id.as_str().as_bytes();
        if let Some(known) = txn.get(Space::Requests, id)?
            && is_alive(&known, now)?
        {
            return Ok(());
        }
        let life = if raw.is_incomplete() { self.lifetimes.events } else { self.lifetimes.requests };
        let expires = after(now, life);
        let RawRequest { id: request_id, request, unmapped, unreadable } = raw;
        let stored = StoredRequest { id: request_id, request, unmapped, unreadable };
        let head = encode(&stored)?;
        let head_len = (head.len() as u64).to_be_bytes();
        let row = [&expires.to_be_bytes()[..], &head_len, &head, &stored.request.body].concat();
        txn.put(Space::Requests, id, row);
        txn.put(Space::Expiry, &expiry_key(expires, Expiring::Request, id), Slice::default());
        Ok(())
    }

    fn add_event(&mut self, txn: &mut Txn<'_>, unit: &Unit, now: u64) -> Result<()> {
        self.last_seq += 1;
        let seq = self.last_seq;
        let id = unit.id.as_str().as_bytes();
        let expires = after(now, self.lifetimes.events);
        txn.put(Space::Meta, LAST_SEQ, seq.to_be_bytes());
        txn.put(Space::Events, id, EventRow { expires, seq, json: &unit.json }.bytes());
        txn.put(Space::Feed, &seq.to_be_bytes(), id);
        let places = u16::try_from(unit.deliveries.len()).map_err(|_| corrupt("an event with so many deliveries"))?;
        let swept = [&seq.to_be_bytes()[..], &places.to_be_bytes()].concat();
        txn.put(Space::Expiry, &expiry_key(expires, Expiring::Event, id), swept);
        for (place, planned) in (0..places).zip(&unit.deliveries) {
            let key = Key { seq, place };
            // The same identity, long expired, with a delivery that never ended: it ends here.
            if let Some(expired) = self.index.find(&unit.id, &planned.endpoint) {
                txn.remove(Space::Pending, &expired.bytes());
                let moved = self.index.remove(expired, now);
                self.write_moved(txn, moved, now)?;
            }
            let mut row = Row {
                event: unit.id.clone(),
                endpoint: planned.endpoint.clone(),
                class: planned.class,
                mail: unit.mail,
                status: Status::Pending,
                reason: None,
                begun: 0,
                begun_at: None,
                due: now,
                token: 0,
                held: false,
                tried: false,
                ended_at: None,
                attempts: Vec::new(),
                expires,
            };
            if planned.skipped {
                row.status = Status::Skipped;
                row.reason = Some(EndReason::Disabled);
                row.ended_at = Some(timestamp(now));
                put_ended(txn, key, &row)?;
            } else {
                txn.put_json(Space::Pending, &key.bytes(), &row)?;
                self.index.add(key, &row);
            }
        }
        Ok(())
    }

    /// Takes what is due; the events are left to be read by who asked.
    pub(super) fn lease(&mut self, txn: &mut Txn<'_>, wants: &[Want], now: u64) -> Result<Leased> {
        let mut leases = Vec::new();
        for want in wants {
            for key in self.index.take(&want.endpoint, want.limit, now) {
                let Some(mut row) = self.pending(txn, key, now)? else { continue };
                row.begun = row.begun.saturating_add(1);
                row.begun_at = Some(timestamp(now));
                row.token = after(now, want.hold).max(row.due.max(row.token).saturating_add(1));
                row.due = row.token;
                row.held = true;
                txn.put_json(Space::Pending, &key.bytes(), &row)?;
                self.index.set_due(key, row.due);
                leases.push(Lease {
                    event_id: row.event,
                    endpoint: row.endpoint,
                    class: row.class,
                    mail: row.mail,
                    number: row.begun,
                    token: row.token,
                    hold: want.hold,
                    event: None,
                });
            }
            self.index.rest(&want.endpoint, want.rest.map_or(0, |rest| after(now, rest)));
        }
        Ok(Leased { leases, generation: self.generation })
    }

    pub(super) fn finish(&mut self, txn: &mut Txn<'_>, all: Vec<Finished>, now: u64) -> Result<Vec<LeaseLost>> {
        let mut lost = Vec::new();
        for finished in all {
            let (event_id, endpoint) = (finished.lease.event_id.clone(), finished.lease.endpoint.clone());
            if !self.finish_one(txn, finished, now)? {
                lost.push(LeaseLost { event_id, endpoint });
            }
        }
        Ok(lost)
    }

    /// Whether the lease was still good.
    fn finish_one(&mut self, txn: &mut Txn<'_>, finished: Finished, now: u64) -> Result<bool> {
        let Finished { lease, attempt, then, lane } = finished;
        let Some(key) = self.index.find(&lease.event_id, &lease.endpoint) else { return Ok(false) };
        let Some(mut row) = self.pending(txn, key, now)? else { return Ok(false) };
        if !row.held || row.token != lease.token {
            return Ok(false);
        }
        txn.synced = true;
        self.moved = true;
        row.held = false;
        row.tried |= attempt.is_some();
        row.attempts.extend(attempt);
        if let Some(lane) = lane {
            remember(txn, lease.endpoint.as_str().as_bytes(), lane)?;
        }
        let moved = match then {
            Then::Retry(wait) => {
                row.due = after(now, wait);
                txn.put_json(Space::Pending, &key.bytes(), &row)?;
                self.index.set_due(key, row.due);
                if row.tried { self.index.set_tried(key, now) } else { None }
            }
            Then::End(status, reason) => {
                row.status = status;
                row.reason = reason;
                row.ended_at = Some(timestamp(now));
                txn.remove(Space::Pending, &key.bytes());
                if row.expires <= now {
                    // The event has gone, and with it what would remove this row: it is kept for another lifetime.
                    row.expires = after(now, self.lifetimes.events);
                    let entry = expiry_key(row.expires, Expiring::Delivery, &key.bytes());
                    txn.put(Space::Expiry, &entry, Slice::default());
                }
                put_ended(txn, key, &row)?;
                self.index.remove(key, now)
            }
        };
        self.write_moved(txn, moved, now)?;
        Ok(true)
    }

    /// A delivery's row. One that cannot be read is set aside, so that it holds back no other.
    fn pending(&mut self, txn: &mut Txn<'_>, key: Key, now: u64) -> Result<Option<Row>> {
        let row = pending(txn, key)?;
        if row.is_none() {
            let moved = self.index.remove(key, now);
            self.write_moved(txn, moved, now)?;
        }
        Ok(row)
    }

    fn write_moved(&mut self, txn: &mut Txn<'_>, mut moved: Moved, now: u64) -> Result<()> {
        while let Some((key, due)) = moved {
            if let Some(row) = pending(txn, key)? {
                return txn.put_json(Space::Pending, &key.bytes(), &Row { due, ..row });
            }
            moved = self.index.remove(key, now);
        }
        Ok(())
    }

    pub(super) fn change_endpoints(
        &mut self,
        txn: &mut Txn<'_>,
        base: Generation,
        changes: &[Endpoint],
        now: u64,
    ) -> Result<Option<Generation>> {
        if base != self.generation {
            return Ok(None);
        }
        let mut set = endpoints(txn)?;
        for change in changes {
            match set.all.binary_search_by(|known| known.id.cmp(&change.id)) {
                Ok(place) => set.all[place] = change.clone(),
                Err(place) => set.all.insert(place, change.clone()),
            }
        }
        set.generation = Generation(now.max(base.0.saturating_add(1)));
        txn.synced = true;
        txn.put_json(Space::Meta, ENDPOINTS, &(set.generation, &set.all))?;
        self.generation = set.generation;
        self.moved = true;
        Ok(Some(set.generation))
    }
}

fn endpoints(txn: &Txn<'_>) -> Result<Endpoints> {
    let (generation, all) = txn.get_json(Space::Meta, ENDPOINTS)?.unwrap_or_default();
    Ok(Endpoints { generation, all })
}

/// Whether a row that begins with when it expires has not.
pub(super) fn is_alive(row: &[u8], now: u64) -> Result<bool> {
    Ok(number(row)?.0 > now)
}

/// The row of a pending delivery; none when it cannot be read.
fn pending(txn: &Txn<'_>, key: Key) -> Result<Option<Row>> {
    let missing = || corrupt("a pending delivery that has no row");
    match txn.get_json(Space::Pending, &key.bytes()).and_then(|row| row.ok_or_else(missing)) {
        Ok(row) => Ok(Some(row)),
        Err(error @ StoreError::Corrupt(_)) => {
            tell_set_aside(&key.bytes(), &error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn tell_set_aside(key: &[u8], error: &StoreError) {
    tracing::error!(key = hex::encode(key), %error, "a pending delivery is set aside");
}

fn put_ended(txn: &mut Txn<'_>, key: Key, row: &Row) -> Result<()> {
    txn.put(Space::ByStatus, &row.ended_key(key), Slice::default());
    txn.put_json(Space::Ended, &key.bytes(), row)
}

/// Keeps what a lane remembers, unless something later is kept that can be read.
fn remember(txn: &mut Txn<'_>, endpoint: &[u8], state: LaneState) -> Result<()> {
    match txn.get_json::<LaneState>(Space::Lanes, endpoint) {
        Err(error @ StoreError::Unavailable(_)) => Err(error),
        Ok(Some(known)) if micros(known.at) > micros(state.at) => Ok(()),
        _ => txn.put_json(Space::Lanes, endpoint, &state),
    }
}

/// Whether there is to be an event; the entity's state is remembered either way.
fn holds(txn: &mut Txn<'_>, condition: Option<&Condition>) -> Result<bool> {
    let Some(condition) = condition else { return Ok(true) };
    let known: Option<State> = txn.get_json(Space::States, &condition.entity)?;
    let reports = match &known {
        None => condition.first_sight_reports,
        Some(known) if condition.at < known.at => return Ok(false),
        Some(known) => known.value != condition.value,
    };
    let state = State { value: condition.value.clone(), at: condition.at };
    txn.put_json(Space::States, &condition.entity, &state)?;
    Ok(reports)
}
