//! What the writer can be asked, and how what it is asked at the same time is decided and committed together.

use tokio::sync::oneshot;

use super::bulk;
use super::core::{Change, Core, IDS_WRITTEN, Last};
use super::index::Item;
use super::ingest::Arrival;
use super::lease::Taken;
use super::rows::Key;
use super::spaces::{Space, Spaces};
use super::txn::{Commit, Txn};
use crate::crash;
use crate::domain::plan::Generation;
use crate::store::{Committed, Finished, LeaseLost, Result, StoreError, Want};

type Answer<T> = oneshot::Sender<Result<T>>;
pub(super) type Reply = Box<dyn FnOnce(Result<()>) + Send>;
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

    /// Whether it is answered before it is synced: a delivery that was begun or ended so is begun again if the power fails.
    pub(super) fn is_unsynced(&self) -> bool {
        matches!(self, Self::Lease(..) | Self::Finish(..) | Self::Ready(_))
    }

    /// Whether nothing that it changes is looked at by those who lease and finish, until what it brings is seen; but where
    /// an event takes the place of one that has expired.
    pub(super) fn is_apart(&self) -> bool {
        matches!(self, Self::Ingest(..))
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
            Self::Decide(decide, _) => {
                batch.see_joining();
                decide(Ok(batch))?
            }
            Self::Ready(answer) => reply(answer, Ok(())),
        })
    }

    pub(super) fn refuse(self, error: StoreError) {
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
fn reply<T: Send + 'static>(answer: Answer<T>, decided: Result<T>) -> Reply {
    Box::new(move |committed| drop(answer.send(committed.and(decided))))
}

/// Decides everything in order, each seeing what came before. What the engine fails fails the batch; the call that met
/// that and those that follow it are dropped, which their callers see.
pub(super) fn decide_all(
    spaces: &Spaces,
    core: &mut Core,
    written: Option<Last>,
    calls: Vec<Call>,
    now: u64,
    is_alone: bool,
    replies: &mut Vec<Reply>,
) -> Result<Decided> {
    let mut batch = Batch { spaces, core, txn: Txn::new(spaces), now, is_alone, committed: Vec::new() };
    if let Some(written) = written {
        batch.txn.put(Space::Meta, IDS_WRITTEN, written.bytes());
    }
    for call in calls {
        replies.push(call.run(&mut batch)?);
    }
    batch.core.close_batch(&mut batch.txn, now)?;
    let joining = std::mem::take(&mut batch.core.joining);
    Ok(Decided { commit: batch.txn.close(), joining, points: batch.committed })
}

/// What was decided together.
pub(super) struct Decided {
    pub(super) commit: Commit,
    /// What is pending of it.
    joining: Vec<(Key, Item)>,
    /// Where to crash when it is committed.
    points: Vec<&'static str>,
}

impl Decided {
    /// Others see it from now on.
    pub(super) fn show(self, spaces: &Spaces, core: &mut Core) {
        spaces.show(self.commit);
        core.join(self.joining);
        self.points.into_iter().for_each(crash::point);
    }
}

/// What is committed together.
pub(super) struct Batch<'a> {
    spaces: &'a Spaces,
    core: &'a mut Core,
    txn: Txn<'a>,
    now: u64,
    /// Whether everything that was decided before is seen.
    is_alone: bool,
    /// Where to crash when it is.
    committed: Vec<&'static str>,
}

impl Batch<'_> {
    /// What is pending of this batch is there for those who look for it.
    fn see_joining(&mut self) {
        let joining = std::mem::take(&mut self.core.joining);
        self.core.join(joining);
    }

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
            // What is not seen yet cannot be read again.
            Err(StoreError::Corrupt(error)) if !self.is_alone => {
                return Err(StoreError::Unavailable(format!("something is unreadable: {error}")));
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
