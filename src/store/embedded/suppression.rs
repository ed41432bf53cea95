//! The suppression list: a row for each address and reason.

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
    }
}

/// A key for each address.
pub(super) fn keys(suppresses: Option<&ToSuppress>, key: &AddressKey) -> Vec<Key> {
    let Some(ToSuppress { reason, addresses, .. }) = suppresses else { return Vec::new() };
    let keys = addresses.iter().map(|address| {
        let mut bytes = [reason_byte(*reason); HASH_LEN + 1];
        bytes[..HASH_LEN].copy_from_slice(&key.hash(address));
        bytes
    });
    keys.collect()
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

impl View<'_> {
    pub(super) fn suppressions(&self, hash: &AddressHash) -> Result<Vec<Suppression>> {
        let mut found = Vec::new();
        for reason in Reason::ALL {
            let key = [&hash[..], &[reason_byte(reason)]].concat();
            let Some(row) = self.get(Space::Suppressions, &key)? else { continue };
            let (at, event) = number(&row)?;
            let event = event.try_into().map_err(|_| corrupt("a suppression"))?;
            found.push(Suppression { reason, event_id: EventId::from_bits(event), at: timestamp(at) });
        }
        Ok(first_of_each(found))
    }
}
