//! Threads whose work nobody waits for; most give way to those whose work somebody does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::store::{Result, StoreError};

/// How much they give way; of 19.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// A pause comes after so much work, in bytes. It takes about a millisecond. With smaller pieces and shorter pauses a
/// request takes more CPU and nothing waits less. Without optimization less, so that tests come by here.
const PIECE_BYTES: usize = if cfg!(debug_assertions) { 16 * 1024 } else { 256 * 1024 };
/// What each row costs besides its bytes, in bytes.
const ROW_BYTES: usize = 100;
/// A low priority alone is not enough: whoever wakes up is put beside another that runs, not in place of such a thread,
/// and stays there until a processor has nothing to do.
const PAUSE: Duration = Duration::from_micros(400);

/// Work in pieces, and a pause after each, unless somebody has come to wait for its end.
#[derive(Default)]
pub(super) struct Pace {
    hurry: Arc<AtomicBool>,
    done: usize,
}

impl Pace {
    /// Without a pause.
    pub(super) fn hurried() -> Self {
        Self { hurry: Arc::new(AtomicBool::new(true)), done: 0 }
    }

    /// To be called for each row of so many bytes. Answers whether it paused.
    pub(super) fn row(&mut self, bytes: usize) -> bool {
        self.done += bytes + ROW_BYTES;
        let pauses = self.done >= PIECE_BYTES && !self.hurry.load(Ordering::Relaxed);
        if pauses {
            self.done = 0;
            std::thread::sleep(PAUSE);
        }
        pauses
    }
}

/// One of them. Dropped, it waits for its end: then what it writes to may be opened again.
pub(super) struct Task<T> {
    thread: Option<JoinHandle<T>>,
    hurry: Arc<AtomicBool>,
}

impl<T: Send + 'static> Task<T> {
    /// Begins one. The threads that it begins give way like it.
    pub(super) fn begin(name: &str, work: impl FnOnce(Pace) -> T + Send + 'static) -> Result<Self> {
        let work = |pace| {
            give_way();
            work(pace)
        };
        Self::spawn(name, Pace::default(), work)
    }

    /// Begins one that does not give way, since others are soon to wait for it.
    pub(super) fn begin_pressing(name: &str, work: impl FnOnce(Pace) -> T + Send + 'static) -> Result<Self> {
        Self::spawn(name, Pace::hurried(), work)
    }

    fn spawn(name: &str, pace: Pace, work: impl FnOnce(Pace) -> T + Send + 'static) -> Result<Self> {
        let hurry = Arc::clone(&pace.hurry);
        let thread = Builder::new().name(name.into()).spawn(move || work(pace));
        let failed = |error| StoreError::Unavailable(format!("no thread for its background work: {error}"));
        Ok(Self { thread: Some(thread.map_err(failed)?), hurry })
    }

    /// Whether it need not be waited for.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Nobody waits for its end.
    pub(super) fn leave(mut self) {
        self.thread = None;
    }

    /// Waits for its end.
    pub(super) fn join(mut self) -> Result<T> {
        let ended = self.end().and_then(|thread| thread.join().ok());
        ended.ok_or_else(|| StoreError::Unavailable("its background work has stopped".into()))
    }
}

impl<T> Task<T> {
    /// It makes no pause from now on.
    pub(super) fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    fn end(&mut self) -> Option<JoinHandle<T>> {
        self.hurry();
        self.thread.take()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(thread) = self.end() {
            let _ = thread.join();
        }
    }
}

/// Only on Linux has a thread a priority of its own.
#[cfg(target_os = "linux")]
fn give_way() {
    // Without it, all is as well, only slower.
    let _ = rustix::process::nice(NICE);
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Ends when it is told to hurry, or never.
    pub(in super::super) fn task() -> Task<Result<()>> {
        let work = |mut pace: Pace| {
            while pace.row(PIECE_BYTES) {}
            Ok(())
        };
        Task::begin("test", work).unwrap()
    }

    /// Whether it does within some seconds, for a slow machine.
    pub(in super::super) fn ends<T: Send + 'static>(task: &Task<T>) -> bool {
        (0..5_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            task.is_finished()
        })
    }

    #[test]
    fn work_pauses_after_each_piece_until_somebody_waits_for_it() {
        let (mut pace, row) = (Pace::default(), PIECE_BYTES / 2 - ROW_BYTES);
        assert_eq!([0; 4].map(|_| pace.row(row)), [false, true, false, true]);
        assert!(!Pace::hurried().row(PIECE_BYTES));
        let (tell, told) = std::sync::mpsc::channel();
        let task =
            Task::begin("test", move |mut pace| while pace.row(PIECE_BYTES) && tell.send(()).is_ok() {}).unwrap();
        told.recv().unwrap();
        // It never comes to an end without.
        task.join().unwrap();
    }
}
