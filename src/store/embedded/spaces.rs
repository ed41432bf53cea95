//! The engine: what is kept where.

use std::fs::File;
use std::path::Path;

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::core::SWEPT;
use super::ids::{Ids, Swept};
use super::journal;
use super::rows::unpack;
use crate::store::{Result, StoreError};

/// What is kept apart. The discriminants are places in [`Spaces::all`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Space {
    /// The format, the endpoint set, the last places in the feed and among the requests, how far the ids have been
    /// written, and until when what had expired was removed.
    Meta,
    /// Place in the feed -> event.
    Events,
    /// Place in the feed -> which deliveries of the event have not ended. All that is read at start.
    Waiting,
    /// Delivery key -> row, from when it was first begun.
    Deliveries,
    /// Status, when it ended, delivery key -> nothing, once ended.
    ByStatus,
    /// Place among the requests -> request.
    Requests,
    /// Token -> digest.
    Tokens,
    /// Entity -> state.
    States,
    /// Endpoint id -> what its lane remembers.
    Lanes,
    /// When and what expires.
    Expiry,
    /// Place in the feed -> which replays there are of the event.
    Replays,
    /// Jobs of bulk replay, and indexes of them.
    Jobs,
}

impl Space {
    pub(super) const COUNT: usize = 12;

    const ALL: [(Self, &str); Self::COUNT] = [
        (Self::Meta, "meta"),
        (Self::Events, "events"),
        (Self::Waiting, "waiting"),
        (Self::Deliveries, "deliveries"),
        (Self::ByStatus, "by_status"),
        (Self::Requests, "requests"),
        (Self::Tokens, "tokens"),
        (Self::States, "states"),
        (Self::Lanes, "lanes"),
        (Self::Expiry, "expiry"),
        (Self::Replays, "replays"),
        (Self::Jobs, "jobs"),
    ];

    /// Rows that are small, or that nobody compresses well, stay as they are.
    fn options(self) -> KeyspaceCreateOptions {
        let options = KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        match self {
            Self::Events | Self::Requests => options,
            _ => options.data_block_compression_policy(CompressionPolicy::disabled()),
        }
    }
}

/// How much of a space is in memory before it is written in order. More is memory that was never touched before; with
/// less, more is merged.
const MEMTABLE_BYTES: u64 = 32 * 1024 * 1024;

/// The key of the format's number, and the number, so that each version knows what it reads.
const FORMAT: (&[u8], &[u8]) = (b"format", b"7");

/// The open engine.
pub(super) struct Spaces {
    pub(super) db: Database,
    pub(super) all: Vec<Keyspace>,
    pub(super) ids: Ids,
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
        let db = Database::builder(dir)
            .worker_threads(2)
            .journal_compression(CompressionType::None)
            .open()
            .map_err(failed)?;
        let open = |(space, name): (Space, &str)| db.keyspace(name, || space.options());
        let all: Vec<_> = Space::ALL.into_iter().map(open).collect::<fjall::Result<_>>().map_err(failed)?;
        let meta = &all[Space::Meta as usize];
        check_format(meta, dir)?;
        let swept = meta.get(SWEPT).map_err(engine)?.map_or(Ok(Swept::default()), |bytes| unpack(&bytes))?;
        let ids = Ids::open(dir, swept).map_err(failed)?;
        let spaces = Self {
            db,
            all,
            ids,
            #[cfg(test)]
            fail_next: false.into(),
            #[cfg(test)]
            fail_sync_next: false.into(),
            _lock: lock,
        };
        spaces.ids.read_unwritten(&spaces)?;
        spaces.db.persist(PersistMode::SyncAll).map_err(failed)?;
        Ok(spaces)
    }

    pub(super) fn of(&self, space: Space) -> &Keyspace {
        &self.all[space as usize]
    }
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
        fjall::Error::Io(error) => {
            format!("the directory {dir} cannot be opened: {error}; check that it can be written and has room")
        }
        error => format!("the directory {dir} cannot be opened: {error}"),
    })
}
