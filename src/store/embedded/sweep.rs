//! Removes what has expired, in bounded steps.

use std::time::Duration;

use super::access::forget_expired;
use super::core::{Core, SWEPT};
use super::counts;
use super::delivery::{Row, Waiting};
use super::ids::Swept;
use super::jobs::forget_job;
use super::range::Span;
use super::rows::{EventRow, Expiring, Key, RequestRow, after, number, timestamp, unpack};
use super::spaces::{Space, Spaces};
use super::tally;
use super::txn::Txn;
use crate::domain::delivery_counts::Hour;
use crate::domain::retention::Lifetimes;
use crate::store::{Result, StoreError};

/// After so many rows a step ends.
const STEP_ROWS: usize = 1_000;
/// How often what has expired is looked for.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How far sweeping has got.
#[derive(Default)]
pub(super) struct Sweeper {
    /// When the last step was made, on the clock that never steps.
    stepped: Option<Duration>,
    /// The time of that step.
    now: u64,
    /// What expired before this entry has been removed. It is not looked at again, for the engine would walk over all
    /// that was removed.
    from: Vec<u8>,
    /// What that entry is about has been removed before this place.
    from_place: u64,
    /// How many ids of events and requests, and fingerprints, were made dead since that was last written down.
    removed: u64,
    /// What was counted before this hour has been removed.
    counted: u32,
    /// Whether the last step left something.
    is_behind: bool,
}

impl Sweeper {
    /// Whether there is more to remove at once.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// One step, if it is time for one. What it removes is no longer seen by anybody, so nobody waits for a sync; logs of
    /// attempts are cut to so many bytes.
    /// After an error it is not to be used again.
    pub(super) fn step(
        &mut self,
        spaces: &Spaces,
        core: &mut Core,
        log_bytes: u64,
        elapsed: Duration,
        now: u64,
    ) -> Result<()> {
        let is_early = self.stepped.is_some_and(|stepped| elapsed.saturating_sub(stepped) < SWEEP_EVERY);
        if is_early && !self.is_behind {
            return Ok(());
        }
        if now < self.now {
            // The clock was set back, so that something may expire earlier than what has been removed.
            self.from.clear();
            self.counted = 0;
        }
        (self.stepped, self.now, self.is_behind) = (Some(elapsed), now, false);
        let mut txn = Txn::new(spaces);
        // First, for it does not see what is removed below.
        let is_cut = core.logs.cut(&mut txn, log_bytes, STEP_ROWS)?;
        let due = Span::from(Space::Expiry, self.from.clone()).to(now.saturating_add(1).to_be_bytes());
        for entry in spaces.range(&due) {
            let (key, value) = entry?;
            if self.from != *key {
                (self.from, self.from_place) = (key.to_vec(), 0);
            }
            match self.remove(&mut txn, core, (&key, &value), now) {
                Ok(true) => {}
                Ok(false) => {
                    self.is_behind = true;
                    break;
                }
                // What cannot be read is left where it is, for it must not stop the store.
                Err(error @ StoreError::Corrupt(_)) => tell(&error),
                Err(error) => return Err(error),
            }
            txn.remove(Space::Expiry, &key);
        }
        // Twice, for what ended when its event had expired is kept for another lifetime.
        core.logs.forget_cuts(now.saturating_sub(after(0, core.lifetimes.events.saturating_mul(2))));
        core.logs.write(&mut txn)?;
        let is_forgotten = self.forget_counts(&mut txn, core, now)?;
        self.is_behind |= !(is_cut && is_forgotten);
        let swept = spaces.ids.swept();
        if self.is_behind || now < swept.until || txn.len() == 0 {
            return txn.commit();
        }
        let count = swept.count + std::mem::take(&mut self.removed);
        let swept = Swept { until: now, last: core.last, count };
        txn.put_packed(Space::Meta, SWEPT, &swept)?;
        txn.commit()?;
        spaces.ids.set_swept(swept);
        Ok(())
    }

    /// What was counted, once an hour: of deliveries by the hour, and of sources that have gone. Whether that was all.
    fn forget_counts(&mut self, txn: &mut Txn<'_>, core: &Core, now: u64) -> Result<bool> {
        let before = Hour::of(timestamp(now.saturating_sub(after(0, core.lifetimes.events)))).0;
        if before <= self.counted {
            return Ok(true);
        }
        if !counts::forget(txn, self.counted, before, STEP_ROWS)? {
            return Ok(false);
        }
        let tallies = core.lifetimes.events.saturating_mul(Lifetimes::OF_TALLIES);
        match tally::forget(txn, now.saturating_sub(after(0, tallies))) {
            Err(error @ StoreError::Corrupt(_)) => tell(&error),
            forgotten => forgotten?,
        }
        self.counted = before;
        Ok(true)
    }

    /// What an entry of the expiry index is about. Whether that was all of it.
    fn remove(&mut self, txn: &mut Txn<'_>, core: &mut Core, (key, value): (&[u8], &[u8]), now: u64) -> Result<bool> {
        if txn.len() >= STEP_ROWS {
            return Ok(false);
        }
        let at = number(key)?.0;
        let (space, first): (_, u64) = match Expiring::read(key)? {
            Expiring::Token(token) => return remove_unless_renewed(txn, token, at).map(|()| true),
            Expiring::Delivery(delivery) => {
                let key = Key::read(delivery)?;
                remove_ended(txn, core, key, now)?;
                return take_off_list(txn, core, key.seq()).map(|_| true);
            }
            Expiring::Replays(seq) => {
                txn.remove(Space::Replays, seq);
                return Ok(true);
            }
            Expiring::Job(id) => return forget_job(txn, id).map(|()| true),
            Expiring::Access(row) => return forget_expired(txn, row, now).map(|()| true),
            Expiring::Events(first) => (Space::Events, first),
            Expiring::Requests(first) => (Space::Requests, first),
        };
        let (first, last) = (first.max(self.from_place), number(value)?.0);
        let span = Span::from(space, first.to_be_bytes()).to(last.saturating_add(1).to_be_bytes());
        for row in txn.spaces.range(&span) {
            let (seq, row) = row?;
            self.from_place = number(&seq)?.0;
            if txn.len() >= STEP_ROWS {
                return Ok(false);
            }
            let removed = match space {
                Space::Events => remove_event(txn, core, self.from_place, &row, now),
                _ => remove_request(txn, self.from_place, &row, now),
            };
            match removed {
                Err(error @ StoreError::Corrupt(_)) => tell(&error),
                removed => self.removed += removed?,
            }
        }
        Ok(true)
    }
}

fn tell(error: &StoreError) {
    tracing::error!(%error, "something that expired stays");
}

fn remove_unless_renewed(txn: &mut Txn<'_>, token: &[u8], at: u64) -> Result<()> {
    if let Some(row) = txn.get(Space::Tokens, token)?
        && number(&row)?.0 == at
    {
        txn.remove(Space::Tokens, token);
    }
    Ok(())
}

/// Requests of one batch may have two lifetimes; each goes in its own time.
fn remove_request(txn: &mut Txn<'_>, seq: u64, row: &[u8], now: u64) -> Result<u64> {
    let has_expired = RequestRow::read(row)?.expires <= now;
    if has_expired {
        let seq = seq.to_be_bytes();
        txn.remove(Space::Requests, &seq);
        if txn.get(Space::Incomplete, &seq)?.is_some() {
            txn.remove(Space::Incomplete, &seq);
        }
    }
    Ok(u64::from(has_expired))
}

/// What is still pending stays, until whoever leases it finds no event and ends it; the same identity is to find it.
/// Events of one batch may expire at different times, where some were reprocessed.
fn remove_event(txn: &mut Txn<'_>, core: &mut Core, seq: u64, row: &[u8], now: u64) -> Result<u64> {
    let EventRow { id, places, expires, fingerprint, .. } = EventRow::read(row)?;
    if expires > now {
        return Ok(0);
    }
    txn.remove(Space::Events, &seq.to_be_bytes());
    (0..places).try_for_each(|place| remove_ended(txn, core, Key::new(seq, place), now))?;
    if take_off_list(txn, core, seq)? && places > 0 {
        core.outlived.insert(id, seq);
    }
    Ok(1 + u64::from(fingerprint.is_some()))
}

/// Leaves of the deliveries of an event that are pending those that are: without its row, one that has ended would look as
/// if it had never begun. Whether there are any.
fn take_off_list(txn: &mut Txn<'_>, core: &Core, seq: u64) -> Result<bool> {
    let key = seq.to_be_bytes();
    let Some(row) = txn.get(Space::Waiting, &key)? else { return Ok(false) };
    let Ok(mut waiting) = unpack::<Waiting>(&row) else { return Ok(true) };
    let ended = waiting.planned.extract_if(.., |one| core.index.get(Key::new(seq, one.place)).is_none()).count();
    if waiting.planned.is_empty() {
        txn.remove(Space::Waiting, &key);
    } else if ended > 0 {
        txn.put_packed(Space::Waiting, &key, &waiting)?;
    }
    Ok(!waiting.planned.is_empty())
}

/// Not one that ended later than its event expired, before its own time.
fn remove_ended(txn: &mut Txn<'_>, core: &mut Core, key: Key, now: u64) -> Result<()> {
    if let Some(row) = txn.get(Space::Deliveries, &key.bytes())?
        && let Row::Ended(ended) = unpack(&row)?
        && ended.expires <= now
    {
        txn.remove(Space::ByStatus, &ended.index_key(key));
        txn.remove(Space::Deliveries, &key.bytes());
        core.unlog(txn, &ended.endpoint, key, &ended.attempts);
    }
    Ok(())
}
