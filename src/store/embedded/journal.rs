//! What an open has to do before the engine reads its journal: nothing read there may be trusted as it is.
//!
//! After a sync that failed, a kernel may keep what it could not write as if it had been written: it is read back, the
//! next sync of the file succeeds, and the disk never gets it. This outlives the process. An engine that opened such a
//! journal would answer a repeat of an event that is on no disk, and append behind the gap; when the power then fails,
//! its next open ends at the gap, and all that was acknowledged since is lost.
//!
//! So each open copies each journal into a new file, syncs that, and puts it in the old one's place: what the engine
//! then reads, repeats and appends to was written and synced after any failure. The engine's other files need no such
//! care: it writes each once and syncs it before anything refers to it, and until then the journal keeps what is in it.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Held while a directory is open, since the engine takes its own lock too late for what is done here.
const LOCK_NAME: &str = "waypost.lock";
/// A copy that is not yet in place; the engine does not look at it.
const COPY_NAME: &str = "journal.copy";
const JOURNAL_EXTENSION: &str = "jnl";

/// How often, and how long apart, a lock is tried: a read that is under way may hold the directory a moment longer.
const LOCK_TRIES: usize = 3;
const LOCK_WAIT: Duration = Duration::from_millis(100);

const BLOCK_LEN: usize = 64 * 1024;

/// Makes the directory if it is not there, and holds it until the file is dropped.
///
/// # Errors
/// [`fjall::Error::Locked`] when it is held already.
pub(super) fn lock(dir: &Path) -> fjall::Result<File> {
    fs::create_dir_all(dir)?;
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK_NAME))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_WAIT),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(fjall::Error::Locked)
}

/// The journals of a directory.
pub(super) fn paths(dir: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let paths: io::Result<BTreeSet<PathBuf>> = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect();
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == JOURNAL_EXTENSION);
    Ok(paths?.into_iter().filter(is_journal).collect())
}

/// Writes each journal of a directory anew. Nobody may have it open but who holds its lock.
pub(super) fn write_anew(dir: &Path) -> io::Result<()> {
    let copied = dir.join(COPY_NAME);
    for journal in paths(dir)? {
        copy(&journal, &copied)?;
        fs::rename(&copied, &journal)?;
    }
    File::open(dir)?.sync_all()
}

/// Through this process' memory, since the kernel's own ways to copy may share what is on the disk. What is all zeros,
/// such as the room that the engine sets aside, becomes a hole.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    static ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut block = vec![0; BLOCK_LEN];
    loop {
        let read = from.read(&mut block)?;
        match &block[..read] {
            [] => break,
            part if *part == ZEROS[..read] => {
                to.seek_relative(i64::try_from(read).map_err(io::Error::other)?)?;
            }
            part => to.write_all(part)?,
        }
    }
    let len = to.stream_position()?;
    to.set_len(len)?;
    to.sync_all()
}
