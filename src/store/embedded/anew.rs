//! Writes the store's files anew, so that what was overwritten or removed leaves the disk: in the log, in the engine's
//! journal, and in its tables.
//!
//! The log is turned twice, and what the engine has of it is overwritten with zeros. The engine begins another journal when
//! it has written enough: it is made to, and removes those before when all that is in them is in tables. Then the tables
//! are merged to the last, and the old ones removed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::background::Task;
use super::journal;
use super::spaces::{Space, Spaces, engine, logged};
use super::writer::Shared;
use crate::store::{Anew as Written, Result, StoreError};

/// The spaces with what was received, or answered, and who is to be erased.
const PERSONAL: [Space; 4] = [Space::Events, Space::Requests, Space::AttemptLog, Space::Jobs];
/// After so many bytes the engine begins another journal.
const JOURNAL_BYTES: usize = 64_000_000;
const PAD_BYTES: usize = 1 << 20;
/// The key of what is written so that it does.
const PAD: &[u8] = b"pad";
/// How often it is looked whether others are done, and for how long.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS_MAX: usize = 6_000;

/// How long after it failed it is not begun again: it needs room, and may have found none.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(60);

/// Who writes them.
pub(super) struct Anew {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The number of the one that is under way; each is higher than those before.
    running: Option<u64>,
    /// The number of the last that came to its end.
    done: u64,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Anew {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, state: Arc::default() }
    }

    /// See [`Erasures::write_anew`](crate::store::Erasures::write_anew). One that another process began is begun again.
    pub(super) fn step(&self, begun: Option<&str>) -> Result<Written> {
        let mut state = lock(&self.state);
        let begun = begun.and_then(|number| number.parse().ok());
        let is_done = begun.is_some_and(|number| (1..=state.done).contains(&number));
        if is_done || state.running.is_some() {
            let told = begun.map(|number: u64| number.to_string());
            return Ok(if is_done { Written::Written } else { Written::Writing(told) });
        }
        // Never one that another process gave out.
        let number = state.done.max(begun.unwrap_or_default()) + 1;
        let (shared, spaces, ended) = (Arc::clone(&self.shared), self.shared.spaces()?, Arc::clone(&self.state));
        let write = move || {
            let written = write(&shared, &spaces);
            if let Err(error) = &written {
                tracing::warn!(%error, "the store's files are yet to be written anew");
                // Another engine is another try.
                let is_same = shared.spaces().is_ok_and(|now| Arc::ptr_eq(&now, &spaces));
                drop(spaces);
                std::thread::sleep(if is_same { PAUSE_AFTER_ERROR } else { Duration::ZERO });
            } else {
                drop(spaces);
            }
            let mut state = lock(&ended);
            state.running = None;
            if written.is_ok() {
                state.done = number;
            }
        };
        // A process that ends does not wait for it: it is begun again.
        Task::begin("store-anew", |_| write())?.leave();
        state.running = Some(number);
        Ok(Written::Writing(Some(number.to_string())))
    }
}

fn write(shared: &Shared, spaces: &Arc<Spaces>) -> Result<()> {
    spaces.begin_to_clear();
    wait(shared, spaces, || spaces.is_cleared())?;
    // Whoever reads what was overwritten keeps it in the engine.
    let readers = spaces.readers_until_now();
    wait(shared, spaces, || Arc::strong_count(&readers) == 1)?;
    let meta = spaces.of(Space::Meta);
    let journals = journals(spaces)?;
    for _ in 0..=JOURNAL_BYTES / PAD_BYTES {
        meta.insert(PAD, vec![0; PAD_BYTES]).map_err(engine)?;
    }
    wait(shared, spaces, || {
        let is_flushed =
            meta.remove(PAD).is_ok() && spaces.all().iter().all(|rows| rows.rotate_memtable_and_wait().is_ok());
        is_flushed && journals.iter().all(|path| !path.exists())
    })?;
    for rows in PERSONAL.map(|space| spaces.of(space)).into_iter().chain([meta]) {
        rows.major_compact().map_err(engine)?;
    }
    // The engine removes the old tables when it next begins a new one.
    meta.remove(PAD).map_err(engine)?;
    meta.rotate_memtable_and_wait().map_err(engine)
}

fn journals(spaces: &Spaces) -> Result<BTreeSet<PathBuf>> {
    journal::paths(spaces.dir()).map_err(logged)
}

/// Until this holds, unless the engine is another by then.
fn wait(shared: &Shared, spaces: &Arc<Spaces>, holds: impl Fn() -> bool) -> Result<()> {
    for _ in 0..LOOKS_MAX {
        if holds() {
            return Ok(());
        }
        if !Arc::ptr_eq(&shared.spaces()?, spaces) {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(StoreError::Unavailable("its files could not be written anew for now".into()))
}
