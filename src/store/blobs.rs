//! Large bodies in files, so that they go neither through a log and an engine nor through Redis.
//!
//! A file is written, synced and named before the commit that refers to it, so what refers to a file finds it. One that
//! a crash left without its commit does no harm: each lies in the folder of the day on which what may refer to it expires,
//! and folders are removed whole when their day is long past. A resend that lives longer writes a file of its own.
//!
//! ```text
//! DIR/20789/req_0f8k….5a1c…    the day, counted from 1970; the request, and a hash of the body
//! DIR/blobs.id                 what tells the directory from another
//! ```

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::xxh3_64;

use super::{Result, StoreError, place, random};
use crate::clock::Clock;
use crate::crash;
use crate::domain::id::RequestId;

/// Larger bodies are kept in files.
pub const BLOB_LEN_MIN: usize = 256 * 1024;
/// So many are written at once: a disk that hangs holds no more of them in memory.
const WRITES_MAX: usize = 4;
const DAY_S: u64 = 24 * 3_600;
/// Days that a folder stays after its own: clocks differ, and a commit may come late.
const GRACE_DAYS: u64 = 1;
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// After so many files a step of the sweep ends.
const STEP_FILES: usize = 1_000;
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    /// When what refers to it expires.
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

/// The files of one directory. Any number of stores may share it, on any number of machines.
pub struct Blobs {
    files: Files,
    /// Of the directory.
    id: String,
    writes: Arc<Semaphore>,
    /// Dropped, it ends the thread that removes what is past.
    sweeper: Option<(Sender<()>, JoinHandle<()>)>,
}

#[derive(Clone)]
struct Files {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Blobs {
    /// Opens the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or written.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let files = Files { dir: dir.to_owned(), clock };
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
        tokio::task::spawn_blocking(keep).await.map_err(|_| stopping())?
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
        let removed = gone(fs::remove_file(self.files.path(id, blob)));
        let synced =
            removed.and_then(|()| gone(File::open(self.files.folder(blob.day)).and_then(|dir| dir.sync_all())));
        synced.map_err(|error| self.files.failed("keeps a body", &error))
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

impl Files {
    fn now_s(&self) -> u64 {
        u64::try_from(self.clock.now().as_second()).unwrap_or_default()
    }

    fn day_after(&self, life: Duration) -> u64 {
        self.now_s().saturating_add(life.as_secs()) / DAY_S
    }

    fn folder(&self, day: u64) -> PathBuf {
        self.dir.join(day.to_string())
    }

    fn path(&self, id: &RequestId, blob: Blob) -> PathBuf {
        self.folder(blob.day).join(format!("{id}.{:016x}", blob.hash))
    }

    fn make_dir(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.dir)?;
        let parent = self.dir.parent().filter(|parent| *parent != Path::new(""));
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn keep(&self, id: &RequestId, body: &[u8], life: Duration) -> Result<Blob> {
        let day = self.day_after(life);
        let blob = Blob { day, hash: xxh3_64(body), len: body.len() };
        let new = self.folder(day).join(format!("{}.new", hex::encode(random::<8>()?)));
        let written = self.write(&new, &self.path(id, blob), body);
        if written.is_err() {
            // What a process that dies leaves goes with its folder.
            let _ = fs::remove_file(&new);
        }
        written.map(|()| blob).map_err(|error| self.failed("takes no body", &error))
    }

    /// Nobody sees a part of it: the name is given to the whole file. Whoever has the name already is the same.
    fn write(&self, new: &Path, path: &Path, body: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.dir);
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        let file = File::options().write(true).create_new(true).mode(FILE_MODE).open(new)?;
        let mut file = zstd::Encoder::new(file, 1)?;
        file.write_all(body)?;
        file.finish()?.sync_all()?;
        crash::point("blob.written");
        fs::rename(new, path)?;
        File::open(folder)?.sync_all()?;
        File::open(&self.dir)?.sync_all()?;
        crash::point("blob.named");
        Ok(())
    }

    fn read(&self, id: &RequestId, blob: Blob) -> Result<Bytes> {
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

    /// Removes what is past, until it is told to stop.
    fn sweep(&self, stopped: &mpsc::Receiver<()>) {
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
    fn sweep_step(&self) -> io::Result<bool> {
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

    fn failed(&self, what: &str, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!("the directory {} {what}: {error}", self.dir.display()))
    }
}

/// Another process that shares the directory may have been faster.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn stopping() -> StoreError {
    StoreError::Unavailable("shutting down".into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU64, Ordering};

    use jiff::Timestamp;

    use super::*;

    const DAY: Duration = Duration::from_secs(DAY_S);

    /// Stands at a day until it is set.
    #[derive(Debug)]
    struct Days(AtomicU64);

    impl Clock for Days {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(i64::try_from(self.0.load(Ordering::SeqCst) * DAY_S + 7).unwrap()).unwrap()
        }

        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn files(dir: &Path) -> (Files, Arc<Days>) {
        let clock = Arc::new(Days(20_000.into()));
        let files = Files { dir: dir.join("blobs"), clock: Arc::clone(&clock) as _ };
        files.make_dir().unwrap();
        (files, clock)
    }

    fn id(text: &str) -> RequestId {
        RequestId::of("mail", text.as_bytes())
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_body_comes_back_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let (files, _) = files(dir.path());
        let body: Vec<u8> =
            (0..3_000_000_u64).map(|n| (n.wrapping_mul(n | 1).wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let kept = files.keep(&id("a"), &body, DAY).unwrap();
        assert_eq!(files.keep(&id("a"), &body, DAY).unwrap(), kept);
        assert!(files.read(&id("a"), kept).unwrap() == body);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(names(&files.dir), ["20001"]);
        let folder = files.folder(20_001);
        assert_eq!(names(&folder), [format!("{}.{:016x}", id("a"), kept.hash)]);
        assert_eq!([mode(&files.dir), mode(&folder), mode(&files.path(&id("a"), kept))], [0o700, 0o700, 0o600]);
    }

    #[test]
    fn what_is_gone_or_not_whole_is_told_and_never_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let (files, _) = files(dir.path());
        let kept = files.keep(&id("a"), &[b'x'; 300_000], DAY).unwrap();
        let path = files.path(&id("a"), kept);
        let whole = fs::read(&path).unwrap();
        let other = zstd::encode_all(&[b'y'; 300_000][..], 1).unwrap();
        let bomb = zstd::encode_all(&vec![b'x'; 30_000_000][..], 1).unwrap();
        for wrong in [&whole[..whole.len() / 2], b"", b"garbage", &other, &bomb] {
            fs::write(&path, wrong).unwrap();
            assert!(matches!(files.read(&id("a"), kept), Err(StoreError::Corrupt(_))), "{} bytes", wrong.len());
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(files.read(&id("a"), kept), Err(StoreError::Corrupt(_))));
        // Not even a file.
        fs::create_dir(&path).unwrap();
        assert!(matches!(files.read(&id("a"), kept), Err(StoreError::Unavailable(_))));
    }

    #[test]
    fn a_body_stays_for_its_life_and_a_crash_leaves_nothing_for_longer() {
        let dir = tempfile::tempdir().unwrap();
        let (files, clock) = files(dir.path());
        let short = files.keep(&id("a"), b"a body", DAY * 7).unwrap();
        clock.0.store(20_003, Ordering::SeqCst);
        // It came again, and lives longer this time.
        let long = files.keep(&id("a"), b"a body", DAY * 30).unwrap();
        // A process died here.
        fs::write(files.folder(20_007).join("0011.new"), "a bo").unwrap();
        let is_there = |blob| files.read(&id("a"), blob).is_ok();
        for (day, expected) in
            [(20_007, [true; 2]), (20_008, [true; 2]), (20_009, [false, true]), (20_034, [false, true])]
        {
            clock.0.store(day, Ordering::SeqCst);
            assert!(files.sweep_step().unwrap());
            assert_eq!([is_there(short), is_there(long)], expected, "{day}");
        }
        fs::write(files.dir.join("not ours"), "").unwrap();
        clock.0.store(20_035, Ordering::SeqCst);
        assert!(files.sweep_step().unwrap());
        assert_eq!(names(&files.dir), ["not ours"]);
    }

    #[test]
    fn much_is_removed_in_steps() {
        let dir = tempfile::tempdir().unwrap();
        let (files, _) = files(dir.path());
        fs::create_dir(files.folder(7)).unwrap();
        for number in 0..=STEP_FILES {
            fs::write(files.folder(7).join(number.to_string()), "").unwrap();
        }
        assert!(!files.sweep_step().unwrap());
        assert_eq!(names(&files.folder(7)).len(), 1);
        assert!(files.sweep_step().unwrap());
        assert!(names(&files.dir).is_empty());
    }

    #[tokio::test]
    async fn what_is_past_is_removed_at_once_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let (files, clock) = files(dir.path());
        fs::create_dir(files.folder(7)).unwrap();
        let blobs = Blobs::open(&files.dir, clock).unwrap();
        while files.folder(7).exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let kept = blobs.keep(id("a"), Bytes::from_static(b"a body"), DAY).await.unwrap();
        assert_eq!(blobs.read(&id("a"), kept).unwrap(), "a body");
    }
}
