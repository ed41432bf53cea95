//! The suppression list whole, in the order of its hashes: each partition has an index of its own, and they are merged.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redis::{Cmd, Pipeline};

use super::keys::{Partition, all};
use super::link::{Link, corrupt, read};
use super::read::{PAGE_LEN_MAX, get, parse};
use super::suppression::{AddressKeys, SUPPRESSED, parse_all, row};
use crate::domain::address::AddressHash;
use crate::domain::plan::StoredEvent;
use crate::domain::suppression::{Suppressed, Suppression, names};
use crate::store::{Page, PageQuery, Result, StoreError};

pub(super) async fn suppressed(link: &Link, keys: &AddressKeys, page: &PageQuery) -> Result<Page<Suppressed>> {
    let limit = page.limit.min(PAGE_LEN_MAX);
    let mut listed = places(link, page.cursor.as_deref(), limit + 1).await?;
    let beyond = listed.keys().nth(limit).copied();
    if let Some(beyond) = beyond {
        listed.split_off(&beyond);
    }
    let next = listed.keys().next_back().filter(|_| beyond.is_some()).map(hex::encode);
    let mut pipe = Pipeline::new();
    for (hash, partitions) in &listed {
        for partition in partitions {
            pipe.add_command(row(*partition, &hex::encode(hash)));
        }
    }
    let mut answers = link.pipe(&pipe).await?.into_iter();
    let (mut rows, mut ids) = (Vec::with_capacity(listed.len()), BTreeSet::new());
    for (hash, partitions) in listed {
        let mut reasons: Vec<Suppression> = Vec::new();
        for (partition, answer) in partitions.into_iter().zip(answers.by_ref()) {
            for reason in parse_all(answer?)? {
                // An event is where it suppresses.
                ids.extend(reason.event_id.clone().map(|id| (partition, id)));
                reasons.push(reason);
            }
        }
        // It may have been taken off since the index was read.
        if !reasons.is_empty() {
            rows.push((hash, reasons));
        }
    }
    let mut pipe = Pipeline::new();
    for (partition, id) in &ids {
        pipe.add_command(get(partition.event(id)));
    }
    let kept = link.pipe(&pipe).await?.into_iter().map(|answer| read::<Option<Vec<u8>>>(answer?));
    let kept = kept.collect::<Result<Vec<_>>>()?.into_iter().flatten();
    // One that cannot be read names nobody.
    let events: Vec<StoredEvent> = kept.filter_map(|kept| parse(&kept).ok()).map(|(_, event)| event).collect();
    let mut names = match keys.find_anew(link).await? {
        Some(key) => names(&events, &key),
        None => HashMap::new(),
    };
    let items = rows.into_iter().map(|(hash, reasons)| Suppressed::new(&hash, reasons, &mut names)).collect();
    Ok(Page { items, next })
}

/// The first of these hashes after the cursor, and in which partitions each is.
async fn places(link: &Link, cursor: Option<&str>, count: usize) -> Result<BTreeMap<AddressHash, Vec<Partition>>> {
    let after = match cursor {
        None => "-".to_owned(),
        Some(cursor) => format!("({}", hex::encode(hash(cursor).ok_or(StoreError::BadCursor)?)),
    };
    let mut pipe = Pipeline::new();
    for partition in all() {
        let mut range = Cmd::new();
        range.arg("ZRANGEBYLEX").arg(partition.key(SUPPRESSED)).arg(&after).arg("+").arg("LIMIT").arg(0).arg(count);
        pipe.add_command(range);
    }
    let mut places: BTreeMap<AddressHash, Vec<Partition>> = BTreeMap::new();
    for (partition, answer) in all().zip(link.pipe(&pipe).await?) {
        for member in read::<Vec<String>>(answer?)? {
            let hash = hash(&member).ok_or_else(|| corrupt("a hash in the suppression list"))?;
            places.entry(hash).or_default().push(partition);
        }
    }
    Ok(places)
}

fn hash(text: &str) -> Option<AddressHash> {
    hex::decode(text).ok()?.try_into().ok()
}
