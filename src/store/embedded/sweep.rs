//! Removes what has expired, in bounded steps.

use std::time::Duration;

use super::rows::{EventRow, Expiring, Key, Row, number, read_expiry_key};
use super::spaces::{Space, Spaces, Txn, engine};
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
    /// Whether the last step left something.
    is_behind: bool,
}

impl Sweeper {
    /// Whether there is more to remove at once.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// One step, if it is time for one. What it removes is no longer seen by anybody, so nobody waits for a sync.
    /// After an error it is not to be used again.
    pub(super) fn step(&mut self, spaces: &Spaces, elapsed: Duration, now: u64) -> Result<()> {
        let is_early = self.stepped.is_some_and(|stepped| elapsed.saturating_sub(stepped) < SWEEP_EVERY);
        if is_early && !self.is_behind {
            return Ok(());
        }
        if now < self.now {
            // The clock was set back, so that something may expire earlier than what has been removed.
            self.from.clear();
        }
        (self.stepped, self.now, self.is_behind) = (Some(elapsed), now, false);
        let mut txn = Txn::new(spaces);
        let end = now.saturating_add(1).to_be_bytes().to_vec();
        if self.from >= end {
            return Ok(());
        }
        for entry in spaces.of(Space::Expiry).range(self.from.clone()..end) {
            if txn.len() >= STEP_ROWS {
                self.is_behind = true;
                break;
            }
            let (key, value) = entry.into_inner().map_err(engine)?;
            match remove(&mut txn, &key, &value, now) {
                // What cannot be read is left where it is, for it must not stop the store.
                Err(error @ StoreError::Corrupt(_)) => tracing::error!(%error, "something that expired stays"),
                removed => removed?,
            }
            txn.remove(Space::Expiry, &key);
            self.from = key.to_vec();
        }
        txn.commit()
    }
}

/// What an entry of the expiry index is about.
fn remove(txn: &mut Txn<'_>, key: &[u8], value: &[u8], now: u64) -> Result<()> {
    let at = number(key)?.0;
    match read_expiry_key(key)? {
        (Expiring::Event, id) => remove_event(txn, id, value, now),
        (Expiring::Request, id) => remove_unless_renewed(txn, Space::Requests, id, at),
        (Expiring::Token, id) => remove_unless_renewed(txn, Space::Tokens, id, at),
        (Expiring::Delivery, id) => remove_ended(txn, Key::read(id)?, now),
    }
}

fn remove_unless_renewed(txn: &mut Txn<'_>, space: Space, id: &[u8], at: u64) -> Result<()> {
    if let Some(row) = txn.get(space, id)?
        && number(&row)?.0 == at
    {
        txn.remove(space, id);
    }
    Ok(())
}

/// What is still pending stays, until whoever leases it finds no event and ends it.
fn remove_event(txn: &mut Txn<'_>, id: &[u8], value: &[u8], now: u64) -> Result<()> {
    // The value has the same form as a delivery's key: the place in the feed, and the number of deliveries.
    let Key { seq, place: places } = Key::read(value)?;
    if let Some(row) = txn.get(Space::Events, id)?
        && EventRow::read(&row)?.seq == seq
    {
        txn.remove(Space::Events, id);
    }
    txn.remove(Space::Feed, &seq.to_be_bytes());
    (0..places).try_for_each(|place| remove_ended(txn, Key { seq, place }, now))
}

/// Not one that ended later than its event expired, before its own time.
fn remove_ended(txn: &mut Txn<'_>, key: Key, now: u64) -> Result<()> {
    if let Some(row) = txn.get_json::<Row>(Space::Ended, &key.bytes())?
        && row.expires <= now
    {
        txn.remove(Space::ByStatus, &row.ended_key(key));
        txn.remove(Space::Ended, &key.bytes());
    }
    Ok(())
}
