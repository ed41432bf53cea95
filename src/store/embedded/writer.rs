//! The one thread that writes. What has gathered while it was busy is committed as one batch with one sync.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::apply::Apply;
use super::bulk::{self, Bulk};
use super::core::{Change, Core, IDS_WRITTEN, Last};
use super::ingest::Arrival;
use super::lease::Taken;
use super::ready::Ready;
use super::rows::micros;
use super::spaces::{Space, Spaces};
use super::sweep::{SWEEP_EVERY, Sweeper};
use super::txn::Txn;
use crate::clock::Clock;
use crate::crash;
use crate::domain::attempt_log;
use crate::domain::plan::Generation;
use crate::domain::retention::Lifetimes;
use crate::store::{Committed, Finished, LeaseLost, Result, StoreError, Want};

/// At most so many calls are committed together.
const BATCH_CALLS_MAX: usize = 512;
/// A batch that holds so many bytes of bodies takes no further call.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often an engine is opened that cannot be.
const REOPEN_EVERY: Duration = Duration::from_millis(500);

type Answer<T> = oneshot::Sender<Result<T>>;
pub(super) type Reply = Box<dyn FnOnce(Result<()>)>;
/// Decides on a batch, or is refused.
type Decide = Box<dyn FnOnce(Result<&mut Batch<'_>>) -> Result<Reply> + Send>;
/// Before the commit, and after it.
type CrashPoints = (Option<&'static str>, Option<&'static str>);

/// What the writer can be asked.
pub(super) enum Call {
    /// Each on its own. One that could not be read by its caller is answered what that found.
    Ingest(Vec<Result<Arrival>>, Answer<Vec<Result<Committed>>>),
    Lease(Vec<Want>, Answer<Taken>),
    Finish(Vec<Finished>, Answer<Vec<LeaseLost>>),
    Change(Change, Answer<Option<Generation>>),
    /// Something else that brings so many bytes, as [`decide`] makes it.
    Decide(Decide, usize),
    /// Nothing but whether it is there and the engine is open.
    Ready(Answer<()>),
}

impl Call {
    /// How much it holds.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Ingest(arrivals, _) => arrivals.iter().flatten().map(Arrival::bytes).sum(),
            Self::Decide(_, bytes) => *bytes,
            Self::Lease(..) | Self::Finish(..) | Self::Change(..) | Self::Ready(_) => 0,
        }
    }

    /// The names of its places to crash.
    fn crash_points(&self) -> CrashPoints {
        match self {
            Self::Ingest(..) => (Some("ingest.before_commit"), Some("ingest.committed")),
            Self::Lease(..) => (None, Some("lease.committed")),
            Self::Finish(..) => (Some("finish.before_commit"), Some("finish.committed")),
            Self::Change(..) => (Some("endpoints.before_commit"), Some("endpoints.committed")),
            Self::Decide(..) | Self::Ready(_) => (None, None),
        }
    }

    /// Decides it. An error is the engine's, and the batch's.
    fn run(self, batch: &mut Batch<'_>) -> Result<Reply> {
        let points = self.crash_points();
        Ok(match self {
            Self::Ingest(arrivals, answer) => {
                let mut decided = Vec::with_capacity(arrivals.len());
                for arrival in arrivals {
                    decided.push(match bulk::has_room(&batch.spaces.ids).and(arrival) {
                        Ok(arrival) => batch.decide(points, |core, txn, now| core.ingest(txn, &arrival, now))?,
                        Err(error) => Err(error),
                    });
                }
                reply(answer, Ok(decided))
            }
            Self::Lease(wants, answer) => {
                reply(answer, batch.decide(points, |core, txn, now| core.lease(txn, &wants, now))?)
            }
            Self::Finish(finished, answer) => {
                reply(answer, batch.decide(points, |core, txn, now| core.finish(txn, finished, now))?)
            }
            Self::Change(change, answer) => {
                reply(answer, batch.decide(points, |core, txn, now| core.change_endpoints(txn, change, now))?)
            }
            Self::Decide(decide, _) => decide(Ok(batch))?,
            Self::Ready(answer) => reply(answer, Ok(())),
        })
    }

    fn refuse(self, error: StoreError) {
        match self {
            Self::Ingest(_, answer) => drop(answer.send(Err(error))),
            Self::Lease(_, answer) => drop(answer.send(Err(error))),
            Self::Finish(_, answer) => drop(answer.send(Err(error))),
            Self::Change(_, answer) => drop(answer.send(Err(error))),
            Self::Decide(decide, _) => drop(decide(Err(error))),
            Self::Ready(answer) => drop(answer.send(Err(error))),
        }
    }
}

/// A call that is decided so, and brings next to nothing.
pub(super) fn decide<T: Send + 'static>(
    answer: Answer<T>,
    how: impl FnOnce(&mut Core, &mut Txn<'_>, u64) -> Result<T> + Send + 'static,
) -> Call {
    decide_on(0, answer, how)
}

/// A call that is decided so, and brings so many bytes.
pub(super) fn decide_on<T: Send + 'static>(
    bytes: usize,
    answer: Answer<T>,
    how: impl FnOnce(&mut Core, &mut Txn<'_>, u64) -> Result<T> + Send + 'static,
) -> Call {
    let decide = move |batch: Result<&mut Batch<'_>>| match batch {
        Ok(batch) => Ok(reply(answer, batch.decide((None, None), how)?)),
        Err(error) => {
            drop(answer.send(Err(error.clone())));
            Err(error)
        }
    };
    Call::Decide(Box::new(decide), bytes)
}

/// The answer, kept back until the commit; who asked may have gone.
fn reply<T: 'static>(answer: Answer<T>, decided: Result<T>) -> Reply {
    Box::new(move |committed| drop(answer.send(committed.and(decided))))
}

/// What callers and the writer share.
pub(super) struct Shared {
    spaces: RwLock<Option<Arc<Spaces>>>,
    ready: Mutex<Ready>,
    pub(super) work: Notify,
    /// Changes when events are committed.
    pub(super) fed: watch::Sender<()>,
    /// How many bytes the log of one endpoint's attempts may hold.
    pub(super) attempt_log_bytes: AtomicU64,
}

impl Shared {
    pub(super) fn new() -> Self {
        let attempt_log_bytes = AtomicU64::new(attempt_log::BYTES_DEFAULT);
        let fed = watch::Sender::new(());
        Self { spaces: RwLock::new(None), ready: Mutex::default(), work: Notify::new(), fed, attempt_log_bytes }
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

/// The engine, and what is derived from it: thrown away together.
struct Open {
    /// Dropped first: each waits for a thread that writes.
    apply: Apply,
    bulk: Bulk,
    spaces: Arc<Spaces>,
    core: Core,
    sweeper: Sweeper,
}

impl Writer {
    pub(super) fn open(dir: PathBuf, clock: Arc<dyn Clock>, lifetimes: Lifetimes, shared: Arc<Shared>) -> Result<Self> {
        let mut writer = Self { dir, clock, lifetimes, shared, open: None, failed: None };
        writer.open = Some(writer.reopen()?);
        Ok(writer)
    }

    fn reopen(&self) -> Result<Open> {
        let spaces = Arc::new(Spaces::open(&self.dir)?);
        let mut core = Core::rebuild(&spaces, self.lifetimes, micros(self.clock.now()))?;
        core.index.tell(&mut self.shared.ready());
        let bulk = Bulk::open(&spaces.ids)?;
        self.shared.set(Some(Arc::clone(&spaces)));
        Ok(Open { apply: Apply::default(), bulk, spaces, core, sweeper: Sweeper::default() })
    }

    /// Serves until nobody can call any more. While nobody does it wakes by itself: what has expired is removed, and an
    /// engine that failed is opened again.
    pub(super) fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            let is_behind = self.open.as_ref().is_some_and(|open| open.sweeper.is_behind());
            let within = if is_behind { Duration::ZERO } else { SWEEP_EVERY };
            let first = match next(&mut calls, &waker, within) {
                Ok(first) => Some(first),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return,
            };
            let mut bytes = first.as_ref().map_or(0, Call::bytes);
            let mut batch: Vec<Call> = first.into_iter().collect();
            while !batch.is_empty()
                && batch.len() < BATCH_CALLS_MAX
                && bytes < BATCH_BYTES_MAX
                && let Ok(call) = calls.try_recv()
            {
                bytes += call.bytes();
                batch.push(call);
            }
            self.serve(batch);
        }
    }

    /// A commit that fails is not tried again: what the engine then holds in memory is not what is on the disk. It is
    /// dropped, with all that was derived from it, and opened at the next call, or soon.
    fn serve(&mut self, batch: Vec<Call>) {
        let mut open = match self.take_open() {
            Ok(open) => open,
            Err(error) => return batch.into_iter().for_each(|call| call.refuse(error.clone())),
        };
        let (now, last) = (micros(self.clock.now()), open.core.last.event);
        let mut replies = Vec::with_capacity(batch.len());
        let written = open.bulk.ended(&open.spaces.ids);
        let outcome =
            written.and_then(|written| commit(&open.spaces, &mut open.core, written, batch, now, &mut replies));
        match &outcome {
            Ok(()) => {
                open.core.index.tell(&mut self.shared.ready());
                if std::mem::take(&mut open.core.moved) {
                    self.shared.work.notify_one();
                }
                if open.core.last.event > last {
                    self.shared.fed.send_replace(());
                }
            }
            Err(error) => {
                tracing::error!(%error, "the store failed to commit and is opened again");
                self.shared.set(None);
            }
        }
        for reply in replies {
            reply(outcome.clone());
        }
        if outcome.is_ok() {
            self.tidy_up(open, now);
        }
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
    fn tidy_up(&mut self, mut open: Open, now: u64) {
        let elapsed = self.clock.elapsed();
        let log_bytes = self.shared.attempt_log_bytes.load(Ordering::Relaxed);
        let swept = open.sweeper.step(&open.spaces, &mut open.core, log_bytes, elapsed, now);
        let begun = swept.and_then(|()| open.bulk.begin(&open.spaces.ids, open.core.last));
        match begun.and_then(|()| open.apply.step(&open.spaces, elapsed)) {
            Ok(()) => self.open = Some(open),
            Err(error) => {
                tracing::error!(%error, "the store failed to tidy up and is opened again");
                self.shared.set(None);
            }
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

/// Decides everything in order, each seeing what came before, then commits it. What the engine fails fails the batch;
/// the call that met that and those that follow it are dropped, which their callers see.
fn commit(
    spaces: &Spaces,
    core: &mut Core,
    written: Option<Last>,
    calls: Vec<Call>,
    now: u64,
    replies: &mut Vec<Reply>,
) -> Result<()> {
    let mut batch = Batch { spaces, core, txn: Txn::new(spaces), now, committed: Vec::new() };
    if let Some(written) = written {
        batch.txn.put(Space::Meta, IDS_WRITTEN, written.bytes());
    }
    for call in calls {
        replies.push(call.run(&mut batch)?);
    }
    batch.core.close_batch(&mut batch.txn, now)?;
    batch.txn.commit()?;
    batch.committed.into_iter().for_each(crash::point);
    Ok(())
}

/// What is committed together.
pub(super) struct Batch<'a> {
    spaces: &'a Spaces,
    core: &'a mut Core,
    txn: Txn<'a>,
    now: u64,
    /// Where to crash when it is.
    committed: Vec<&'static str>,
}

impl Batch<'_> {
    /// Decides one thing. If that meets something unreadable it fails alone and changes nothing.
    fn decide<T>(
        &mut self,
        (before, after): CrashPoints,
        decide: impl FnOnce(&mut Core, &mut Txn<'_>, u64) -> Result<T>,
    ) -> Result<Result<T>> {
        self.txn.mark();
        let decided = decide(self.core, &mut self.txn, self.now);
        match &decided {
            Ok(_) => {
                before.into_iter().for_each(crash::point);
                self.committed.extend(after);
            }
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(%error, "a call met something unreadable and changes nothing");
                self.txn.undo();
                self.core.close_batch(&mut self.txn, self.now)?;
                // What came before it is committed, so that the index can be read again without what it left there.
                std::mem::replace(&mut self.txn, Txn::new(self.spaces)).commit()?;
                *self.core = self.core.again(self.spaces, self.now)?;
            }
            Err(error) => return Err(error.clone()),
        }
        Ok(decided)
    }
}
