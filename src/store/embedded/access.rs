//! The audit log, claims, and the last use of API keys.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fjall::Slice;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Embedded;
use super::batch::decide;
use super::core::Core;
use super::range::Span;
use super::read::{View, collect, cursor};
use super::rows::{Expiring, after, decode, micros, number, timestamp, unpack};
use super::spaces::{Space, Spaces};
use super::txn::Txn;
use crate::domain::address::Address;
use crate::domain::audit::{Entry, LIFETIME};
use crate::domain::id::SuppressionId;
use crate::store::access::{Access, Bits, CLAIM_LIFETIME, Claim, Kept};
use crate::store::{Page, PageQuery, Result, StoreError};

/// What the keys of the space lead with: an entry's stamp, a claim's key, an API key's name; those of
/// consumers are in [`feed`](super::feed).
const ENTRY: u8 = b'e';
const CLAIM: u8 = b'c';
const USE: u8 = b'u';

const STAMP_LEN: usize = size_of::<u64>();

fn key(of: u8, rest: &[u8]) -> Vec<u8> {
    [&[of], rest].concat()
}

/// What is kept of a claim, and until when.
#[derive(Serialize, Deserialize)]
struct ClaimRow {
    expires: u64,
    claim: Claim,
}

/// The stamp of the latest entry.
pub(super) fn latest(spaces: &Spaces) -> Result<u64> {
    let entries = Span::from(Space::Access, [ENTRY]).to([ENTRY + 1]).back();
    match spaces.range(&entries).next().transpose()? {
        Some((key, _)) => Ok(number(key.get(1..).unwrap_or_default())?.0),
        None => Ok(0),
    }
}

/// Removes an entry, or a claim, unless that was renewed. `key` is that of its row.
pub(super) fn forget_expired(txn: &mut Txn<'_>, key: &[u8], now: u64) -> Result<()> {
    let is_renewed = match key.first() {
        Some(&CLAIM) => {
            let row = txn.get(Space::Access, key)?.map(|row| unpack::<ClaimRow>(&row)).transpose()?;
            row.is_some_and(|row| row.expires > now)
        }
        _ => false,
    };
    if !is_renewed {
        txn.remove(Space::Access, key);
    }
    Ok(())
}

impl Core {
    /// Each entry is under a time of its own, which only grows.
    pub(super) fn note(&mut self, txn: &mut Txn<'_>, entries: &[Entry], now: u64) -> Result<()> {
        for entry in entries {
            self.audited = now.max(self.audited.saturating_add(1));
            let key = key(ENTRY, &self.audited.to_be_bytes());
            txn.put_json(Space::Access, &key, entry)?;
            txn.put(Space::Expiry, &Expiring::Access(&key).key(after(now, LIFETIME)), Slice::empty());
        }
        txn.synced = true;
        Ok(())
    }
}

fn claim(txn: &mut Txn<'_>, id: Bits, claim: Claim, now: u64) -> Result<Claim> {
    // Also where it is known: whoever asks waits for it as for the first.
    txn.synced = true;
    let key = key(CLAIM, &id);
    let known = txn.get(Space::Access, &key)?.map(|row| unpack::<ClaimRow>(&row)).transpose()?;
    if let Some(known) = known.filter(|known| known.expires > now) {
        return Ok(known.claim);
    }
    let expires = after(now, CLAIM_LIFETIME);
    txn.put_packed(Space::Access, &key, &ClaimRow { expires, claim: claim.clone() })?;
    txn.put(Space::Expiry, &Expiring::Access(&key).key(expires), Slice::empty());
    Ok(claim)
}

fn settle(txn: &mut Txn<'_>, id: Bits, made: String) -> Result<()> {
    let key = key(CLAIM, &id);
    if let Some(row) = txn.get(Space::Access, &key)? {
        let mut row: ClaimRow = unpack(&row)?;
        row.claim.made = Some(made);
        txn.put_packed(Space::Access, &key, &row)?;
        txn.synced = true;
    }
    Ok(())
}

fn note_uses(txn: &mut Txn<'_>, uses: &BTreeMap<String, Timestamp>) -> Result<()> {
    for (name, at) in uses {
        let (key, at) = (key(USE, name.as_bytes()), micros(*at));
        let known = txn.get(Space::Access, &key)?.map_or(Ok(0), |row| number(&row).map(|(at, _)| at))?;
        if at > known {
            txn.put(Space::Access, &key, at.to_be_bytes());
        }
    }
    Ok(())
}

impl View<'_> {
    fn audit(&self, page: &PageQuery) -> Result<Page<Kept>> {
        let first = self.now().saturating_sub(u64::try_from(LIFETIME.as_micros()).unwrap_or(u64::MAX));
        let end = key(ENTRY, &cursor(page, STAMP_LEN)?);
        let span = Span::from(Space::Access, key(ENTRY, &first.to_be_bytes())).to(end).back();
        let rows = self.range(&span).map(|row| {
            let (key, row) = row?;
            Ok((key.get(1..).unwrap_or_default().to_vec(), row))
        });
        collect(rows, page, |(stamp, row)| {
            let id = format!("aud_{}", hex::encode(&stamp));
            match decode(&row) {
                Ok(entry) => Ok(Some(Kept { id, entry })),
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!(entry.id = id, %error, "an entry of the audit log is passed over");
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })
    }

    fn used(&self, name: &str) -> Result<Option<Timestamp>> {
        let row = self.get(Space::Access, &key(USE, name.as_bytes()))?;
        row.map(|row| Ok(timestamp(number(&row)?.0))).transpose()
    }
}

#[async_trait]
impl Access for Embedded {
    async fn note(&self, entries: &[Entry]) -> Result<()> {
        let entries = entries.to_vec();
        self.ask(|answer| decide(answer, move |core, txn, now| core.note(txn, &entries, now))).await
    }

    async fn audit(&self, page: &PageQuery) -> Result<Page<Kept>> {
        let page = page.clone();
        self.read(move |view| view.audit(&page)).await
    }

    async fn address_id(&self, address: &Address) -> Result<SuppressionId> {
        Ok(SuppressionId::of(&self.address_key.hash(address)))
    }

    async fn claim(&self, key: Bits, asked: &Claim) -> Result<Claim> {
        let asked = asked.clone();
        self.ask(|answer| decide(answer, move |_, txn, now| claim(txn, key, asked, now))).await
    }

    async fn settle(&self, key: Bits, made: &str) -> Result<()> {
        let made = made.to_owned();
        self.ask(|answer| decide(answer, move |_, txn, _| settle(txn, key, made))).await
    }

    async fn note_uses(&self, uses: &BTreeMap<String, Timestamp>) -> Result<()> {
        let uses = uses.clone();
        self.ask(|answer| decide(answer, move |_, txn, _| note_uses(txn, &uses))).await
    }

    async fn uses(&self, names: Vec<String>) -> Result<Vec<Option<Timestamp>>> {
        self.read(move |view| names.iter().map(|name| view.used(name)).collect()).await
    }
}
