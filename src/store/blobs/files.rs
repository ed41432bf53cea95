//! The files themselves: written, read and removed, by whoever may wait for a disk.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::super::{Result, StoreError, random};
use super::Blob;
use crate::clock::Clock;
use crate::crash;
use crate::domain::id::RequestId;

pub(super) const DAY_S: u64 = 24 * 3_600;
/// Days that a folder stays after its own: clocks differ, and a commit may come late.
const GRACE_DAYS: u64 = 1;
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// After so many files a step of the sweep ends.
pub(super) const STEP_FILES: usize = 1_000;
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// How the name of a file ends that is being written.
pub(super) const NEW: &str = ".new";

/// Another process that shares the directory may have been faster.
pub(super) fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// A directory of them.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) dir: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    /// Held while a file gets its name, and while one is removed that nothing refers to.
    pub(super) naming: Arc<Mutex<()>>,
}

impl Files {
    fn now_s(&self) -> u64 {
        u64::try_from(self.clock.now().as_second()).unwrap_or_default()
    }

    pub(super) fn day_after(&self, life: Duration) -> u64 {
        self.now_s().saturating_add(life.as_secs()) / DAY_S
    }

    pub(super) fn folder(&self, day: u64) -> PathBuf {
        self.dir.join(day.to_string())
    }

    pub(super) fn path(&self, id: &RequestId, blob: Blob) -> PathBuf {
        self.folder(blob.day).join(format!("{id}.{:016x}", blob.hash))
    }

    pub(super) fn make_dir(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.dir)?;
        let parent = self.dir.parent().filter(|parent| *parent != Path::new(""));
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    pub(super) fn keep(&self, id: &RequestId, body: &[u8], life: Duration) -> Result<Blob> {
        let day = self.day_after(life);
        let blob = Blob { day, hash: xxh3_64(body), len: body.len() };
        self.write(id, body, blob).map(|()| blob)
    }

    /// Writes it again if it has gone and was the same: the same fields may come between other boundaries. Whether it did.
    pub(super) fn settle(&self, id: &RequestId, body: &[u8], blob: Blob) -> Result<bool> {
        match fs::metadata(self.path(id, blob)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let is_same = (xxh3_64(body), body.len()) == (blob.hash, blob.len);
                if is_same { self.write(id, body, blob).map(|()| true) } else { Ok(false) }
            }
            found => found.map(|_| false).map_err(|error| self.failed("cannot be read", &error)),
        }
    }

    fn write(&self, id: &RequestId, body: &[u8], blob: Blob) -> Result<()> {
        let new = self.folder(blob.day).join(format!("{}{NEW}", hex::encode(random::<8>()?)));
        let written = self.write_new(&new, &self.path(id, blob), body);
        if written.is_err() {
            // What a process that dies leaves goes with its folder.
            let _ = fs::remove_file(&new);
        }
        written.map_err(|error| self.failed("takes no body", &error))
    }

    /// Nobody sees a part of it: the name is given to the whole file. Whoever has the name already is the same.
    fn write_new(&self, new: &Path, path: &Path, body: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.dir);
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        let file = File::options().write(true).create_new(true).mode(FILE_MODE).open(new)?;
        let mut file = zstd::Encoder::new(file, 1)?;
        file.write_all(body)?;
        file.finish()?.sync_all()?;
        crash::point("blob.written");
        {
            let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
            fs::rename(new, path)?;
        }
        File::open(folder)?.sync_all()?;
        File::open(&self.dir)?.sync_all()?;
        crash::point("blob.named");
        Ok(())
    }

    pub(super) fn read(&self, id: &RequestId, blob: Blob) -> Result<Bytes> {
        let path = self.path(id, blob);
        let corrupt = |what: &str| StoreError::Corrupt(format!("{} {what}", path.display()));
        let failed = |error: io::Error| match error.raw_os_error() {
            _ if error.kind() == ErrorKind::NotFound => corrupt("is not there"),
            Some(_) => self.failed("cannot be read", &error),
            None => corrupt("does not hold a body"),
        };
        let mut body = Vec::new();
        body.try_reserve_exact(blob.len).map_err(|_| StoreError::Unavailable("no memory for a body".into()))?;
        let file = File::open(&path).and_then(zstd::Decoder::new).map_err(failed)?;
        file.take(blob.len as u64 + 1).read_to_end(&mut body).map_err(failed)?;
        let is_whole = body.len() == blob.len && xxh3_64(&body) == blob.hash;
        if is_whole { Ok(body.into()) } else { Err(corrupt("holds another body")) }
    }

    /// Removes a body, and has the disk know of it.
    pub(super) fn remove(&self, id: &RequestId, blob: Blob) -> Result<()> {
        let removed = gone(fs::remove_file(self.path(id, blob)));
        let removed = removed.and_then(|()| self.sync_folder(blob.day));
        removed.map_err(|error| self.failed("keeps a body", &error))
    }

    /// Has the disk know which files a folder has, if there is one.
    pub(super) fn sync_folder(&self, day: u64) -> io::Result<()> {
        gone(File::open(self.folder(day)).and_then(|folder| folder.sync_all()))
    }

    /// Removes what is past, until it is told to stop.
    pub(super) fn sweep(&self, stopped: &mpsc::Receiver<()>) {
        let mut within = Duration::ZERO;
        while stopped.recv_timeout(within) == Err(RecvTimeoutError::Timeout) {
            within = match self.sweep_step() {
                Ok(true) => SWEEP_EVERY,
                // Others have the disk meanwhile.
                Ok(false) => Duration::from_millis(100),
                Err(error) => {
                    tracing::warn!(path = %self.dir.display(), %error, "bodies that have expired stay for now");
                    SWEEP_EVERY
                }
            };
        }
    }

    /// Whether all is removed that is past.
    pub(super) fn sweep_step(&self) -> io::Result<bool> {
        let today = self.now_s() / DAY_S;
        let mut left = STEP_FILES;
        for folder in fs::read_dir(&self.dir)? {
            let folder = folder?;
            let day = folder.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            if day.is_none_or(|day| day.saturating_add(GRACE_DAYS) >= today) {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                if left == 0 {
                    return Ok(false);
                }
                left -= 1;
                gone(fs::remove_file(file?.path()))?;
            }
            gone(fs::remove_dir(folder.path()))?;
        }
        Ok(true)
    }

    pub(super) fn failed(&self, what: &str, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!("the directory {} {what}: {error}", self.dir.display()))
    }
}
