//! Removes what has expired, in bounded steps.

use super::rows::{EventRow, Expiring, Key, Row, number, read_expiry_key};
use super::spaces::{Space, Spaces, Txn, engine};
use crate::store::Result;

/// After so many rows a step ends.
const STEP_ROWS: usize = 1_000;

/// One step. What it removes is no longer seen by anybody, so that nobody waits for a sync.
pub(super) fn sweep(spaces: &Spaces, now: u64) -> Result<()> {
    let mut txn = Txn::new(spaces);
    let end = now.saturating_add(1).to_be_bytes();
    for entry in spaces.of(Space::Expiry).range(..end) {
        if txn.len() >= STEP_ROWS {
            break;
        }
        let (key, value) = entry.into_inner().map_err(engine)?;
        let at = number(&key)?.0;
        match read_expiry_key(&key)? {
            (Expiring::Event, id) => remove_event(&mut txn, id, &value)?,
            (Expiring::Request, id) => remove_unless_renewed(&mut txn, Space::Requests, id, at)?,
            (Expiring::Token, id) => remove_unless_renewed(&mut txn, Space::Tokens, id, at)?,
        }
        txn.remove(Space::Expiry, &key);
    }
    txn.commit()
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
fn remove_event(txn: &mut Txn<'_>, id: &[u8], value: &[u8]) -> Result<()> {
    // The value has the same form as a delivery's key: the place in the feed, and the number of deliveries.
    let Key { seq, place: places } = Key::read(value)?;
    if let Some(row) = txn.get(Space::Events, id)?
        && EventRow::read(&row)?.seq == seq
    {
        txn.remove(Space::Events, id);
    }
    txn.remove(Space::Feed, &seq.to_be_bytes());
    for place in 0..places {
        let key = Key { seq, place };
        if let Some(row) = txn.get_json::<Row>(Space::Ended, &key.bytes())? {
            txn.remove(Space::ByStatus, &key.under(row.status));
            txn.remove(Space::Ended, &key.bytes());
        }
    }
    Ok(())
}
