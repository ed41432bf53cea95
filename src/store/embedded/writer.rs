//! The one thread that writes. What has gathered while it was busy is committed together with one sync; leases and what
//! came of them before, without one, and where lanes are behind, while that sync goes on too.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc, watch};

use super::batch::{Call, Reply};
use super::open::{LATE_US, Open};
use super::ready::Ready;
use super::recent::ReadLast;
use super::rows::micros;
use super::spaces::Spaces;
use super::sweep::SWEEP_EVERY;
use crate::clock::Clock;
use crate::domain::attempt_log;
use crate::domain::retention::Lifetimes;
use crate::store::{Result, StoreError};

/// At most so many calls are committed together.
const BATCH_CALLS_MAX: usize = 512;
/// A batch that holds so many bytes of bodies takes no further call.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often an engine is opened that cannot be.
const REOPEN_EVERY: Duration = Duration::from_millis(500);

/// What callers and the writer share.
pub(super) struct Shared {
    spaces: RwLock<Option<Arc<Spaces>>>,
    ready: Mutex<Ready>,
    pub(super) work: Notify,
    pub(super) read_last: ReadLast,
    /// Changes when events are committed.
    pub(super) fed: watch::Sender<()>,
    /// How many bytes the log of one endpoint's attempts may hold.
    pub(super) attempt_log_bytes: AtomicU64,
}

impl Shared {
    pub(super) fn new() -> Self {
        let attempt_log_bytes = AtomicU64::new(attempt_log::BYTES_DEFAULT);
        let fed = watch::Sender::new(());
        let (spaces, ready, work, read_last) =
            (RwLock::new(None), Mutex::default(), Notify::new(), ReadLast::default());
        Self { spaces, ready, work, read_last, fed, attempt_log_bytes }
    }

    /// The engine, unless it is being opened again.
    pub(super) fn spaces(&self) -> Result<Arc<Spaces>> {
        let spaces = self.spaces.read().unwrap_or_else(PoisonError::into_inner).clone();
        spaces.ok_or_else(|| StoreError::Unavailable("it is being opened again after a failure".into()))
    }

    /// Which lanes are due.
    pub(super) fn ready(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, spaces: Option<Arc<Spaces>>) {
        *self.spaces.write().unwrap_or_else(PoisonError::into_inner) = spaces;
    }
}

/// Calls that wait for a sync, and how many bytes they bring.
#[derive(Default)]
struct Others {
    calls: Vec<Call>,
    bytes: usize,
}

impl Others {
    fn is_full(&self) -> bool {
        self.calls.len() >= BATCH_CALLS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    fn take(&mut self) -> Vec<Call> {
        std::mem::take(self).calls
    }
}

/// The writer. Dropped, it closes the engine.
pub(super) struct Writer {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    lifetimes: Lifetimes,
    shared: Arc<Shared>,
    open: Option<Open>,
    /// Why the engine could not be opened, and when, on the clock that never steps.
    failed: Option<(StoreError, Duration)>,
}

impl Writer {
    pub(super) fn open(dir: PathBuf, clock: Arc<dyn Clock>, lifetimes: Lifetimes, shared: Arc<Shared>) -> Result<Self> {
        let mut writer = Self { dir, clock, lifetimes, shared, open: None, failed: None };
        writer.open = Some(writer.reopen()?);
        Ok(writer)
    }

    fn reopen(&self) -> Result<Open> {
        let mut open = Open::new(&self.dir, self.lifetimes, micros(self.clock.now()))?;
        open.core.index.tell(&mut self.shared.ready());
        self.shared.set(Some(Arc::clone(&open.spaces)));
        Ok(open)
    }

    /// Serves until nobody can call any more. While nobody does it wakes by itself: what has expired is removed, and an
    /// engine that failed is opened again.
    pub(super) fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut others = Others::default();
        loop {
            let elapsed = self.clock.elapsed();
            let within = self.open.as_ref().map_or(SWEEP_EVERY, |open| open.wait(elapsed));
            let mut next = match next(&mut calls, &waker, within) {
                Ok(first) => Some(first),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return self.close(others),
            };
            let mut unsynced = Vec::new();
            while let Some(call) = next {
                others.bytes += call.bytes();
                let to = if call.is_unsynced() { &mut unsynced } else { &mut others.calls };
                to.push(call);
                let is_full = others.is_full() || unsynced.len() >= BATCH_CALLS_MAX;
                next = if is_full { None } else { calls.try_recv().ok() };
            }
            self.serve(unsynced, &mut others);
        }
    }

    /// What is answered unsynced does not wait for the sync of the others. With no call, and nothing being synced, what was
    /// written in bulk is noted, and an engine that failed is opened.
    fn serve(&mut self, unsynced: Vec<Call>, others: &mut Others) {
        let is_idle = unsynced.is_empty() && others.calls.is_empty() && !self.is_syncing();
        if !unsynced.is_empty() {
            self.commit(unsynced);
        }
        if self.is_syncing() {
            self.see(others.is_full());
            if self.is_syncing() {
                return;
            }
            if !others.calls.is_empty() {
                self.tidy_up();
            }
        }
        if is_idle || !others.calls.is_empty() {
            self.commit(others.take());
        }
        if !self.is_syncing() {
            self.tidy_up();
        }
    }

    fn is_syncing(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.unseen.is_some())
    }

    fn commit(&mut self, calls: Vec<Call>) {
        let mut open = match self.take_open() {
            Ok(open) => open,
            Err(error) => return calls.into_iter().for_each(|call| call.refuse(error.clone())),
        };
        let now = micros(self.clock.now());
        let mut replies = Vec::with_capacity(calls.len());
        let is_behind = self.shared.ready().is_behind(now.saturating_sub(LATE_US));
        let outcome = open.commit(calls, now, is_behind, &mut replies);
        self.answer(open, &outcome, replies);
    }

    /// Shows what is unseen when it has been synced, and answers; waits for that if told to.
    fn see(&mut self, waits: bool) {
        let Some(mut open) = self.open.take() else { return };
        match open.see(waits) {
            Some((outcome, replies)) => self.answer(open, &outcome, replies),
            None => self.open = Some(open),
        }
    }

    /// A commit that fails is not tried again: what the engine then holds in memory is not what is on the disk. It is
    /// dropped, with all that was derived from it, and opened at the next call, or soon.
    fn answer(&mut self, mut open: Open, outcome: &Result<()>, mut replies: Vec<Reply>) {
        match outcome {
            Ok(()) => {
                open.core.index.tell(&mut self.shared.ready());
                if std::mem::take(&mut open.core.moved) {
                    self.shared.work.notify_one();
                }
                if std::mem::take(&mut open.core.has_erased) {
                    self.shared.read_last.forget();
                }
                let last = open.core.last.event;
                if open.unseen.is_none() && std::mem::replace(&mut open.fed, last) < last {
                    self.shared.fed.send_replace(());
                }
            }
            Err(error) => {
                tracing::error!(%error, "the store failed to commit and is opened again");
                self.shared.set(None);
                replies.extend(open.unseen.take().into_iter().flat_map(|unseen| unseen.replies));
            }
        }
        for reply in replies {
            reply(outcome.clone());
        }
        self.open = outcome.is_ok().then_some(open);
    }

    /// The engine, opened again if it failed. Where that fails too, as on a full disk, it is not tried at each call: it
    /// reads and writes much.
    fn take_open(&mut self) -> Result<Open> {
        if let Some(open) = self.open.take() {
            return Ok(open);
        }
        let elapsed = self.clock.elapsed();
        if let Some((error, at)) = &self.failed
            && elapsed.saturating_sub(*at) < REOPEN_EVERY
        {
            return Err(error.clone());
        }
        let opened = self.reopen();
        self.failed = opened.as_ref().err().map(|error| (error.clone(), elapsed));
        opened.inspect_err(|error| tracing::error!(%error, "the store cannot be opened again"))
    }

    /// Nobody who was answered waits for this, and who asks meanwhile waits for one step at most.
    fn tidy_up(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let (now, elapsed) = (micros(self.clock.now()), self.clock.elapsed());
        let log_bytes = self.shared.attempt_log_bytes.load(Ordering::Relaxed);
        let swept = open.sweeper.step(&open.spaces, &mut open.core, log_bytes, elapsed, now);
        let begun = swept.and_then(|()| open.bulk.begin(&open.spaces.ids, open.core.last));
        // A step may wait for the engine, which what is to be synced is not to wait for.
        let synced = begun.and_then(|()| open.sync(elapsed));
        match synced.and_then(|()| open.apply.step(&open.spaces, elapsed)) {
            Ok(()) => self.open = Some(open),
            Err(error) => {
                tracing::error!(%error, "the store failed to tidy up and is opened again");
                self.shared.set(None);
            }
        }
    }

    fn close(mut self, mut others: Others) {
        self.see(true);
        if !others.calls.is_empty() {
            self.commit(others.take());
            self.see(true);
        }
        if let Some(open) = &self.open
            && let Err(error) = open.spaces.sync()
        {
            tracing::error!(%error, "the store failed to sync what it wrote last");
        }
    }
}

/// Wakes the thread that waits for calls.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The next call. [`TryRecvError::Empty`] when there was none within this time, or a little earlier.
fn next(calls: &mut mpsc::Receiver<Call>, waker: &Waker, within: Duration) -> std::result::Result<Call, TryRecvError> {
    match calls.poll_recv(&mut Context::from_waker(waker)) {
        Poll::Ready(call) => call.ok_or(TryRecvError::Disconnected),
        Poll::Pending => {
            std::thread::park_timeout(within);
            calls.try_recv()
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.set(None);
    }
}
