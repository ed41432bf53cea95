//! The engine, and what is committed before it has it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use fjall::{CompressionType, Database, Keyspace, PersistMode, Slice};

use super::address_key;
use super::apply;
use super::background::Task;
use super::core::SWEPT;
use super::ids::{Ids, Swept};
use super::journal;
use super::layers::{Layer, Layers};
use super::log::{self, Log};
use super::range::{Range, Span};
use super::rows::unpack;
pub(super) use super::space::Space;
use super::syncer::Work;
use super::txn::Commit;
use crate::store::{Result, StoreError};

/// The key of the id of the directory of large bodies.
const BLOBS: &[u8] = b"blobs";
/// The key of the format's number, and the number, so that each version knows what it reads.
const FORMAT: (&[u8], &[u8]) = (b"format", b"17");

/// The open engine, and what is committed before it has it.
pub(super) struct Spaces {
    pub(super) db: Database,
    all: Vec<Keyspace>,
    pub(super) ids: Ids,
    layers: RwLock<Layers>,
    log: Mutex<Log>,
    dir: PathBuf,
    /// How many turns of the log are to be cleared when the engine has them.
    to_clear: AtomicU32,
    /// Each reader has one while it reads.
    readers: Mutex<Arc<()>>,
    #[cfg(test)]
    pub(super) fail_next: std::sync::atomic::AtomicBool,
    #[cfg(test)]
    pub(super) fail_sync_next: std::sync::atomic::AtomicBool,
    /// Nothing is synced beside the writer while it is held.
    #[cfg(test)]
    pub(super) sync_gate: Arc<Mutex<()>>,
    /// Dropped last, when the engine is closed.
    _lock: File,
}

impl Spaces {
    /// Opens the directory. What was written and not synced, by an earlier process or before a sync that failed, is
    /// written anew and synced first, so that what is seen is durable.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let failed = |error| refused(dir, &error);
        let lock = journal::lock(dir).map_err(failed)?;
        // First: what a merge left that failed for want of room is removed there.
        let ids = Ids::open(dir).map_err(failed)?;
        journal::write_anew(dir).map_err(|error| failed(error.into()))?;
        let engine_dir = dir.to_owned();
        let open =
            move || Database::builder(engine_dir).worker_threads(2).journal_compression(CompressionType::None).open();
        // The threads that flush and merge are begun there.
        let db = Task::begin("store-open", |_| open())?.join()?.map_err(failed)?;
        let open = |(space, name): (Space, &str)| db.keyspace(name, || space.options());
        let all: Vec<_> = Space::NAMED.into_iter().map(open).collect::<fjall::Result<_>>().map_err(failed)?;
        check_format(&all[Space::Meta as usize], dir)?;
        let turn = apply::recover(&db, &all, dir)?;
        let meta = &all[Space::Meta as usize];
        let swept = meta.get(SWEPT).map_err(engine)?.map_or(Ok(Swept::default()), |bytes| unpack(&bytes))?;
        ids.set_swept(swept);
        let log = Log::open(dir, turn + 1).map_err(|error| failed(error.into()))?;
        let spaces = Self {
            db,
            all,
            ids,
            layers: RwLock::new(Layers::default()),
            log: Mutex::new(log),
            dir: dir.to_owned(),
            to_clear: AtomicU32::new(0),
            readers: Mutex::default(),
            #[cfg(test)]
            fail_next: false.into(),
            #[cfg(test)]
            fail_sync_next: false.into(),
            #[cfg(test)]
            sync_gate: Arc::default(),
            _lock: lock,
        };
        spaces.ids.read_unwritten(&spaces, &address_key::open(dir, &spaces)?)?;
        spaces.db.persist(PersistMode::SyncAll).map_err(failed)?;
        Ok(spaces)
    }

    /// The engine's own part of a space.
    pub(super) fn of(&self, space: Space) -> &Keyspace {
        &self.all[space as usize]
    }

    /// The engine's own part of each space.
    pub(super) fn all(&self) -> &[Keyspace] {
        &self.all
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>> {
        // A layer that is no longer seen is freed by who gave it to the engine, so it is not to be held for longer.
        let known = self.layers().get(space, key);
        match known {
            Some(known) => Ok(known),
            None => self.of(space).get(key).map_err(engine),
        }
    }

    pub(super) fn range(&self, span: &Span) -> Range {
        // Before the engine: a row may move there meanwhile.
        let layers = self.layers();
        Range::new(span, &layers, self.of(span.space).range::<&[u8], _>(span.bounds()))
    }

    /// The id of the directory of large bodies that the store has its own in: of this one, if it had none before.
    pub(super) fn blobs(&self, id: &str) -> Result<String> {
        let meta = self.of(Space::Meta);
        if let Some(known) = meta.get(BLOBS).map_err(engine)? {
            return Ok(String::from_utf8_lossy(&known).into_owned());
        }
        meta.insert(BLOBS, id).map_err(engine)?;
        self.db.persist(PersistMode::SyncAll).map_err(engine)?;
        Ok(id.to_owned())
    }

    /// What is seen before the engine's own.
    pub(super) fn layers(&self) -> Layers {
        self.layers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn layers_mut(&self) -> RwLockWriteGuard<'_, Layers> {
        self.layers.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much the turn has that is being written; none while it has no commit.
    pub(super) fn turn_len(&self) -> Option<u64> {
        self.log().len()
    }

    /// All of these rows or none. Without a sync they survive the kill of this process, but not of the machine.
    /// Nothing is seen before.
    pub(super) fn commit(&self, commit: Commit) -> Result<()> {
        self.write(&commit)?;
        self.show(commit);
        Ok(())
    }

    /// Writes a commit to the log and syncs that if it is to be, for [`Spaces::show`].
    pub(super) fn write(&self, commit: &Commit) -> Result<()> {
        if commit.rows.is_empty() {
            return Ok(());
        }
        self.append(commit)?;
        if commit.is_synced {
            let synced = self.log().sync().map_err(logged);
            self.met(synced)?;
        }
        Ok(())
    }

    /// Writes a commit to the log, for a sync by somebody else.
    pub(super) fn append(&self, commit: &Commit) -> Result<()> {
        #[cfg(test)]
        if self.fail_next.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Unavailable("asked to fail".into()));
        }
        self.log().append(&commit.rows).map_err(logged)
    }

    /// Shows a commit that is as durable as it is to be.
    pub(super) fn show(&self, commit: Commit) {
        self.layers().latest.add(commit.rows);
        self.ids.add(commit.named);
    }

    /// What is to be synced by somebody else, see [`Spaces::synced`].
    pub(super) fn to_sync(&self) -> (Work, u64) {
        let (file, len) = self.log().to_sync();
        #[cfg(test)]
        let gate = Arc::clone(&self.sync_gate);
        let sync = move || {
            #[cfg(test)]
            let _open = gate.lock();
            file.sync_data()
        };
        (Box::new(sync), len)
    }

    /// So much of the log was synced, or not; the turn is still the same.
    pub(super) fn synced(&self, len: u64, outcome: Result<()>) -> Result<()> {
        self.met(outcome)?;
        self.log().synced(len);
        Ok(())
    }

    /// How a sync went; tests have the next one fail.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "looked at in tests"))]
    fn met(&self, synced: Result<()>) -> Result<()> {
        #[cfg(test)]
        if self.fail_sync_next.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Unavailable("asked to fail when it is written".into()));
        }
        synced
    }

    /// Whether there is a commit that may not survive the loss of power.
    pub(super) fn is_unsynced(&self) -> bool {
        self.log().is_unsynced()
    }

    /// What was committed survives the loss of power from now on.
    pub(super) fn sync(&self) -> Result<()> {
        let mut log = self.log();
        if log.is_unsynced() { log.sync().map_err(logged) } else { Ok(()) }
    }

    /// Begins the next turn. Answers the one that ended, and its rows.
    pub(super) fn turn(&self) -> Result<(u64, Arc<Layer>)> {
        let ended = self.log().next().map_err(logged)?;
        Ok((ended, self.layers_mut().turn()))
    }

    /// From now on each file of the log is cleared when the engine has what is in it, once.
    pub(super) fn begin_to_clear(&self) {
        self.to_clear.store(log::FILES, Ordering::SeqCst);
    }

    /// Whether they have been.
    pub(super) fn is_cleared(&self) -> bool {
        self.to_clear.load(Ordering::SeqCst) == 0
    }

    /// Clears the file of a turn that the engine has.
    pub(super) fn clear(&self, turn: u64) -> Result<()> {
        let file = self.log().file_of(turn).map_err(logged)?;
        log::clear(&file).map_err(logged)?;
        self.to_clear.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    /// What those hold who read at this moment, each as long as it does.
    pub(super) fn readers_until_now(&self) -> Arc<()> {
        std::mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// To be held by who reads.
    pub(super) fn reader(&self) -> Arc<()> {
        Arc::clone(&self.readers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The engine has the turn that ended last.
    pub(super) fn forget_applied(&self) {
        self.layers_mut().before = None;
    }
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
pub(super) fn logged(error: io::Error) -> StoreError {
    StoreError::Unavailable(format!("its log: {error}"))
}

fn check_format(meta: &Keyspace, dir: &Path) -> Result<()> {
    match meta.get(FORMAT.0).map_err(engine)? {
        Some(format) if *format == *FORMAT.1 => Ok(()),
        Some(_) => Err(StoreError::Corrupt(format!(
            "{} was written by another version of Waypost; run that version, or use another directory",
            dir.display()
        ))),
        None => meta.insert(FORMAT.0, FORMAT.1).map_err(engine),
    }
}

/// An error of the engine in mid-work.
#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
pub(super) fn engine(error: fjall::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn refused(dir: &Path, error: &fjall::Error) -> StoreError {
    let dir = dir.display();
    StoreError::Unavailable(match error {
        fjall::Error::Locked => format!(
            "the directory {dir} is in use by another process: stop that process, or give this one a directory of its own"
        ),
        fjall::Error::Io(error) | fjall::Error::Storage(lsm_tree::Error::Io(error)) => {
            format!("the directory {dir} cannot be opened: {error}; check that it can be written and has room")
        }
        error => format!("the directory {dir} cannot be opened: {error}"),
    })
}
