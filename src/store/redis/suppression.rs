//! The suppression list, and the key of the hashes that it is kept under.
//!
//! The key is made once, by `SET NX` in the first partition; each has a copy, so that a script sees whether the hashes
//! it is given are made with it, and so that it outlives the loss of a partition.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use redis::{Cmd, Pipeline, Value};

use super::keys::{Partition, all};
use super::link::{Call, Link, corrupt, missing, read};
use super::read::get;
use super::rows::timestamp;
use super::scripts;
use crate::crash;
use crate::domain::address::{Address, AddressKey};
use crate::domain::suppression::{Reason, Suppression, first_of_each};
use crate::store::{Result, StoreError, random};

const KEY: &str = "address_key";
/// The index of what is on the list.
pub(super) const SUPPRESSED: &str = "sups";

/// The key, as far as this gateway knows it: another dataset may have taken the place of the one that it was read from.
#[derive(Default)]
pub(super) struct AddressKeys(Mutex<Option<Arc<AddressKey>>>);

impl AddressKeys {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<AddressKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self) -> Option<Arc<AddressKey>> {
        self.lock().clone()
    }

    /// The key that all partitions have from now on; made if none has any.
    pub(super) async fn settle(&self, link: &Link) -> Result<Arc<AddressKey>> {
        let copies = copies(link).await?;
        let ours = match copies.iter().flatten().next().cloned().or_else(|| self.known().map(|key| text(&key))) {
            Some(ours) => ours,
            None => text(&AddressKey::new(random()?)),
        };
        let mut set = Cmd::new();
        set.arg("SET").arg(Partition::FIRST.key(KEY)).arg(&ours).arg("NX").arg("GET");
        let settled = link.kept().send::<Option<String>>(set).await?.unwrap_or(ours);
        crash::point("address_key.settled");
        let mut pipe = Pipeline::new();
        for (partition, copy) in all().zip(copies) {
            if copy.as_ref() != Some(&settled) {
                pipe.add_command(Cmd::new().arg("SET").arg(partition.key(KEY)).arg(&settled).clone());
            }
        }
        for answer in link.kept().pipe(&pipe).await? {
            answer?;
        }
        self.learn(&settled)
    }

    /// The key; made if there is none.
    pub(super) async fn get(&self, link: &Link) -> Result<Arc<AddressKey>> {
        match self.find(link).await? {
            Some(key) => Ok(key),
            None => self.settle(link).await,
        }
    }

    /// The key, if there is one.
    async fn find(&self, link: &Link) -> Result<Option<Arc<AddressKey>>> {
        match self.known() {
            Some(key) => Ok(Some(key)),
            None => self.find_anew(link).await,
        }
    }

    /// The same, as the dataset of this moment has it.
    pub(super) async fn find_anew(&self, link: &Link) -> Result<Option<Arc<AddressKey>>> {
        copies(link).await?.into_iter().flatten().next().map(|copy| self.learn(&copy)).transpose()
    }

    /// The key that the dataset has now, if it has one: what another finds nothing under is not empty for that.
    ///
    /// # Errors
    /// Also while partitions differ in theirs.
    pub(super) async fn current(&self, link: &Link) -> Result<Option<Arc<AddressKey>>> {
        let mut copies: Vec<_> = copies(link).await?.into_iter().flatten().collect();
        copies.dedup();
        match copies.as_slice() {
            [] => Ok(None),
            [copy] => match self.known().filter(|key| text(key) == *copy) {
                Some(key) => Ok(Some(key)),
                None => self.learn(copy).map(Some),
            },
            _ => Err(differ()),
        }
    }

    fn learn(&self, copy: &str) -> Result<Arc<AddressKey>> {
        let key = copy.split_once(':').and_then(|(_, key)| AddressKey::read(key));
        let key = Arc::new(key.ok_or_else(|| corrupt("the key of addresses"))?);
        *self.lock() = Some(Arc::clone(&key));
        Ok(key)
    }
}

/// A copy: what tells the key from another, for scripts, and the key.
fn text(key: &AddressKey) -> String {
    format!("{}:{}", key.id(), key.text())
}

/// That of each partition, if it has one.
async fn copies(link: &Link) -> Result<Vec<Option<String>>> {
    let mut pipe = Pipeline::new();
    for partition in all() {
        pipe.add_command(get(partition.key(KEY)));
    }
    link.pipe(&pipe).await?.into_iter().map(|answer| read(answer?)).collect()
}

pub(super) async fn suppressions(link: &Link, keys: &AddressKeys, address: &Address) -> Result<Vec<Suppression>> {
    for _ in 0..2 {
        let Some(key) = keys.find(link).await? else { return Ok(Vec::new()) };
        if let Some(found) = listed(link, &key, address).await? {
            return Ok(first_of_each(found));
        }
        *keys.lock() = None;
    }
    Err(differ())
}

/// Where another key has taken the place of the one that a hash was made with.
const OTHER_KEY: i64 = -1;

/// In a partition by the address: who reads asks all.
pub(super) async fn suppress(
    link: &Link,
    keys: &AddressKeys,
    address: &Address,
    reason: Reason,
    at: Timestamp,
) -> Result<bool> {
    let mut key = keys.get(link).await?;
    for _ in 0..2 {
        let hash = hex::encode(key.hash(address));
        let names = [KEY, &row_name(&hash), SUPPRESSED];
        let mut call = Call::new(&scripts::SUPPRESS, Partition::of_bytes(hash.as_bytes()), &names);
        call.arg(key.id()).arg(&hash).arg(reason.as_str()).arg(format!("{}|", at.as_microsecond()));
        match link.kept().run_one::<i64>(call).await? {
            OTHER_KEY => key = keys.settle(link).await?,
            put => return Ok(put > 0),
        }
    }
    Err(differ())
}

pub(super) async fn unsuppress(link: &Link, keys: &AddressKeys, address: &Address) -> Result<bool> {
    // With the key that all have: what is kept under another is found by nobody.
    let hash = hex::encode(keys.settle(link).await?.hash(address));
    let mut calls = Vec::new();
    for partition in all() {
        let mut call = Call::new(&scripts::UNSUPPRESS, partition, &[SUPPRESSED, &row_name(&hash)]);
        call.arg(&hash);
        calls.push(call);
    }
    Ok(link.kept().run_all::<i64>(calls).await?.into_iter().any(|removed| removed > 0))
}

fn differ() -> StoreError {
    StoreError::Unavailable("partitions differ in their key of addresses".into())
}

/// What all partitions have of an address; none if one of them keeps addresses under another key.
async fn listed(link: &Link, key: &AddressKey, address: &Address) -> Result<Option<Vec<Suppression>>> {
    let (ours, hash) = (text(key), hex::encode(key.hash(address)));
    let mut pipe = Pipeline::new();
    for partition in all() {
        pipe.add_command(get(partition.key(KEY)));
        pipe.add_command(row(partition, &hash));
    }
    let (mut answers, mut found) = (link.pipe(&pipe).await?.into_iter(), Vec::new());
    while let Some(copy) = answers.next() {
        if read::<Option<String>>(copy?)?.is_some_and(|copy| copy != ours) {
            return Ok(None);
        }
        found.extend(parse_all(answers.next().ok_or_else(missing)??)?);
    }
    Ok(Some(found))
}

fn row_name(hash: &str) -> String {
    format!("sup:{hash}")
}

pub(super) fn row(partition: Partition, hash: &str) -> Cmd {
    Cmd::new().arg("HGETALL").arg(partition.key(&row_name(hash))).clone()
}

pub(super) fn parse_all(answer: Value) -> Result<Vec<Suppression>> {
    let rows = read::<BTreeMap<String, String>>(answer)?.into_iter();
    let parse = |(reason, row): (String, String)| parse(&reason, &row);
    rows.map(|row| parse(row).ok_or_else(|| corrupt("a suppression that cannot be read"))).collect()
}

/// When the event happened, and its id, if it was an event.
fn parse(reason: &str, row: &str) -> Option<Suppression> {
    let (at, event) = row.split_once('|')?;
    let event_id = (!event.is_empty()).then(|| event.into());
    Some(Suppression { reason: Reason::by_name(reason)?, event_id, at: timestamp(at)? })
}
