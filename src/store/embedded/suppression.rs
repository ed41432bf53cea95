//! The suppression list: a row for each address and reason.

use jiff::Timestamp;

use super::read::View;
use super::rows::{Id, corrupt, micros, number, timestamp};
use super::spaces::Space;
use super::txn::Txn;
use crate::domain::address::{AddressHash, AddressKey};
use crate::domain::id::EventId;
use crate::domain::suppression::{Reason, Suppression, ToSuppress, first_of_each};
use crate::store::Result;

const HASH_LEN: usize = size_of::<AddressHash>();

/// The hash of an address, and a reason.
pub(super) type Key = [u8; HASH_LEN + 1];

fn reason_byte(reason: Reason) -> u8 {
    match reason {
        Reason::Bounce => b'b',
        Reason::Complaint => b'c',
        Reason::Unsubscribe => b'u',
        Reason::Manual => b'm',
    }
}

fn key(hash: &AddressHash, reason: Reason) -> Key {
    let mut bytes = [reason_byte(reason); HASH_LEN + 1];
    bytes[..HASH_LEN].copy_from_slice(hash);
    bytes
}

/// A key for each address.
pub(super) fn keys(suppresses: Option<&ToSuppress>, key: &AddressKey) -> Vec<Key> {
    let Some(ToSuppress { reason, addresses, .. }) = suppresses else { return Vec::new() };
    addresses.iter().map(|address| self::key(&key.hash(address), *reason)).collect()
}

/// Puts them on the list. Of each reason the earliest stays; of one time the one that is there.
pub(super) fn put(txn: &mut Txn<'_>, suppresses: Option<&ToSuppress>, keys: &[Key], event: Id) -> Result<()> {
    let Some(ToSuppress { at, .. }) = suppresses else { return Ok(()) };
    let at = micros(*at);
    for key in keys {
        let known = txn.get(Space::Suppressions, key)?.and_then(|row| number(&row).ok().map(|(known, _)| known));
        if known.is_none_or(|known| at < known) {
            txn.put(Space::Suppressions, key, [&at.to_be_bytes()[..], &event].concat());
        }
    }
    Ok(())
}

/// Puts one on the list that no event tells of, if nothing is there.
pub(super) fn put_by_hand(txn: &mut Txn<'_>, hash: &AddressHash, reason: Reason, at: Timestamp) -> Result<bool> {
    let key = key(hash, reason);
    let is_new = txn.get(Space::Suppressions, &key)?.is_none();
    if is_new {
        txn.put(Space::Suppressions, &key, micros(at).to_be_bytes().to_vec());
    }
    // Also where it was there: it may be a call that is made again.
    txn.synced = true;
    Ok(is_new)
}

/// Takes one off the list.
pub(super) fn remove(txn: &mut Txn<'_>, hash: &AddressHash) -> Result<bool> {
    let mut was_there = false;
    for key in Reason::ALL.map(|reason| key(hash, reason)) {
        if txn.get(Space::Suppressions, &key)?.is_some() {
            txn.remove(Space::Suppressions, &key);
            was_there = true;
        }
    }
    txn.synced = true;
    Ok(was_there)
}

impl View<'_> {
    pub(super) fn suppressions(&self, hash: &AddressHash) -> Result<Vec<Suppression>> {
        let mut found = Vec::new();
        for reason in Reason::ALL {
            let Some(row) = self.get(Space::Suppressions, &key(hash, reason))? else { continue };
            let (at, event) = number(&row)?;
            let event_id = match event {
                [] => None,
                event => Some(EventId::from_bits(event.try_into().map_err(|_| corrupt("a suppression"))?)),
            };
            found.push(Suppression { reason, event_id, at: timestamp(at) });
        }
        Ok(first_of_each(found))
    }
}
