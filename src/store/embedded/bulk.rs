//! Writes ids and words in bulk, on a thread of its own, so that nobody waits for it.

#[cfg(test)]
use std::sync::Arc;

use super::background::{Pace, Task};
use super::core::Last;
use super::ids::{Ids, Kind, Known, Swept};
use super::merge::Merge;
use super::tree::{Trees, tree};
use crate::crash;
use crate::store::{Result, StoreError};

/// So many ids of a kind are written in one go. More take memory, and longer to be read again at start; fewer are
/// merged more often with what was written before. Without optimization few, so that tests come by here.
const BULK_LEN: usize = if cfg!(debug_assertions) { 16 } else { 128 * 1024 };
/// With so many in memory only that wait to be written, no events are taken: eight bulks.
pub(super) const WAITING_LEN_MAX: usize = 1024 * 1024;
/// When one in so many of those that were written is dead, all are written anew.
const DEAD_SHARE: u64 = 2;

/// What is being written, and what becomes of it then.
pub(super) struct Bulk {
    /// Dropped first: it need not come to its end.
    merge: Merge,
    writing: Option<Writing>,
}

struct Writing {
    task: Task<Result<()>>,
    through: Last,
    /// How many are dead, if that are so many that all are written anew.
    dead: Option<u64>,
}

impl Bulk {
    pub(super) fn open(ids: &Ids) -> Result<Self> {
        Ok(Self { merge: Merge::open(&ids.trees)?, writing: None })
    }

    /// Through which places the ids have been written, when a bulk has come to its end.
    pub(super) fn ended(&mut self, ids: &Ids) -> Result<Option<Last>> {
        let Some(writing) = self.writing.take_if(|writing| writing.task.is_finished()) else { return Ok(None) };
        writing.task.join()??;
        crash::point("ids.written");
        ids.forget_frozen();
        self.merge.add(writing.dead);
        Ok(Some(writing.through))
    }

    /// Begins to write, if there is enough and nothing is being written. All places through `last` are in `ids`.
    pub(super) fn begin(&mut self, ids: &Ids, last: Last) -> Result<()> {
        self.merge.step(ids)?;
        let (len, swept) = (ids.latest_len(), ids.swept());
        if let Some(writing) = self.writing.as_ref().filter(|_| len >= BULK_LEN) {
            writing.task.hurry();
        }
        let pays = swept.count >= BULK_LEN as u64 && swept.count >= ids.trees.len() as u64 / DEAD_SHARE;
        let dead = (pays && !self.merge.is_to_write_anew()).then_some(swept.count);
        if self.writing.is_some() || dead.is_none() && len < BULK_LEN {
            return Ok(());
        }
        if !ids.trees.has_room() {
            // What is dead is left out later: to merge makes room sooner.
            self.merge.add(None);
            return self.merge.step(ids);
        }
        let (trees, frozen) = (ids.trees.clone(), ids.freeze());
        #[cfg(test)]
        let hold = Arc::clone(&ids.hold);
        let write = move |mut pace: Pace| {
            #[cfg(test)]
            let _held = hold.blocking_lock();
            write(&trees, &frozen, swept, &mut pace).map_err(tree)
        };
        // When it is behind, events are about to be refused.
        let begin = if len < 2 * BULK_LEN { Task::begin } else { Task::begin_pressing };
        self.writing = Some(Writing { task: begin("store-ids", write)?, through: last, dead });
        Ok(())
    }
}

/// Whether the ids of more events can be taken.
///
/// # Errors
/// When they cannot: too many wait to be written.
pub(super) fn has_room(ids: &Ids) -> Result<()> {
    if ids.latest_len() < WAITING_LEN_MAX {
        return Ok(());
    }
    Err(StoreError::Unavailable("events come in faster than their ids can be written to the disk".into()))
}

/// Each tree at once or not at all, and synced.
pub(super) fn write(trees: &Trees, all: &Known, swept: Swept, pace: &mut Pace) -> lsm_tree::Result<()> {
    for ((ids, places), kind) in trees.ids.iter().zip(&all.ids).zip(Kind::ALL) {
        let alive = places.iter().filter(|(_, place)| !swept.is_dead(kind, **place));
        let mut alive: Vec<_> = alive.collect();
        alive.sort_unstable_by_key(|(id, _)| u128::from_be_bytes(**id));
        ids.write(&alive, pace)?;
    }
    let words = all.words.rows().into_iter().filter(|(_, place)| !swept.is_dead(Kind::Event, *place));
    trees.words.write(words.map(|(key, place)| (key, place.expires.to_be_bytes())), pace)
}

#[cfg(test)]
mod tests {
    use super::super::background::tests::{ends, task};
    use super::super::ids::Named;
    use super::super::rows::Place;
    use super::*;

    #[test]
    fn a_bulk_that_the_next_comes_to_wait_for_is_written_without_pauses() {
        let dir = tempfile::tempdir().unwrap();
        let ids = Ids::open(dir.path()).unwrap();
        let writing = Writing { task: task(), through: Last::default(), dead: None };
        let mut bulk = Bulk { writing: Some(writing), ..Bulk::open(&ids).unwrap() };
        let place = Place { seq: 1, expires: u64::MAX };
        let id = |number: usize| (Kind::Event, (number as u128).to_be_bytes(), place);
        ids.add(Named { ids: (0..BULK_LEN).map(id).collect(), words: Vec::new() });
        bulk.begin(&ids, Last::default()).unwrap();
        assert!(bulk.writing.as_ref().is_some_and(|writing| ends(&writing.task)));
    }
}
