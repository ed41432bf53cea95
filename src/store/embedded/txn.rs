//! One batch of writes that its own later reads see.

use fjall::Slice;
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ids::{Kind, Named};
use super::layers::Row;
use super::rows::{EventRow, Id, Place, decode, encode, pack_into};
use super::spaces::{Space, Spaces};
use crate::domain::search::WordHash;
use crate::store::Result;

/// A row to be written.
struct Write {
    row: Row,
    /// The write of this batch to the same row that it takes the place of.
    before: Option<usize>,
    /// Whether no other takes its place.
    is_last: bool,
}

/// What is committed together.
pub(super) struct Commit {
    pub(super) rows: Vec<Row>,
    pub(super) named: Named,
    /// Whether it waits for a sync.
    pub(super) is_synced: bool,
}

#[cfg(test)]
impl From<Vec<Row>> for Commit {
    fn from(rows: Vec<Row>) -> Self {
        Self { rows, named: Named::default(), is_synced: true }
    }
}

/// Writes that are committed together, and seen by the reads that follow here.
pub(super) struct Txn<'a> {
    pub(super) spaces: &'a Spaces,
    writes: Vec<Write>,
    /// The latest write to each row of the spaces that are read while a batch is decided. Keys are hashes, or few.
    latest: FxHashMap<(Space, Slice), usize>,
    /// Ids and words, in order, and the latest place of each id.
    named: Named,
    places: FxHashMap<(Kind, Id), Place>,
    /// The id of each event of this batch, by its place in the feed.
    events: FxHashMap<u64, Id>,
    /// How many writes, ids and words stay when what follows is undone.
    mark: (usize, usize, usize),
    /// Whether the commit waits for a sync.
    pub(super) synced: bool,
    /// Where a value is put together before it gets memory of its own.
    scratch: Vec<u8>,
}

impl Space {
    /// Whether its rows are written at most once in a batch, and read only when that is committed.
    fn is_log(self) -> bool {
        matches!(self, Self::Events | Self::Requests | Self::ByStatus | Self::Expiry | Self::AttemptLog)
    }
}

impl<'a> Txn<'a> {
    pub(super) fn new(spaces: &'a Spaces) -> Self {
        Self {
            spaces,
            writes: Vec::new(),
            latest: FxHashMap::default(),
            named: Named::default(),
            places: FxHashMap::default(),
            events: FxHashMap::default(),
            mark: (0, 0, 0),
            synced: false,
            scratch: Vec::new(),
        }
    }

    /// Makes room for what so many events bring at least.
    pub(super) fn reserve(&mut self, events: usize) {
        self.writes.reserve(events);
        self.named.ids.reserve(events);
        self.places.reserve(events);
        self.events.reserve(events);
    }

    /// What was written until now stays when what follows is undone.
    pub(super) fn mark(&mut self) {
        self.mark = (self.writes.len(), self.named.ids.len(), self.named.words.len());
    }

    /// Forgets what was written since the mark.
    pub(super) fn undo(&mut self) {
        self.named.words.truncate(self.mark.2);
        self.named.ids.truncate(self.mark.1);
        let ids = std::mem::take(&mut self.named.ids);
        (self.places, self.events) = (FxHashMap::default(), FxHashMap::default());
        ids.into_iter().for_each(|(kind, id, place)| self.put_place(kind, id, place));
        while self.writes.len() > self.mark.0
            && let Some(Write { row: Row { space, key, .. }, before, .. }) = self.writes.pop()
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
            return Ok(self.writes[*latest].row.value.clone());
        }
        self.spaces.get(space, key)
    }

    /// A row of a space whose rows are seldom read before they are committed: the writes of this batch are looked through.
    pub(super) fn written(&self, space: Space, key: &[u8]) -> Result<Option<Slice>> {
        let mut rows = self.writes.iter().rev().map(|write| &write.row);
        match rows.find(|row| row.space == space && *row.key == *key) {
            Some(row) => Ok(row.value.clone()),
            None => self.spaces.get(space, key),
        }
    }

    /// The id of the event at this place, which this batch may bring. None when its row cannot be read.
    pub(super) fn event_id(&self, seq: u64) -> Result<Option<Id>> {
        if let Some(id) = self.events.get(&seq) {
            return Ok(Some(*id));
        }
        let row = self.spaces.get(Space::Events, &seq.to_be_bytes())?;
        Ok(row.and_then(|row| EventRow::read(&row).ok().map(|row| row.id)))
    }

    /// Where what has this id is, unless it has been removed.
    pub(super) fn place(&self, kind: Kind, id: &Id) -> Result<Option<Place>> {
        match self.places.get(&(kind, *id)) {
            Some(place) => Ok(Some(*place)),
            None => self.spaces.ids.get(kind, id),
        }
    }

    pub(super) fn put_place(&mut self, kind: Kind, id: Id, place: Place) {
        if kind == Kind::Event {
            self.events.insert(place.seq, id);
        }
        self.named.ids.push((kind, id, place));
        self.places.insert((kind, id), place);
    }

    /// Words that lead to the event at this place.
    pub(super) fn put_words(&mut self, words: &[WordHash], place: Place) {
        self.named.words.extend(words.iter().map(|word| (*word, place)));
    }

    pub(super) fn get_json<T: DeserializeOwned>(&self, space: Space, key: &[u8]) -> Result<Option<T>> {
        self.get(space, key)?.map(|bytes| decode(&bytes)).transpose()
    }

    pub(super) fn put(&mut self, space: Space, key: &[u8], value: impl Into<Slice>) {
        self.write(space, key, Some(value.into()), false);
    }

    /// A row with a key that there never was.
    pub(super) fn add(&mut self, space: Space, key: &[u8], value: impl Into<Slice>) {
        self.write(space, key, Some(value.into()), true);
    }

    /// The same of what is packed.
    pub(super) fn add_packed(&mut self, space: Space, key: &[u8], value: &impl Serialize) -> Result<()> {
        let value = self.packed(value)?;
        self.add(space, key, value);
        Ok(())
    }

    pub(super) fn put_json(&mut self, space: Space, key: &[u8], value: &impl Serialize) -> Result<()> {
        self.put(space, key, encode(value)?);
        Ok(())
    }

    pub(super) fn put_packed(&mut self, space: Space, key: &[u8], value: &impl Serialize) -> Result<()> {
        let value = self.packed(value)?;
        self.put(space, key, value);
        Ok(())
    }

    /// The same of what is written out like this.
    pub(super) fn put_written(&mut self, space: Space, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(&mut self.scratch);
        let value = Slice::from(&self.scratch);
        self.put(space, key, value);
    }

    fn packed(&mut self, value: &impl Serialize) -> Result<Slice> {
        self.scratch.clear();
        self.scratch = pack_into(value, std::mem::take(&mut self.scratch))?;
        Ok(Slice::from(&self.scratch))
    }

    pub(super) fn remove(&mut self, space: Space, key: &[u8]) {
        self.write(space, key, None, false);
    }

    fn write(&mut self, space: Space, key: &[u8], value: Option<Slice>, is_new: bool) {
        let key = Slice::from(key);
        let before = if space.is_log() { None } else { self.latest.insert((space, key.clone()), self.writes.len()) };
        let mut row = Row { space, key, value, is_new };
        if let Some(before) = before {
            self.writes[before].is_last = false;
            row.is_new = self.writes[before].row.is_new;
        }
        self.writes.push(Write { row, before, is_last: true });
    }

    /// How many rows are to be written.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// What is to be committed; each row once.
    pub(super) fn close(self) -> Commit {
        let rows = self.writes.into_iter().filter(|write| write.is_last).map(|write| write.row).collect();
        Commit { rows, named: self.named, is_synced: self.synced }
    }

    /// See [`Spaces::commit`].
    pub(super) fn commit(self) -> Result<()> {
        let spaces = self.spaces;
        spaces.commit(self.close())
    }
}
