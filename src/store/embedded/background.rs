//! Threads whose work nobody waits for; most give way to those whose work somebody does.

use std::thread::{Builder, JoinHandle};

use crate::store::{Result, StoreError};

/// How much they give way; of 19.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// One of them. Dropped, it waits for its end: then what it writes to may be opened again.
pub(super) struct Task<T>(Option<JoinHandle<T>>);

impl<T: Send + 'static> Task<T> {
    /// Begins one. The threads that it begins give way like it.
    pub(super) fn begin(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<Self> {
        Self::begin_pressing(name, || {
            give_way();
            work()
        })
    }

    /// Begins one that does not give way, since others are soon to wait for it.
    pub(super) fn begin_pressing(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<Self> {
        let thread = Builder::new().name(name.into()).spawn(work);
        let failed = |error| StoreError::Unavailable(format!("no thread for its background work: {error}"));
        Ok(Self(Some(thread.map_err(failed)?)))
    }

    /// Whether it need not be waited for.
    pub(super) fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Nobody waits for its end.
    pub(super) fn leave(mut self) {
        self.0 = None;
    }

    /// Waits for its end.
    pub(super) fn join(mut self) -> Result<T> {
        let ended = self.0.take().and_then(|thread| thread.join().ok());
        ended.ok_or_else(|| StoreError::Unavailable("its background work has stopped".into()))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
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
