//! Which ids are known, and where what they name is kept.
//!
//! Ids are hashes. A row for each, written when it comes in, is written at a random place, which costs more than all
//! else of an event. So the latest are in memory only, until there are enough to write them in one go and in order, by
//! [`Bulk`](super::bulk::Bulk), to [trees](super::tree). When the engine is opened, those that were not yet written are
//! read from the rows of the events and requests that they name. Most ids that are asked for are new, which a
//! [filter](super::filter) tells without the tree. Fingerprints are kept likewise: each names the event that had it first.
//! So are the [words](super::words) that a search finds events by, but each leads to many.
//!
//! Nobody removes an id. It is dead when what it names has been removed, and is left out when it would be written anew.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fjall::{AbstractTree, Keyspace};
use lsm_tree::{Guard, SeqNo};
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize, Serialize};

use super::core::{IDS_WRITTEN, Last};
use super::rows::{EventRow, Id, Place, RequestRow, decode, number};
use super::spaces::{Space, Spaces, engine};
use super::tree::{Trees, tree};
use super::words::{self, Words};
use crate::domain::address::AddressKey;
use crate::domain::search::{self, WordHash};
use crate::store::Result;

/// What an id names. The discriminants are places in [`Places`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Event,
    Request,
    /// An event, by its fingerprint.
    Fingerprint,
}

impl Kind {
    pub(super) const COUNT: usize = 3;
    pub(super) const ALL: [Self; Self::COUNT] = [Self::Event, Self::Request, Self::Fingerprint];
}

/// Ids of each kind.
pub(super) type Places = [FxHashMap<Id, Place>; Kind::COUNT];

/// So many words are as much as one id: most events have a recipient, an id and a Message-ID.
const WORDS_OF_ONE: usize = 3;

/// The first so many of these places in the feed, or the last, going back; each once.
pub(super) fn first_places(mut places: Vec<Place>, is_back: bool, len: usize) -> Vec<Place> {
    places.sort_unstable_by_key(|place| place.seq);
    places.dedup_by_key(|place| place.seq);
    if is_back {
        places.reverse();
    }
    places.truncate(len);
    places
}

/// What is in memory only.
#[derive(Default)]
pub(super) struct Known {
    pub(super) ids: Places,
    pub(super) words: Words,
}

/// What a commit brings.
#[derive(Default)]
pub(super) struct Named {
    pub(super) ids: Vec<(Kind, Id, Place)>,
    pub(super) words: Vec<(WordHash, Place)>,
}

/// The ids known. What is added here has been committed.
pub(super) struct Ids {
    pub(super) trees: Trees,
    memory: Arc<RwLock<Memory>>,
    /// Held by a test, it keeps what is frozen from being written.
    #[cfg(test)]
    pub(super) hold: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
pub(super) struct Memory {
    latest: Known,
    /// What is being written, and not yet seen in the trees.
    frozen: Option<Arc<Known>>,
    pub(super) swept: Swept,
}

/// What was removed for good. The clock may be set back after that, and is not asked again.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Swept {
    /// All that expired until then was removed.
    pub(super) until: u64,
    /// Of what was there then.
    pub(super) last: Last,
    /// How many ids that made dead, and that were not left out of the trees since.
    pub(super) count: u64,
}

impl Swept {
    pub(super) fn is_dead(&self, kind: Kind, place: Place) -> bool {
        let last = match kind {
            Kind::Event | Kind::Fingerprint => self.last.event,
            Kind::Request => self.last.request,
        };
        place.expires <= self.until && place.seq <= last
    }
}

impl Ids {
    /// Opens the trees. What is dead is to be set, and what was not yet written to them to be added.
    pub(super) fn open(dir: &Path) -> fjall::Result<Self> {
        let memory = Arc::default();
        let trees = Trees::open(dir, &memory)?;
        Ok(Self {
            trees,
            memory,
            #[cfg(test)]
            hold: Arc::default(),
        })
    }

    /// Where what has this id is, unless it has been removed.
    pub(super) fn get(&self, kind: Kind, id: &Id) -> Result<Option<Place>> {
        let (known, swept) = {
            let memory = self.memory();
            let mut in_memory = std::iter::once(&memory.latest).chain(memory.frozen.as_deref());
            (in_memory.find_map(|known| known.ids[kind as usize].get(id)).copied(), memory.swept)
        };
        let place = match known {
            Some(place) => Some(place),
            None => self.trees.ids[kind as usize].get(id)?,
        };
        Ok(place.filter(|place| !swept.is_dead(kind, *place)))
    }

    /// Where the word leads within this span of the feed: the first so many, or the last, going back. What is there may be
    /// about another word, or have been removed.
    pub(super) fn of_word(&self, word: WordHash, span: &Range<u64>, is_back: bool, len: usize) -> Result<Vec<Place>> {
        if span.is_empty() {
            return Ok(Vec::new());
        }
        let mut places: Vec<_> = {
            let memory = self.memory();
            // Before the tree: a row may move there meanwhile.
            let in_memory = std::iter::once(&memory.latest).chain(memory.frozen.as_deref());
            in_memory.flat_map(|known| known.words.of(word)).filter(|place| span.contains(&place.seq)).collect()
        };
        let keys = words::key(word, span.start)..words::key(word, span.end);
        let rows = self.trees.words.rows.range(keys, SeqNo::MAX, None);
        let read = |row: lsm_tree::IterGuardImpl| {
            let (key, value) = row.into_inner().map_err(tree)?;
            words::read(&key, &value)
        };
        let written: Result<Vec<_>> =
            if is_back { rows.rev().take(len).map(read).collect() } else { rows.take(len).map(read).collect() };
        places.extend(written?);
        Ok(first_places(places, is_back, len))
    }

    fn memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory_mut(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn swept(&self) -> Swept {
        self.memory().swept
    }

    pub(super) fn set_swept(&self, swept: Swept) {
        self.memory_mut().swept = swept;
    }

    /// So many that had been counted dead are no longer in the trees.
    pub(super) fn left_out(&self, count: u64) {
        let swept = &mut self.memory_mut().swept;
        swept.count = swept.count.saturating_sub(count);
    }

    pub(super) fn add(&self, Named { ids, words }: Named) {
        let mut memory = self.memory_mut();
        for (kind, id, place) in ids {
            memory.latest.ids[kind as usize].insert(id, place);
        }
        for (word, place) in words {
            memory.latest.words.add(word, place);
        }
    }

    /// Adds what was committed and not yet written. Words are hashed with this key.
    pub(super) fn read_unwritten(&self, spaces: &Spaces, key: &AddressKey) -> Result<()> {
        let written = spaces.of(Space::Meta).get(IDS_WRITTEN).map_err(engine)?;
        let written = written.map_or(Ok(Last::default()), |bytes| Last::read(&bytes))?;
        self.read_after(spaces.of(Space::Events), written.event, |row, seq| {
            let row = EventRow::read(row)?;
            let EventRow { id, expires, fingerprint, json, .. } = row;
            let place = Place { seq, expires };
            let ids = fingerprint.map(|bits| (Kind::Fingerprint, bits, place)).into_iter();
            self.add(Named { ids: ids.chain([(Kind::Event, id, place)]).collect(), words: Vec::new() });
            if row.is_erased() {
                return Ok(());
            }
            let words = search::words(&decode(json)?).iter().map(|word| (word.hash(key), place)).collect();
            self.add(Named { ids: Vec::new(), words });
            Ok(())
        })?;
        self.read_after(spaces.of(Space::Requests), written.request, |row, seq| {
            let RequestRow { id, expires, .. } = RequestRow::read(row)?;
            self.add(Named { ids: vec![(Kind::Request, id, Place { seq, expires })], words: Vec::new() });
            Ok(())
        })
    }

    fn read_after(&self, rows: &Keyspace, written: u64, add: impl Fn(&[u8], u64) -> Result<()>) -> Result<()> {
        for row in rows.range((written + 1).to_be_bytes()..) {
            let (seq, row) = row.into_inner().map_err(engine)?;
            if let Err(error) = number(&seq).and_then(|(seq, _)| add(&row, seq)) {
                tracing::error!(row = hex::encode(&seq), %error, "what cannot be read is not found");
            }
        }
        Ok(())
    }

    /// How many are only in memory, and not yet being written.
    pub(super) fn latest_len(&self) -> usize {
        let Memory { latest: Known { ids, words }, .. } = &*self.memory();
        ids.iter().map(FxHashMap::len).max().unwrap_or_default().max(words.len() / WORDS_OF_ONE)
    }

    /// Sets aside what is only in memory, to be written.
    pub(super) fn freeze(&self) -> Arc<Known> {
        let mut memory = self.memory_mut();
        let empty = |places: &FxHashMap<_, _>| FxHashMap::with_capacity_and_hasher(places.len(), FxBuildHasher);
        let next = Known { ids: memory.latest.ids.each_ref().map(empty), words: memory.latest.words.next() };
        let frozen = Arc::new(std::mem::replace(&mut memory.latest, next));
        memory.frozen = Some(Arc::clone(&frozen));
        frozen
    }

    /// How many are in memory only, are being written, and have been.
    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 3] {
        let len = |known: &Known| known.ids.iter().map(FxHashMap::len).sum();
        let (memory, trees) = (self.memory(), self.trees.ids.iter().map(|ids| ids.tree.rows.approximate_len()).sum());
        [len(&memory.latest), memory.frozen.as_deref().map_or(0, len), trees]
    }

    /// Forgets what was set aside, which has been written.
    pub(super) fn forget_frozen(&self) {
        self.memory_mut().frozen = None;
    }
}
