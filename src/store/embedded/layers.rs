//! Rows that are committed and that the engine does not have yet: they are seen before its own.
//!
//! There are two layers at most: of the turn of the [log](super::log) that is being written, and of the one before,
//! while it is given to the engine. Whoever reads takes both and then looks into the engine, so that a row is in one of
//! the three whatever happens meanwhile.

use std::collections::btree_map::{BTreeMap, Entry};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fjall::Slice;

use super::spaces::Space;

/// A row to be written; removed where there is no value.
pub(super) struct Row {
    pub(super) space: Space,
    pub(super) key: Slice,
    pub(super) value: Option<Slice>,
    /// Whether there was never one with this key.
    pub(super) is_new: bool,
}

/// What became of a row.
#[derive(Clone)]
pub(super) struct Latest {
    /// None when it was removed.
    pub(super) value: Option<Slice>,
    /// Whether no earlier layer, and not the engine, knows of it.
    is_new: bool,
}

/// The key of a row, led by its first bytes as a number: most keys differ there, and numbers are compared at once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct LayerKey {
    /// What is shorter is filled up with zeros, and told apart by the rest.
    lead: u64,
    all: Slice,
}

impl From<Slice> for LayerKey {
    fn from(all: Slice) -> Self {
        let (mut lead, len) = ([0; 8], all.len().min(8));
        lead[..len].copy_from_slice(&all[..len]);
        Self { lead: u64::from_be_bytes(lead), all }
    }
}

type Rows = [BTreeMap<LayerKey, Latest>; Space::COUNT];

/// The rows of one turn.
#[derive(Default)]
pub(super) struct Layer(RwLock<Rows>);

impl Layer {
    fn rows(&self) -> RwLockReadGuard<'_, Rows> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows_mut(&self) -> RwLockWriteGuard<'_, Rows> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the rows of one commit: they are seen together. One that came and went here leaves nothing.
    pub(super) fn add(&self, rows: impl IntoIterator<Item = Row>) {
        let mut all = self.rows_mut();
        for Row { space, key, value, is_new } in rows {
            match all[space as usize].entry(key.into()) {
                Entry::Vacant(entry) => {
                    entry.insert(Latest { value, is_new });
                }
                Entry::Occupied(entry) if value.is_none() && entry.get().is_new => {
                    entry.remove();
                }
                Entry::Occupied(mut entry) => entry.get_mut().value = value,
            }
        }
    }

    /// How much it has of a space.
    pub(super) fn bytes(&self, space: Space) -> usize {
        let len =
            |(key, latest): (&LayerKey, &Latest)| key.all.len() + latest.value.as_ref().map_or(0, |value| value.len());
        self.rows()[space as usize].iter().map(len).sum()
    }

    /// Calls with each row of a space, in the order of their keys.
    pub(super) fn for_each(&self, space: Space, mut call: impl FnMut(&Slice, Option<&Slice>)) {
        self.rows()[space as usize].iter().for_each(|(key, latest)| call(&key.all, latest.value.as_ref()));
    }

    /// The keys of all rows; what was gone by is freed.
    pub(super) fn into_keys(self) -> impl Iterator<Item = Slice> {
        let rows = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        rows.into_iter().flatten().map(|(key, _)| key.all)
    }

    fn get(&self, space: Space, key: &[u8]) -> Option<Option<Slice>> {
        self.rows()[space as usize].get(&Slice::from(key).into()).map(|latest| latest.value.clone())
    }

    /// At most so many rows between two keys, from the first on or from the last back.
    pub(super) fn part(
        &self,
        space: Space,
        (start, end): (Bound<&[u8]>, Bound<&[u8]>),
        is_back: bool,
        len: usize,
    ) -> Vec<(Slice, Option<Slice>)> {
        let rows = self.rows();
        let bound = |bound: Bound<&[u8]>| bound.map(|key| LayerKey::from(Slice::from(key)));
        let range = rows[space as usize].range((bound(start), bound(end)));
        let copy = |(key, latest): (&LayerKey, &Latest)| (key.all.clone(), latest.value.clone());
        if is_back { range.rev().take(len).map(copy).collect() } else { range.take(len).map(copy).collect() }
    }
}

/// The layers there are.
#[derive(Clone, Default)]
pub(super) struct Layers {
    pub(super) latest: Arc<Layer>,
    pub(super) before: Option<Arc<Layer>>,
}

impl Layers {
    /// The latest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Layer>> {
        std::iter::once(&self.latest).chain(&self.before)
    }

    /// What they know of a row: that it is removed, too.
    pub(super) fn get(&self, space: Space, key: &[u8]) -> Option<Option<Slice>> {
        self.iter().find_map(|layer| layer.get(space, key))
    }

    /// Sets the latest aside, to be given to the engine.
    pub(super) fn turn(&mut self) -> Arc<Layer> {
        let before = std::mem::take(&mut self.latest);
        self.before = Some(Arc::clone(&before));
        before
    }
}
