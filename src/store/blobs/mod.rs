//! Large bodies in files, so that they go neither through a log and an engine nor through Redis.
//!
//! A file is written, synced and named before the commit that refers to it, so what refers to a file finds it. One that
//! a crash left without its commit does no harm: each lies in the folder of the day on which what may refer to it expires,
//! and folders are removed whole when their day is long past. A resend that lives longer writes a file of its own.
//!
//! Where a person is erased, what a crash left and names them goes too. What goes otherwise is written again when the
//! provider sends the request again.
//!
//! ```text
//! DIR/20789/req_0f8k….5a1c…    the day, counted from 1970; the request, and a hash of the body
//! DIR/20789/9b0e….new          one that is being written
//! DIR/blobs.id                 what tells the directory from another
//! ```

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{Result, StoreError, place};
use crate::clock::Clock;
use crate::domain::id::RequestId;

mod files;
mod left;

use files::Files;
pub(super) use left::Refers;

/// Larger bodies are kept in files.
pub const BLOB_LEN_MIN: usize = 256 * 1024;
/// So many are written at once: a disk that hangs holds no more of them in memory.
const WRITES_MAX: usize = 4;

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    /// When what refers to it expires, in days from 1970.
    day: u64,
    /// Of the body, for one id may have several.
    hash: u64,
    len: usize,
}

impl Blob {
    /// How many bytes the body has.
    pub(super) fn len(self) -> usize {
        self.len
    }
}

/// The files of one directory. All gateways on one store may share it, on any number of machines.
pub struct Blobs {
    files: Files,
    /// Of the directory.
    id: String,
    writes: Arc<Semaphore>,
    /// Dropped, it ends the thread that removes what is past.
    sweeper: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Blobs {
    /// Opens the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or written.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let files = Files { dir: dir.to_owned(), clock, naming: Arc::default() };
        files.make_dir().map_err(|error| files.failed("cannot be made", &error))?;
        let id = place::id(dir)?;
        let (sender, stopped) = mpsc::channel();
        let swept = files.clone();
        let thread = std::thread::Builder::new().name("store-blobs".into()).spawn(move || swept.sweep(&stopped));
        let thread = thread.map_err(|error| files.failed("has no thread to be tidied by", &error))?;
        Ok(Self { files, id, writes: Arc::new(Semaphore::new(WRITES_MAX)), sweeper: Some((sender, thread)) })
    }

    /// What tells the directory from another.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Holds it against the id of the directory that a store began with.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when it is another.
    pub(super) fn check(&self, known: &str) -> Result<()> {
        place::check(Some((&self.files.dir, &self.id)), known)
    }

    /// Keeps the body of a request that lives so long from now on. When this returns, it would survive a power cut.
    pub(super) async fn keep(&self, id: RequestId, body: Bytes, life: Duration) -> Result<Blob> {
        let write = Arc::clone(&self.writes).acquire_owned().await;
        let files = self.files.clone();
        let keep = move || {
            let kept = files.keep(&id, &body, life);
            drop(write);
            kept
        };
        spawn_blocking(keep).await.map_err(|_| stopping())?
    }

    /// Whether a body is kept for so long from now on.
    pub(super) fn is_kept(&self, blob: Blob, life: Duration) -> bool {
        blob.day >= self.files.day_after(life)
    }

    /// Reads a body back; on a thread that may wait for the disk.
    pub(super) fn read(&self, id: &RequestId, blob: Blob) -> Result<Bytes> {
        let read = self.files.read(id, blob);
        read.inspect_err(|error| tracing::error!(request.id = %id, %error, "the body of a request cannot be read"))
    }

    /// Removes a body; on a thread that may wait for the disk.
    pub(super) fn remove(&self, id: &RequestId, blob: Blob) -> Result<()> {
        self.files.remove(id, blob)
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.sweeper.take() {
            drop(sender);
            if thread.join().is_err() {
                tracing::error!("what tidies up bodies had stopped");
            }
        }
    }
}

fn stopping() -> StoreError {
    StoreError::Unavailable("shutting down".into())
}

#[cfg(test)]
mod tests;
