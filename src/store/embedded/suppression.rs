//! The suppression list: a row for each address and reason.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::range::Span;
use super::read::View;
use super::rows::{Id, corrupt, micros, number, timestamp};
use super::spaces::Space;
use super::txn::Txn;
use crate::domain::address::{AddressHash, AddressKey};
use crate::domain::id::EventId;
use crate::domain::suppression::{Reason, Suppressed, Suppression, ToSuppress, first_of_each, names};
use crate::store::{Page, PageQuery, Result, StoreError};

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
            found.push(read(reason, &row)?);
        }
        Ok(first_of_each(found))
    }

    pub(super) fn suppressed(&self, page: &PageQuery, address_key: &AddressKey) -> Result<Page<Suppressed>> {
        let mut start =
            page.cursor.as_deref().map_or(Ok(Vec::new()), hex::decode).map_err(|_| StoreError::BadCursor)?;
        if !start.is_empty() {
            if start.len() != HASH_LEN {
                return Err(StoreError::BadCursor);
            }
            // After all reasons of it.
            start.push(u8::MAX);
        }
        let mut found: Vec<(AddressHash, Vec<Suppression>)> = Vec::new();
        let mut next = None;
        for row in self.range(&Span::from(Space::Suppressions, start)) {
            let (key, row) = row?;
            let (hash, reason) = read_key(&key)?;
            let is_full = found.len() >= page.limit;
            match found.last_mut() {
                Some((last, reasons)) if *last == hash => reasons.push(read(reason, &row)?),
                last if is_full => {
                    next = last.map(|(hash, _)| hex::encode(hash));
                    break;
                }
                _ => found.push((hash, vec![read(reason, &row)?])),
            }
        }
        let ids: BTreeSet<&EventId> =
            found.iter().flat_map(|(_, reasons)| reasons).filter_map(|one| one.event_id.as_ref()).collect();
        let events = ids.into_iter().filter_map(|id| self.event(id).transpose()).collect::<Result<Vec<_>>>()?;
        let mut names = names(&events, address_key);
        let items = found.into_iter().map(|(hash, reasons)| Suppressed::new(&hash, reasons, &mut names)).collect();
        Ok(Page { items, next })
    }
}

fn read_key(key: &[u8]) -> Result<(AddressHash, Reason)> {
    let read = || {
        let (hash, reason) = key.split_first_chunk()?;
        let reason = Reason::ALL.into_iter().find(|known| [reason_byte(*known)] == *reason)?;
        Some((*hash, reason))
    };
    read().ok_or_else(|| corrupt("a suppression's key"))
}

fn read(reason: Reason, row: &[u8]) -> Result<Suppression> {
    let (at, event) = number(row)?;
    let event_id = match event {
        [] => None,
        event => Some(EventId::from_bits(event.try_into().map_err(|_| corrupt("a suppression"))?)),
    };
    Ok(Suppression { reason, event_id, at: timestamp(at) })
}
