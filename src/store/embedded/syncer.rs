//! The thread that syncs the log while the writer goes on with what does not wait for that.

use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle, Thread};

use super::spaces::logged;
use crate::store::{Result, StoreError};

/// What it does once.
pub(super) type Work = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// It. Dropped, it waits for the sync under way.
pub(super) struct Syncer {
    /// What to sync, and whom to wake then.
    syncs: Option<Sender<(Work, Thread)>>,
    ended: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start() -> Result<Self> {
        let (syncs, begun) = channel::<(Work, Thread)>();
        let (tell, ended) = channel();
        let run = move || {
            while let Ok((sync, waits)) = begun.recv() {
                if tell.send(sync()).is_err() {
                    return;
                }
                waits.unpark();
            }
        };
        let thread = Builder::new().name("store-sync".into()).spawn(run);
        let thread = thread.map_err(|error| StoreError::Unavailable(format!("no thread to sync with: {error}")))?;
        Ok(Self { syncs: Some(syncs), ended, thread: Some(thread) })
    }

    /// Begins one; this thread is unparked when that has ended. To be waited for before the next begins.
    pub(super) fn begin(&self, sync: Work) -> Result<()> {
        let syncs = self.syncs.as_ref().ok_or_else(gone)?;
        syncs.send((sync, std::thread::current())).map_err(|_| gone())
    }

    /// How the sync ended that was begun last; none while it goes on.
    pub(super) fn ended(&self) -> Option<Result<()>> {
        match self.ended.try_recv() {
            Ok(ended) => Some(ended.map_err(logged)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(gone())),
        }
    }

    /// The same, waited for.
    pub(super) fn wait(&self) -> Result<()> {
        self.ended.recv().map_err(|_| gone())?.map_err(logged)
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the thread that syncs has stopped".into())
}

impl Drop for Syncer {
    fn drop(&mut self) {
        drop(self.syncs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
