//! The engine while it is open, and what is decided and written with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::apply::Apply;
use super::batch::{Call, Decided, Reply, decide_all};
use super::bulk::Bulk;
use super::core::Core;
use super::spaces::Spaces;
use super::sweep::{SWEEP_EVERY, Sweeper};
use super::syncer::Syncer;
use crate::crash;
use crate::domain::retention::Lifetimes;
use crate::store::Result;

/// For how long nothing is synced of what nobody waits for, if no other commit is.
pub(super) const UNSYNCED_MAX: Duration = Duration::from_millis(100);
/// A lane is behind that has been due for so long. Sooner, leases that need not wait for a sync would cost more than they
/// bring: they come one by one.
pub(super) const LATE_US: u64 = 20_000;

/// The engine, and what is derived from it: thrown away together.
pub(super) struct Open {
    /// Dropped first: each waits for a thread that writes.
    pub(super) apply: Apply,
    pub(super) bulk: Bulk,
    syncer: Syncer,
    pub(super) spaces: Arc<Spaces>,
    pub(super) core: Core,
    pub(super) sweeper: Sweeper,
    /// What the sync that is under way is for.
    pub(super) unseen: Option<Unseen>,
    /// Whether anything was leased or has ended since what came in before.
    is_leased: bool,
    /// The last event that others were told of; at first none, so that they look.
    pub(super) fed: u64,
    /// Since when there is a commit that is not synced, on the clock that never steps.
    unsynced: Option<Duration>,
}

/// What is written to the log, and not to be seen before it is synced. While there is any, nothing is decided but leases
/// and what came of them, and the log does not turn.
pub(super) struct Unseen {
    decided: Decided,
    /// How much of the log is to be synced.
    len: u64,
    pub(super) replies: Vec<Reply>,
}

impl Open {
    pub(super) fn new(dir: &Path, lifetimes: Lifetimes, now: u64) -> Result<Self> {
        let spaces = Arc::new(Spaces::open(dir)?);
        let core = Core::rebuild(&spaces, lifetimes, now)?;
        Ok(Self {
            apply: Apply::default(),
            bulk: Bulk::open(&spaces.ids)?,
            fed: 0,
            spaces,
            core,
            sweeper: Sweeper::default(),
            syncer: Syncer::start()?,
            unseen: None,
            is_leased: false,
            unsynced: None,
        })
    }

    /// Decides and writes. Where lanes are behind, what comes in is not waited for here: it is unseen until it is synced.
    pub(super) fn commit(
        &mut self,
        calls: Vec<Call>,
        now: u64,
        is_behind: bool,
        replies: &mut Vec<Reply>,
    ) -> Result<()> {
        let is_alone = self.unseen.is_none();
        let is_leased = self.is_leased;
        if !calls.is_empty() {
            self.is_leased = calls.iter().any(Call::is_unsynced);
        }
        let is_apart = is_alone && is_behind && is_leased && calls.iter().all(Call::is_apart);
        let written = if is_alone { self.bulk.ended(&self.spaces.ids)? } else { None };
        let decided = decide_all(&self.spaces, &mut self.core, written, calls, now, is_alone, replies)?;
        let has_superseded = std::mem::take(&mut self.core.has_superseded);
        if !is_apart || has_superseded || !decided.commit.is_synced || decided.commit.rows.is_empty() {
            self.spaces.write(&decided.commit)?;
            decided.show(&self.spaces, &mut self.core);
            return Ok(());
        }
        self.spaces.append(&decided.commit)?;
        crash::point("log.appended");
        let (sync, len) = self.spaces.to_sync();
        self.syncer.begin(sync)?;
        self.unseen = Some(Unseen { decided, len, replies: std::mem::take(replies) });
        Ok(())
    }

    /// Shows what is unseen when it has been synced; waits for that if told to. Answers how that went, and whom to tell.
    pub(super) fn see(&mut self, waits: bool) -> Option<(Result<()>, Vec<Reply>)> {
        let unseen = self.unseen.take()?;
        let ended = if waits { Some(self.syncer.wait()) } else { self.syncer.ended() };
        let Some(ended) = ended else {
            self.unseen = Some(unseen);
            return None;
        };
        let Unseen { decided, len, replies } = unseen;
        // What was committed meanwhile has its time from now on.
        self.unsynced = None;
        let outcome = self.spaces.synced(len, ended).map(|()| decided.show(&self.spaces, &mut self.core));
        Some((outcome, replies))
    }

    /// How long to wait for a call.
    pub(super) fn wait(&self, elapsed: Duration) -> Duration {
        // The end of a sync wakes.
        let wait = || wait(self.sweeper.is_behind(), self.unsynced, elapsed);
        if self.unseen.is_some() { SWEEP_EVERY } else { wait() }
    }

    /// Syncs in time what nobody waits for.
    pub(super) fn sync(&mut self, elapsed: Duration) -> Result<()> {
        if !self.spaces.is_unsynced() {
            self.unsynced = None;
        } else if elapsed.saturating_sub(*self.unsynced.get_or_insert(elapsed)) >= UNSYNCED_MAX {
            self.unsynced = None;
            self.spaces.sync()?;
        }
        Ok(())
    }
}

/// How long to wait for a call when there is more to sweep or not, and something unsynced since then or nothing.
pub(super) fn wait(is_behind: bool, unsynced: Option<Duration>, elapsed: Duration) -> Duration {
    match unsynced {
        _ if is_behind => Duration::ZERO,
        Some(since) => UNSYNCED_MAX.saturating_sub(elapsed.saturating_sub(since)),
        None => SWEEP_EVERY,
    }
}
