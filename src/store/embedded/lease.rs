//! What a lease and a finish change.

use std::sync::Arc;

use fjall::Slice;

use super::core::Core;
use super::delivery::{Ended, Progress, Row};
use super::index::{Held, Item, Stored};
use super::ingest::put_ended;
use super::rows::{Expiring, Key, after, micros};
use super::spaces::Space;
use super::txn::Txn;
use crate::domain::id::{EndpointId, EventId, ReplayId};
use crate::domain::plan::StoredEvent;
use crate::store::{Finished, LaneState, Lease, LeaseLost, Leased, Result, StoreError, Then, Want};

/// What was taken, and where the event of each lease is.
pub(super) struct Taken {
    pub(super) leased: Leased,
    pub(super) events: Vec<Event>,
}

/// Where the event of a lease is.
pub(super) enum Event {
    Expired,
    Here(Arc<StoredEvent>),
    /// At this place in the feed.
    Stored(u64),
}

impl Core {
    /// Takes what is due; the events are left to be read by who asked.
    pub(super) fn lease(&mut self, txn: &mut Txn<'_>, wants: &[Want], now: u64) -> Result<Taken> {
        let (mut leases, mut events) = (Vec::new(), Vec::new());
        for want in wants {
            let lane = self.index.lane(&want.endpoint);
            for key in self.index.take(lane, want.limit, want.replays, now) {
                let Some(lease) = self.lease_one(txn, key, want, now)? else { continue };
                events.push(match self.index.get(key) {
                    Some(item) if item.expires > now => {
                        self.recent.get(key.seq()).map_or(Event::Stored(key.seq()), Event::Here)
                    }
                    _ => Event::Expired,
                });
                leases.push(lease);
            }
            self.index.rest(lane, want.rest.map_or(0, |rest| after(now, rest)));
        }
        Ok(Taken { leased: Leased { leases, generation: self.generation }, events })
    }

    fn lease_one(&mut self, txn: &mut Txn<'_>, key: Key, want: &Want, now: u64) -> Result<Option<Lease>> {
        let Some(item) = self.index.get(key).copied() else { return Ok(None) };
        let mut progress = Progress::default();
        if item.stored != Stored::Nothing {
            let Some(known) = self.progress(txn, key, now)? else { return Ok(None) };
            progress = known;
        }
        progress.begun = progress.begun.saturating_add(1);
        progress.begun_at = Some(now);
        progress.token = after(now, want.hold).max(item.due.max(progress.token).saturating_add(1));
        progress.due = progress.token;
        progress.held = true;
        let (number, token) = (progress.begun, progress.token);
        txn.put_packed(Space::Deliveries, &key.bytes(), &Row::Pending(progress))?;
        self.index.hold(key, token, number, now);
        Ok(Some(Lease {
            event_id: EventId::from_bits(item.event),
            endpoint: want.endpoint.clone(),
            replay: self.index.replay(key).map(ReplayId::from_bits),
            class: item.class,
            mail: item.mail,
            number,
            token,
            hold: want.hold,
            event: None,
        }))
    }

    pub(super) fn finish(&mut self, txn: &mut Txn<'_>, all: Vec<Finished>, now: u64) -> Result<Vec<LeaseLost>> {
        let mut lost = Vec::new();
        for finished in all {
            let Finished { lease: Lease { event_id, endpoint, token, replay, .. }, .. } = &finished;
            let replay = replay.as_ref().and_then(ReplayId::bits);
            let held = event_id.bits().and_then(|event| self.index.held(event, *token, endpoint, replay));
            let (event_id, endpoint) = (event_id.clone(), endpoint.clone());
            let is_finished = match held {
                Some(held) => self.finish_one(txn, held, finished, now)?,
                None => false,
            };
            if !is_finished {
                lost.push(LeaseLost { event_id, endpoint });
            }
        }
        Ok(lost)
    }

    /// Whether the delivery could be read.
    fn finish_one(&mut self, txn: &mut Txn<'_>, held: Held, finished: Finished, now: u64) -> Result<bool> {
        let Finished { lease, attempt, then, lane } = finished;
        let Held { key, begun, begun_at } = held;
        let Some(item) = self.index.get(key).copied() else { return Ok(false) };
        let mut attempts = Vec::new();
        if item.stored == Stored::Attempts {
            let Some(known) = self.progress(txn, key, now)? else { return Ok(false) };
            attempts = known.attempts;
        }
        self.moved = true;
        let tried = item.tried || attempt.is_some();
        if let Some(attempt) = attempt {
            let replay = self.index.replay(key);
            attempts.push(self.log(txn, (key, item.event, replay), &lease.endpoint, attempt, now)?);
        }
        if let Some(lane) = lane {
            remember(txn, &lease.endpoint, lane)?;
        }
        let begun_at = Some(begun_at);
        match then {
            Then::Retry(wait) => {
                let due = after(now, wait);
                let progress = Progress { begun, begun_at, due, token: lease.token, held: false, tried, attempts };
                self.retry(txn, key, progress, now)
            }
            Then::End(status, reason) => {
                let Item { event, expires, .. } = item;
                let (endpoint, replay) = (lease.endpoint, self.index.replay(key));
                let ended_at = now;
                let ended =
                    Ended { event, endpoint, replay, status, reason, begun, begun_at, ended_at, expires, attempts };
                self.end(txn, key, ended)
            }
        }?;
        Ok(true)
    }

    fn retry(&mut self, txn: &mut Txn<'_>, key: Key, progress: Progress, now: u64) -> Result<()> {
        let (due, tried, has_attempts) = (progress.due, progress.tried, !progress.attempts.is_empty());
        txn.put_packed(Space::Deliveries, &key.bytes(), &Row::Pending(progress))?;
        self.index.set_due(key, due);
        if has_attempts && let Some(item) = self.index.get_mut(key) {
            item.stored = Stored::Attempts;
        }
        let moved = if tried { self.index.set_tried(key, now) } else { None };
        self.write_moved(txn, moved, now)
    }

    pub(super) fn end(&mut self, txn: &mut Txn<'_>, key: Key, mut ended: Ended) -> Result<()> {
        let (now, id) = (ended.ended_at, ended.event);
        let has_expired = ended.expires <= now;
        if has_expired {
            // The event has gone, and with it what would remove this row: it is kept for another lifetime.
            ended.expires = after(now, self.lifetimes.events);
        }
        // An event that goes takes with it only those that began with it.
        if has_expired || ended.replay.is_some() {
            txn.put(Space::Expiry, &Expiring::Delivery(&key.bytes()).key(ended.expires), Slice::empty());
        }
        put_ended(txn, key, ended)?;
        let moved = self.index.remove(key, now);
        if self.index.of_event(key.seq()).next().is_none() {
            txn.remove(Space::Waiting, &key.seq().to_be_bytes());
            if self.outlived.get(&id) == Some(&key.seq()) {
                self.outlived.remove(&id);
            }
        }
        self.write_moved(txn, moved, now)
    }
}

/// Keeps what a lane remembers, unless something later is kept that can be read.
fn remember(txn: &mut Txn<'_>, endpoint: &EndpointId, state: LaneState) -> Result<()> {
    let endpoint = endpoint.as_str().as_bytes();
    match txn.get_json::<LaneState>(Space::Lanes, endpoint) {
        Err(error @ StoreError::Unavailable(_)) => Err(error),
        Ok(Some(known)) if micros(known.at) > micros(state.at) => Ok(()),
        _ => txn.put_json(Space::Lanes, endpoint, &state),
    }
}
