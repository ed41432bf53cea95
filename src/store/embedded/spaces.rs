//! The engine: what is kept where, and one batch of writes that its own later reads see.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Slice};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::journal;
use super::rows::{decode, encode};
use crate::store::{Result, StoreError};

/// What is kept apart. The discriminants are places in [`Spaces::all`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// The format, the endpoint set, the last place in the feed.
    Meta,
    /// Event id -> event.
    Events,
    /// Place in the feed -> event id.
    Feed,
    /// Delivery key -> row, while pending. All that is read at start.
    Pending,
    /// Delivery key -> row, once ended.
    Ended,
    /// Status, when it ended, delivery key -> nothing, once ended.
    ByStatus,
    /// Request id -> request.
    Requests,
    /// Token -> digest.
    Tokens,
    /// Entity -> state.
    States,
    /// Endpoint id -> what its lane remembers.
    Lanes,
    /// When and what expires.
    Expiry,
}

const NAMES: [&str; 11] =
    ["meta", "events", "feed", "pending", "ended", "by_status", "requests", "tokens", "states", "lanes", "expiry"];

/// The key of the format's number, and the number, so that each version knows what it reads.
const FORMAT: (&[u8], &[u8]) = (b"format", b"2");

/// The open engine.
pub(super) struct Spaces {
    pub(super) db: Database,
    all: Vec<Keyspace>,
    #[cfg(test)]
    pub(super) fail_next: std::sync::atomic::AtomicBool,
    #[cfg(test)]
    pub(super) fail_sync_next: std::sync::atomic::AtomicBool,
    /// Dropped last, when the engine is closed.
    _lock: File,
}

impl Spaces {
    /// Opens the directory. What was written and not synced, by an earlier process or before a sync that failed, is
    /// written anew and synced first, so that what is seen is durable.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let failed = |error| refused(dir, &error);
        let lock = journal::lock(dir).map_err(failed)?;
        journal::write_anew(dir).map_err(|error| failed(error.into()))?;
        let db = Database::builder(dir).worker_threads(2).open().map_err(failed)?;
        let open = |name: &&str| db.keyspace(name, KeyspaceCreateOptions::default);
        let all = NAMES.iter().map(open).collect::<fjall::Result<_>>().map_err(failed)?;
        let spaces = Self {
            db,
            all,
            #[cfg(test)]
            fail_next: false.into(),
            #[cfg(test)]
            fail_sync_next: false.into(),
            _lock: lock,
        };
        spaces.check_format(dir)?;
        spaces.db.persist(PersistMode::SyncAll).map_err(failed)?;
        Ok(spaces)
    }

    fn check_format(&self, dir: &Path) -> Result<()> {
        let meta = self.of(Space::Meta);
        match meta.get(FORMAT.0).map_err(engine)? {
            Some(format) if *format == *FORMAT.1 => Ok(()),
            Some(_) => Err(StoreError::Corrupt(format!(
                "{} was written by another version of Waypost; run that version, or use another directory",
                dir.display()
            ))),
            None => meta.insert(FORMAT.0, FORMAT.1).map_err(engine),
        }
    }

    pub(super) fn of(&self, space: Space) -> &Keyspace {
        &self.all[space as usize]
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
        fjall::Error::Io(error) => {
            format!("the directory {dir} cannot be opened: {error}; check that it can be written and has room")
        }
        error => format!("the directory {dir} cannot be opened: {error}"),
    })
}

/// A row's new value; none where it is removed.
type Write = Option<Slice>;

/// Writes that are committed together, and seen by the reads that follow here.
pub(super) struct Txn<'a> {
    spaces: &'a Spaces,
    writes: [HashMap<Vec<u8>, Write>; NAMES.len()],
    /// Where was written since the mark, and what was to be written there before.
    replaced: Vec<(Space, Vec<u8>, Option<Write>)>,
    /// Whether the commit waits for a sync.
    pub(super) synced: bool,
}

impl<'a> Txn<'a> {
    pub(super) fn new(spaces: &'a Spaces) -> Self {
        Self { spaces, writes: Default::default(), replaced: Vec::new(), synced: false }
    }

    /// What was written until now stays when what follows is undone.
    pub(super) fn mark(&mut self) {
        self.replaced.clear();
    }

    /// Forgets what was written since the mark.
    pub(super) fn undo(&mut self) {
        while let Some((space, key, before)) = self.replaced.pop() {
            match before {
                Some(before) => self.writes[space as usize].insert(key, before),
                None => self.writes[space as usize].remove(&key),
            };
        }
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>> {
        if let Some(written) = self.writes[space as usize].get(key) {
            return Ok(written.clone());
        }
        self.spaces.of(space).get(key).map_err(engine)
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

    pub(super) fn remove(&mut self, space: Space, key: &[u8]) {
        self.write(space, key, None);
    }

    fn write(&mut self, space: Space, key: &[u8], write: Write) {
        let before = self.writes[space as usize].insert(key.to_vec(), write);
        self.replaced.push((space, key.to_vec(), before));
    }

    /// How many rows are to be written.
    pub(super) fn len(&self) -> usize {
        self.writes.iter().map(HashMap::len).sum()
    }

    /// All or none. Without a sync the writes survive the kill of this process, but not of the machine.
    pub(super) fn commit(self) -> Result<()> {
        if self.len() == 0 {
            return Ok(());
        }
        #[cfg(test)]
        if self.spaces.fail_next.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return Err(StoreError::Unavailable("asked to fail".into()));
        }
        let mode = if self.synced { PersistMode::SyncAll } else { PersistMode::Buffer };
        let mut batch = self.spaces.db.batch().durability(Some(mode));
        for (space, writes) in self.spaces.all.iter().zip(self.writes) {
            for (key, value) in writes {
                match value {
                    Some(value) => batch.insert(space, key, value),
                    None => batch.remove(space, key),
                }
            }
        }
        #[cfg(test)]
        if self.spaces.fail_sync_next.swap(false, std::sync::atomic::Ordering::SeqCst) {
            batch.durability(Some(PersistMode::Buffer)).commit().map_err(engine)?;
            return Err(StoreError::Unavailable("asked to fail when it is written".into()));
        }
        batch.commit().map_err(engine)
    }
}
