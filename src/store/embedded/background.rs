//! Threads whose work nobody waits for, and that give way to those whose work somebody does.

use std::thread::{Builder, JoinHandle};

use crate::store::{Result, StoreError};

/// How much they give way; of 19.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Begins one. The threads that it begins give way like it.
pub(super) fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    let thread = Builder::new().name(name.into()).spawn(|| {
        give_way();
        work()
    });
    thread.map_err(|error| StoreError::Unavailable(format!("no thread for its background work: {error}")))
}

/// Waits for its end.
pub(super) fn join<T>(thread: JoinHandle<T>) -> Result<T> {
    thread.join().map_err(|_| StoreError::Unavailable("its background work has stopped".into()))
}

/// Only on Linux has a thread a priority of its own.
#[cfg(target_os = "linux")]
fn give_way() {
    // Without it, all is as well, only slower.
    let _ = rustix::process::nice(NICE);
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}
