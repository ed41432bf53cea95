//! Which ids are known, and where what they name is kept.
//!
//! Ids are hashes. A row for each, written when it comes in, is written at a random place, which costs more than all
//! else of an event. So the latest are in memory only, until there are enough to write them in one go and in order, by
//! [`Bulk`](super::bulk::Bulk). When the engine is opened, those that were not yet written are read from the rows of
//! the events and requests that they name. Fingerprints are kept likewise: each names the event that had it first.
//!
//! Nobody removes an id. It is dead when what it names has been removed, and is left out when it would be written anew.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fjall::compaction::filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict};
use fjall::{AbstractTree, AnyTree, Keyspace, Slice};
use lsm_tree::config::{CompressionPolicy, PinningPolicy};
use lsm_tree::{Cache, CompressionType, Config, SeqNo, SequenceNumberCounter};
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize, Serialize};

use super::core::{IDS_WRITTEN, Last};
use super::rows::{EventRow, Id, Place, RequestRow, number};
use super::spaces::{Space, Spaces, engine};
use crate::store::{Result, StoreError};

/// The folder of the trees.
const FOLDER: &str = "ids";
/// For the blocks of all trees.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

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
/// A tree for each kind.
pub(super) type Trees = [Tree; Kind::COUNT];

/// The ids known. What is added here has been committed.
pub(super) struct Ids {
    pub(super) trees: Trees,
    memory: Arc<RwLock<Memory>>,
    /// Held by a test, it keeps what is frozen from being written.
    #[cfg(test)]
    pub(super) hold: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Memory {
    latest: Places,
    /// What is being written, and not yet seen in the trees.
    frozen: Option<Arc<Places>>,
    swept: Swept,
}

/// Ids that have been written.
#[derive(Clone)]
pub(super) struct Tree {
    pub(super) rows: AnyTree,
    pub(super) seqno: SequenceNumberCounter,
}

/// What was removed for good. The clock may be set back after that, and is not asked again.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Swept {
    /// All that expired until then was removed.
    pub(super) until: u64,
    /// Of what was there then.
    pub(super) last: Last,
    /// How many ids that made dead since the trees were last written anew.
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
    /// Opens the trees; what was not yet written to them is to be added.
    pub(super) fn open(dir: &Path, swept: Swept) -> fjall::Result<Self> {
        let memory = Arc::new(RwLock::new(Memory { swept, ..Memory::default() }));
        let cache = Arc::new(Cache::with_capacity_bytes(CACHE_BYTES));
        let open = |kind, name| {
            let filter = LeavesOutDead { kind, memory: Arc::clone(&memory) };
            Tree::open(&dir.join(FOLDER).join(name), &cache, filter)
        };
        let trees =
            [open(Kind::Event, "events")?, open(Kind::Request, "requests")?, open(Kind::Fingerprint, "fingerprints")?];
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
            (in_memory.find_map(|places| places[kind as usize].get(id)).copied(), memory.swept)
        };
        let place = match known {
            Some(place) => Some(place),
            None => self.trees[kind as usize].get(id)?,
        };
        Ok(place.filter(|place| !swept.is_dead(kind, *place)))
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

    pub(super) fn add(&self, ids: impl IntoIterator<Item = (Kind, Id, Place)>) {
        let mut memory = self.memory_mut();
        for (kind, id, place) in ids {
            memory.latest[kind as usize].insert(id, place);
        }
    }

    /// Adds what was committed and not yet written.
    pub(super) fn read_unwritten(&self, spaces: &Spaces) -> Result<()> {
        let written = spaces.of(Space::Meta).get(IDS_WRITTEN).map_err(engine)?;
        let written = written.map_or(Ok(Last::default()), |bytes| Last::read(&bytes))?;
        self.read_after(spaces.of(Space::Events), written.event, |row, seq| {
            let EventRow { id, expires, fingerprint, .. } = EventRow::read(row)?;
            let place = Place { seq, expires };
            self.add(fingerprint.map(|bits| (Kind::Fingerprint, bits, place)));
            self.add([(Kind::Event, id, place)]);
            Ok(())
        })?;
        self.read_after(spaces.of(Space::Requests), written.request, |row, seq| {
            let RequestRow { id, expires, .. } = RequestRow::read(row)?;
            self.add([(Kind::Request, id, Place { seq, expires })]);
            Ok(())
        })
    }

    fn read_after(&self, rows: &Keyspace, written: u64, add: impl Fn(&[u8], u64) -> Result<()>) -> Result<()> {
        for row in rows.range((written + 1).to_be_bytes()..) {
            let (seq, row) = row.into_inner().map_err(engine)?;
            if let Err(error) = number(&seq).and_then(|(seq, _)| add(&row, seq)) {
                tracing::error!(row = hex::encode(&seq), %error, "what cannot be read is not known by its id");
            }
        }
        Ok(())
    }

    /// How many are only in memory, and not yet being written.
    pub(super) fn latest_len(&self) -> usize {
        self.memory().latest.iter().map(FxHashMap::len).max().unwrap_or_default()
    }

    /// Sets aside what is only in memory, to be written.
    pub(super) fn freeze(&self) -> Arc<Places> {
        let mut memory = self.memory_mut();
        let next =
            memory.latest.each_ref().map(|places| FxHashMap::with_capacity_and_hasher(places.len(), FxBuildHasher));
        let frozen = Arc::new(std::mem::replace(&mut memory.latest, next));
        memory.frozen = Some(Arc::clone(&frozen));
        frozen
    }

    /// How many are in memory only, are being written, and have been.
    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 3] {
        let len = |places: &Places| places.iter().map(FxHashMap::len).sum();
        let (memory, trees) = (self.memory(), self.trees.iter().map(|tree| tree.rows.approximate_len()).sum());
        [len(&memory.latest), memory.frozen.as_deref().map_or(0, len), trees]
    }

    /// Forgets what was set aside, which has been written.
    pub(super) fn forget_frozen(&self) {
        self.memory_mut().frozen = None;
    }
}

impl Tree {
    fn open(dir: &Path, cache: &Arc<Cache>, filter: LeavesOutDead) -> fjall::Result<Self> {
        let seqno = SequenceNumberCounter::default();
        let rows = Config::new(dir, seqno.clone(), SequenceNumberCounter::default())
            .use_cache(Arc::clone(cache))
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
            // A filter that is neither kept in memory nor cut up may be too large for the cache, and read by every get.
            .filter_block_pinning_policy(PinningPolicy::new([true, true, false]))
            .filter_block_partitioning_policy(PinningPolicy::new([false, false, true]))
            .with_compaction_filter_factory(Some(Arc::new(filter)))
            .open()?;
        seqno.set(rows.get_highest_persisted_seqno().map_or(0, |highest| highest + 1));
        Ok(Self { rows, seqno })
    }

    fn get(&self, id: &Id) -> Result<Option<Place>> {
        let row: Option<Slice> = self.rows.get(id, SeqNo::MAX).map_err(tree)?;
        row.map(|row| Place::read(&row)).transpose()
    }
}

/// An error of a tree in mid-work.
#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
pub(super) fn tree(error: lsm_tree::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// Leaves out of what is written anew whatever is dead.
struct LeavesOutDead {
    kind: Kind,
    memory: Arc<RwLock<Memory>>,
}

/// Dead by what was known when it began.
struct IsDead(Kind, Swept);

impl Factory for LeavesOutDead {
    fn name(&self) -> &'static str {
        "dead ids"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        Box::new(IsDead(self.kind, memory.swept))
    }
}

impl CompactionFilter for IsDead {
    /// An older row of the same id, hidden by this one until now, expired before it and is as dead.
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> lsm_tree::Result<Verdict> {
        let is_dead = Place::read(&item.value()?).is_ok_and(|place| self.1.is_dead(self.0, place));
        Ok(if is_dead { Verdict::Destroy } else { Verdict::Keep })
    }
}
