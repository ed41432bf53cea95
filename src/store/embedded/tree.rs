//! What [ids](super::ids) and [words](super::words) are written to: trees of the engine's own kind, which are only
//! written in bulk.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use fjall::compaction::Leveled;
use fjall::compaction::filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict};
use fjall::{AbstractTree, AnyTree};
use lsm_tree::config::{CompressionPolicy, FilterPolicy, PartitioningPolicy};
use lsm_tree::{Cache, CompressionType, Config, Guard, SeqNo, SequenceNumberCounter};

use super::background::Pace;
use super::filter::Filter;
use super::ids::{Kind, Memory, Swept};
use super::rows::{Id, Place};
use super::words;
use crate::store::{Result, StoreError};

/// The folder of the trees.
const FOLDER: &str = "ids";
/// For the blocks of all trees. Until there is a filter over all ids, each new event asks those of the tables, which are
/// some 40 MiB of ten million.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How large a merged file grows.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// A merge may be of what was merged before, to make room: there are so many in a row.
const MERGES_MAX: usize = 64;
/// With so many files that are not yet merged no more are written: the engine cannot note 256.
const FILES_MAX: usize = if cfg!(debug_assertions) { 20 } else { 200 };
/// Of more ids it takes too long to read them, for a filter that has room for a third.
const FILTERED_MAX: usize = 30_000_000;

/// A tree for the ids of each kind, and one for words.
#[derive(Clone)]
pub(super) struct Trees {
    pub(super) ids: [IdTree; Kind::COUNT],
    pub(super) words: Tree,
    /// Set when they are to be closed: nobody then merges or reads them whole any longer.
    stop: Arc<AtomicBool>,
}

/// A tree, which is read as it is now only.
#[derive(Clone)]
pub(super) struct Tree {
    pub(super) rows: AnyTree,
}

/// One for ids, and which it may have.
#[derive(Clone)]
pub(super) struct IdTree {
    pub(super) tree: Tree,
    filter: Arc<RwLock<Arc<Filter>>>,
    /// Held from when ids are added to the filter until the tree has them.
    writing: Arc<Mutex<()>>,
}

impl Trees {
    pub(super) fn open(dir: &Path, memory: &Arc<RwLock<Memory>>) -> fjall::Result<Self> {
        let (cache, stop) = (Arc::new(Cache::with_capacity_bytes(CACHE_BYTES)), Arc::default());
        let open = |kind, name, read, filter| {
            let leaves_out = LeavesOutDead { kind, read, memory: Arc::clone(memory), stop: Arc::clone(&stop) };
            Tree::open(&dir.join(FOLDER).join(name), &cache, leaves_out, filter)
        };
        let id = |kind, name| -> fjall::Result<_> {
            let tree = open(kind, name, |_, place| Place::read(place), None)?;
            Ok(IdTree { tree, filter: Arc::default(), writing: Arc::default() })
        };
        Ok(Self {
            ids: [id(Kind::Event, "events")?, id(Kind::Request, "requests")?, id(Kind::Fingerprint, "fingerprints")?],
            // A span is asked for, which no filter helps to find.
            words: open(Kind::Event, "words", words::read, Some(FilterPolicy::disabled()))?,
            stop,
        })
    }

    /// What is merged or read whole is left.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Reads what they hold into their filters, which are asked from then on.
    pub(super) fn fill_filters(&self) {
        self.ids.iter().for_each(|ids| ids.try_to_fill(&self.stop));
    }

    /// Leaves out of the filters what they no longer hold.
    pub(super) fn filter_anew(&self) {
        for ids in &self.ids {
            ids.empty_filter();
            ids.try_to_fill(&self.stop);
        }
    }

    /// Whether more can be written.
    pub(super) fn has_room(&self) -> bool {
        self.all().all(|tree| tree.rows.l0_run_count() < FILES_MAX)
    }

    /// How many ids are there, dead or not. Words, which are as dead as the events they lead to, are not counted.
    pub(super) fn len(&self) -> usize {
        self.ids.iter().map(|ids| ids.tree.rows.approximate_len()).sum()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Tree> {
        self.ids.iter().map(|ids| &ids.tree).chain([&self.words])
    }
}

impl Tree {
    fn open(
        dir: &Path,
        cache: &Arc<Cache>,
        leaves_out: LeavesOutDead,
        filter: Option<FilterPolicy>,
    ) -> fjall::Result<Self> {
        let seqno = SequenceNumberCounter::default();
        let mut config = Config::new(dir, seqno.clone(), SequenceNumberCounter::default())
            .use_cache(Arc::clone(cache))
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
            // What is not cut up may be too large for its part of the cache, and is then read whole by every get: it is not
            // kept in memory when it has just been ingested, whatever the policy of its level.
            .filter_block_partitioning_policy(PartitioningPolicy::all(true))
            .index_block_partitioning_policy(PartitioningPolicy::all(true))
            .with_compaction_filter_factory(Some(Arc::new(leaves_out)));
        if let Some(policy) = filter {
            config = config.filter_policy(policy);
        }
        let rows = config.open()?;
        seqno.set(rows.get_highest_persisted_seqno().map_or(0, |highest| highest + 1));
        Ok(Self { rows })
    }

    /// Writes rows in the order of their keys, at once or not at all, and syncs them.
    pub(super) fn write<const LEN: usize>(
        &self,
        rows: impl Iterator<Item = ([u8; 16], [u8; LEN])>,
        pace: &mut Pace,
    ) -> lsm_tree::Result<()> {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut ingestion = self.rows.ingestion()?;
        for (key, value) in rows {
            ingestion.write(key, value)?;
            pace.row(key.len() + LEN);
        }
        ingestion.finish().map(drop)
    }

    /// Merges files that come to so many, with those that were merged.
    pub(super) fn merge(&self, merged_len: u8) -> lsm_tree::Result<()> {
        let strategy = Leveled::default().with_table_target_size(FILE_BYTES).with_l0_threshold(merged_len);
        let strategy = Arc::new(strategy);
        for _ in 0..MERGES_MAX {
            self.rows.compact(Arc::clone(&strategy) as _, SeqNo::MAX)?;
            if self.rows.l0_run_count() < usize::from(merged_len) {
                break;
            }
        }
        Ok(())
    }

    /// Writes all anew, but what is dead.
    pub(super) fn write_anew(&self) -> lsm_tree::Result<()> {
        self.rows.major_compact(FILE_BYTES, SeqNo::MAX)
    }
}

impl IdTree {
    fn filter(&self) -> RwLockReadGuard<'_, Arc<Filter>> {
        self.filter.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes ids in their order, at once or not at all, and syncs them.
    pub(super) fn write(&self, ids: &[(&Id, &Place)], pace: &mut Pace) -> lsm_tree::Result<()> {
        let _writing = self.writing();
        let filter = Arc::clone(&self.filter());
        let rows = ids.iter().map(|(id, place)| {
            // Before it can be found.
            filter.add(id);
            (**id, place.bytes())
        });
        self.tree.write(rows, pace)
    }

    fn empty_filter(&self) {
        let _nobody_writes = self.writing();
        *self.filter.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    /// If it cannot be filled, tables are asked as before.
    fn try_to_fill(&self, stop: &AtomicBool) {
        if let Err(error) = self.fill(stop) {
            tracing::warn!(%error, "the ids of the store cannot all be read: to tell that one is new takes longer");
        }
    }

    /// Reads all ids into the filter, which is asked from then on.
    fn fill(&self, stop: &AtomicBool) -> lsm_tree::Result<()> {
        if self.tree.rows.approximate_len() > FILTERED_MAX {
            return Ok(());
        }
        // Before the rows: what is written meanwhile is in the one or in the others.
        let filter = Arc::clone(&self.filter());
        for row in self.tree.rows.iter(SeqNo::MAX, None) {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if let Ok(id) = Id::try_from(&*row.key()?) {
                filter.add(&id);
            }
        }
        filter.set_whole();
        Ok(())
    }

    pub(super) fn get(&self, id: &Id) -> Result<Option<Place>> {
        if !self.filter().may_have(id) {
            return Ok(None);
        }
        let row = self.tree.rows.get(id, SeqNo::MAX).map_err(tree)?;
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
    read: ReadPlace,
    memory: Arc<RwLock<Memory>>,
    stop: Arc<AtomicBool>,
}

/// Reads where a row leads.
type ReadPlace = fn(&[u8], &[u8]) -> Result<Place>;

/// Dead by what was known when it began.
struct IsDead {
    kind: Kind,
    read: ReadPlace,
    swept: Swept,
    stop: Arc<AtomicBool>,
}

impl Factory for LeavesOutDead {
    fn name(&self) -> &'static str {
        "dead ids"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        let swept = self.memory.read().unwrap_or_else(PoisonError::into_inner).swept;
        Box::new(IsDead { kind: self.kind, read: self.read, swept, stop: Arc::clone(&self.stop) })
    }
}

impl CompactionFilter for IsDead {
    /// An older row of the same id, hidden by this one until now, expired before it and is as dead.
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> lsm_tree::Result<Verdict> {
        let Self { kind, read, swept, stop } = self;
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the store is being closed").into());
        }
        let is_dead = read(item.key(), &item.value()?).is_ok_and(|place| swept.is_dead(*kind, place));
        Ok(if is_dead { Verdict::Destroy } else { Verdict::Keep })
    }
}
