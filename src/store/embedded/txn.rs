//! One batch of writes that its own later reads see.

use fjall::{OwnedWriteBatch, PersistMode, Slice};
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ids::Kind;
use super::rows::{Id, Place, decode, encode, pack};
use super::spaces::{Space, Spaces, engine};
use crate::store::Result;

/// A row to be written; removed where there is no value.
struct Write {
    space: Space,
    key: Slice,
    value: Option<Slice>,
    /// The write of this batch to the same row that it takes the place of.
    before: Option<usize>,
    /// Whether no other takes its place.
    is_last: bool,
}

/// Writes that are committed together, and seen by the reads that follow here.
pub(super) struct Txn<'a> {
    pub(super) spaces: &'a Spaces,
    writes: Vec<Write>,
    /// The latest write to each row of the spaces that are read while a batch is decided. Keys are hashes, or few.
    latest: FxHashMap<(Space, Slice), usize>,
    /// Ids, in order, and the latest place of each.
    ids: Vec<(Kind, Id, Place)>,
    places: FxHashMap<(Kind, Id), Place>,
    /// How many writes, and ids, stay when what follows is undone.
    mark: (usize, usize),
    /// Whether the commit waits for a sync.
    pub(super) synced: bool,
}

impl Space {
    /// Whether its rows are written at most once in a batch, and read only when that is committed.
    fn is_log(self) -> bool {
        matches!(self, Self::Events | Self::Requests | Self::ByStatus | Self::Expiry)
    }
}

impl<'a> Txn<'a> {
    pub(super) fn new(spaces: &'a Spaces) -> Self {
        let (writes, latest) = (Vec::new(), FxHashMap::default());
        Self { spaces, writes, latest, ids: Vec::new(), places: FxHashMap::default(), mark: (0, 0), synced: false }
    }

    /// What was written until now stays when what follows is undone.
    pub(super) fn mark(&mut self) {
        self.mark = (self.writes.len(), self.ids.len());
    }

    /// Forgets what was written since the mark.
    pub(super) fn undo(&mut self) {
        self.ids.truncate(self.mark.1);
        self.places = self.ids.iter().map(|(kind, id, place)| ((*kind, *id), *place)).collect();
        while self.writes.len() > self.mark.0
            && let Some(Write { space, key, before, .. }) = self.writes.pop()
        {
            match before {
                Some(before) => {
                    self.writes[before].is_last = true;
                    self.latest.insert((space, key), before);
                }
                None => {
                    self.latest.remove(&(space, key));
                }
            }
        }
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>> {
        debug_assert!(!space.is_log(), "{space:?} is not read");
        if !self.latest.is_empty()
            && let Some(latest) = self.latest.get(&(space, key.into()))
        {
            return Ok(self.writes[*latest].value.clone());
        }
        self.spaces.of(space).get(key).map_err(engine)
    }

    /// Where what has this id is, unless it has been removed.
    pub(super) fn place(&self, kind: Kind, id: &Id) -> Result<Option<Place>> {
        match self.places.get(&(kind, *id)) {
            Some(place) => Ok(Some(*place)),
            None => self.spaces.ids.get(kind, id),
        }
    }

    pub(super) fn put_place(&mut self, kind: Kind, id: Id, place: Place) {
        self.ids.push((kind, id, place));
        self.places.insert((kind, id), place);
    }

    pub(super) fn get_json<T: DeserializeOwned>(&self, space: Space, key: &[u8]) -> Result<Option<T>> {
        self.get(space, key)?.map(|bytes| decode(&bytes)).transpose()
    }

    pub(super) fn put(&mut self, space: Space, key: &[u8], value: impl Into<Slice>) {
        self.write(space, key, Some(value.into()));
    }

    pub(super) fn put_json(&mut self, space: Space, key: &[u8], value: &impl Serialize) -> Result<()> {
        self.put(space, key, encode(value)?);
        Ok(())
    }

    pub(super) fn put_packed(&mut self, space: Space, key: &[u8], value: &impl Serialize) -> Result<()> {
        self.put(space, key, pack(value)?);
        Ok(())
    }

    pub(super) fn remove(&mut self, space: Space, key: &[u8]) {
        self.write(space, key, None);
    }

    fn write(&mut self, space: Space, key: &[u8], value: Option<Slice>) {
        let key = Slice::from(key);
        let before = if space.is_log() { None } else { self.latest.insert((space, key.clone()), self.writes.len()) };
        if let Some(before) = before {
            self.writes[before].is_last = false;
        }
        self.writes.push(Write { space, key, value, before, is_last: true });
    }

    /// How many rows are to be written.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// All or none. Without a sync the writes survive the kill of this process, but not of the machine.
    pub(super) fn commit(self) -> Result<()> {
        if self.writes.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        if self.spaces.fail_next.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return Err(crate::store::StoreError::Unavailable("asked to fail".into()));
        }
        // Without the times of the journal's file, which nobody reads; its length is synced where it changed.
        let mode = if self.synced { PersistMode::SyncData } else { PersistMode::Buffer };
        let batch = OwnedWriteBatch::with_capacity(self.spaces.db.clone(), self.writes.len());
        let mut batch = batch.durability(Some(mode));
        // Each row once: the engine would give two writes of one the same number.
        for Write { space, key, value, .. } in self.writes.into_iter().filter(|write| write.is_last) {
            let space = self.spaces.of(space);
            match value {
                Some(value) => batch.insert(space, key, value),
                None => batch.remove(space, key),
            }
        }
        #[cfg(test)]
        if self.spaces.fail_sync_next.swap(false, std::sync::atomic::Ordering::SeqCst) {
            batch.durability(Some(PersistMode::Buffer)).commit().map_err(engine)?;
            return Err(crate::store::StoreError::Unavailable("asked to fail when it is written".into()));
        }
        batch.commit().map_err(engine)?;
        self.spaces.ids.add(self.ids);
        Ok(())
    }
}
