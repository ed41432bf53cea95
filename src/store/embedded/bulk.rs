//! Writes ids and words in bulk, on a thread of its own, so that nobody waits for it.

use std::sync::Arc;

use fjall::AbstractTree;
use fjall::compaction::Leveled;

use super::background::Task;
use super::core::Last;
use super::ids::{Ids, Kind, Known, Swept, Tree, Trees, tree};
use crate::crash;
use crate::store::{Result, StoreError};

/// So many ids of a kind are written in one go. More take memory, and longer to be read again at start; fewer are
/// merged more often with what was written before. Without optimization few, so that tests come by here.
const BULK_LEN: usize = if cfg!(debug_assertions) { 16 } else { 128 * 1024 };
/// With so many in memory only that wait for the bulk that is being written, no events are taken: eight bulks.
pub(super) const WAITING_LEN_MAX: usize = 1024 * 1024;
/// When one in so many of those that were written is dead, all are written anew.
const DEAD_SHARE: u64 = 2;
/// How large a file of them grows.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The bulk that is being written, and through which places.
#[derive(Default)]
pub(super) struct Bulk(Option<(Task<Result<()>>, Last)>);

impl Bulk {
    /// Through which places the ids have been written, when a bulk has come to its end.
    pub(super) fn ended(&mut self, ids: &Ids) -> Result<Option<Last>> {
        let Some((task, through)) = self.0.take_if(|(task, _)| task.is_finished()) else { return Ok(None) };
        task.join()??;
        crash::point("ids.written");
        ids.forget_frozen();
        Ok(Some(through))
    }

    /// Begins to write, if there is enough and nothing is being written. All places through `last` are in `ids`.
    pub(super) fn begin(&mut self, ids: &Ids, last: Last) -> Result<()> {
        let swept = ids.swept();
        let has_dead = swept.count >= BULK_LEN as u64 && swept.count >= in_trees(ids) / DEAD_SHARE;
        if self.0.is_some() || !has_dead && ids.latest_len() < BULK_LEN {
            return Ok(());
        }
        if has_dead {
            ids.set_swept(Swept { count: 0, ..swept });
        }
        let (trees, frozen) = (ids.trees.clone(), ids.freeze());
        #[cfg(test)]
        let hold = Arc::clone(&ids.hold);
        let write = move || {
            #[cfg(test)]
            let _held = hold.blocking_lock();
            write(&trees, &frozen, swept, has_dead).map_err(tree)
        };
        self.0 = Some((Task::begin("store-ids", write)?, last));
        Ok(())
    }
}

/// Whether the ids of more events can be taken.
///
/// # Errors
/// When they cannot: too many wait for the bulk that is being written.
pub(super) fn has_room(ids: &Ids) -> Result<()> {
    if ids.latest_len() < WAITING_LEN_MAX {
        return Ok(());
    }
    Err(StoreError::Unavailable("events come in faster than their ids can be written to the disk".into()))
}

/// Words, which are as dead as the events they lead to, are not counted.
fn in_trees(ids: &Ids) -> u64 {
    ids.trees.ids.iter().map(|tree| tree.rows.approximate_len() as u64).sum()
}

/// Each tree at once or not at all, and synced.
pub(super) fn write(trees: &Trees, all: &Known, swept: Swept, has_dead: bool) -> lsm_tree::Result<()> {
    for ((tree, places), kind) in trees.ids.iter().zip(&all.ids).zip(Kind::ALL) {
        let alive = places.iter().filter(|(_, place)| !swept.is_dead(kind, **place));
        let mut alive: Vec<_> = alive.collect();
        alive.sort_unstable_by_key(|(id, _)| u128::from_be_bytes(**id));
        ingest(tree, alive.into_iter().map(|(id, place)| (*id, place.bytes())))?;
    }
    let words = all.words.rows().into_iter().filter(|(_, place)| !swept.is_dead(Kind::Event, *place));
    ingest(&trees.words, words.map(|(key, place)| (key, place.expires.to_be_bytes())))?;
    for tree in trees.all() {
        if has_dead {
            tree.rows.major_compact(FILE_BYTES, tree.seqno.get())?;
        } else {
            tree.rows.compact(Arc::new(Leveled::default().with_table_target_size(FILE_BYTES)), tree.seqno.get())?;
        }
    }
    Ok(())
}

/// Rows in the order of their keys.
fn ingest<const LEN: usize>(tree: &Tree, rows: impl Iterator<Item = ([u8; 16], [u8; LEN])>) -> lsm_tree::Result<()> {
    let mut ingestion = tree.rows.ingestion()?;
    for (key, value) in rows {
        ingestion.write(key, value)?;
    }
    ingestion.finish().map(drop)
}
