//! Gives the rows of each turn of the log to the engine, on a thread of its own, so that nobody waits for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode};

use super::background::{Pace, Task};
use super::layers::Layer;
use super::log::{self, TURN_BYTES};
use super::rows::number;
use super::spaces::{Space, Spaces, engine, logged};
use crate::crash;
use crate::store::Result;

/// A turn ends after this, however little it has, so that little is to be read again at start. Without optimization soon,
/// so that tests come by here.
const TURN_TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 1 } else { 10 });
/// A turn that has so much waits for the one before.
const TURN_BYTES_MAX: u64 = TURN_BYTES * 8;

/// Where a turn brings a space so much, it is written in order into a file of its own; the engine's journal would be
/// written first, and the file later. With less, there would be too many files.
const BULK_BYTES: usize = if cfg!(debug_assertions) { 512 } else { 2 * 1024 * 1024 };
/// With so many files that are not yet merged, reads are slow: merging them goes first.
const FILES_MAX: usize = 20;

/// The key in [`Space::Meta`] of the last turn that the engine has.
pub(super) const APPLIED: &[u8] = b"applied";

/// The turn that is being given to the engine.
#[derive(Default)]
pub(super) struct Apply {
    task: Option<Task<Result<()>>>,
    /// Since when there is something in the turn that is being written.
    since: Option<Duration>,
}

impl Apply {
    /// Ends a turn when it is time, and begins the next. `elapsed` is now, on the clock that never steps.
    ///
    /// # Errors
    /// What the engine met since the last call: it is to be opened again.
    pub(super) fn step(&mut self, spaces: &Arc<Spaces>, elapsed: Duration) -> Result<()> {
        let len = spaces.turn_len();
        let is_over = len.is_some_and(|len| len >= TURN_BYTES_MAX);
        if let Some(task) = self.task.take_if(|task| is_over || task.is_finished()) {
            task.join()??;
        }
        let is_clearing = !spaces.is_cleared();
        if let Some(task) = self.task.as_ref().filter(|_| is_clearing || len.is_some_and(|len| len >= TURN_BYTES)) {
            task.hurry();
        }
        let Some(len) = len.or(is_clearing.then_some(0)) else { return Ok(()) };
        let since = *self.since.get_or_insert(elapsed);
        let is_early = len < TURN_BYTES && elapsed.saturating_sub(since) < TURN_TIME && !is_clearing;
        if self.task.is_some() || is_early {
            return Ok(());
        }
        self.since = None;
        let (turn, layer) = spaces.turn()?;
        crash::point("log.turned");
        let spaces = Arc::clone(spaces);
        let apply = move |mut pace: Pace| {
            apply(&spaces.db, spaces.all(), turn, &layer, &mut pace)?;
            spaces.forget_applied();
            if is_clearing {
                spaces.clear(turn)?;
            }
            // Freed here and, unless it is being read, by nobody else: it has so many rows that a commit would wait for that.
            for key in Arc::into_inner(layer).into_iter().flat_map(Layer::into_keys) {
                pace.row(key.len());
            }
            Ok(())
        };
        self.task = Some(Task::begin("store-apply", apply)?);
        Ok(())
    }
}

/// All of it and synced, or without the note that it was. Done twice, it changes nothing more.
fn apply(db: &Database, all: &[Keyspace], turn: u64, layer: &Layer, pace: &mut Pace) -> Result<()> {
    let mut batch = OwnedWriteBatch::with_capacity(db.clone(), 1).durability(Some(PersistMode::SyncData));
    for (space, rows) in Space::all().zip(all) {
        if layer.bytes(space) >= BULK_BYTES {
            write_file(db, rows, space, layer, pace).map_err(engine)?;
            continue;
        }
        layer.for_each(space, |key, value| match value {
            Some(value) => batch.insert(rows, key.clone(), value.clone()),
            None => batch.remove(rows, key.clone()),
        });
    }
    crash::point("log.files_written");
    batch.insert(&all[Space::Meta as usize], APPLIED, turn.to_be_bytes());
    batch.commit().map_err(engine)?;
    crash::point("log.applied");
    Ok(())
}

fn write_file(db: &Database, rows: &Keyspace, space: Space, layer: &Layer, pace: &mut Pace) -> fjall::Result<()> {
    while rows.l0_table_count() >= FILES_MAX {
        // Fails when those who merge have ended, as on a full disk: nobody would ever end the wait.
        db.persist(PersistMode::Buffer)?;
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut file = rows.start_ingestion()?;
    let mut written = Ok(());
    layer.for_each(space, |key, value| {
        pace.row(key.len() + value.map_or(0, |value| value.len()));
        if written.is_ok() {
            written = match value {
                Some(value) => file.write(key.clone(), value.clone()),
                None => file.write_tombstone(key.clone()),
            };
        }
    });
    written?;
    file.finish()
}

/// Gives the engine what an earlier process, or an engine that failed, left in the log. Answers the last turn there was.
pub(super) fn recover(db: &Database, all: &[Keyspace], dir: &Path) -> Result<u64> {
    let applied = all[Space::Meta as usize].get(APPLIED).map_err(engine)?;
    let mut last = applied.map_or(Ok(0), |turn| number(&turn).map(|(turn, _)| turn))?;
    for turn in log::turns(dir, last).map_err(logged)? {
        apply(db, all, turn, &log::read(dir, turn).map_err(logged)?, &mut Pace::hurried())?;
        last = turn;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::super::background::tests::{ends, task};
    use super::super::layers::Row;
    use super::*;

    #[test]
    fn a_turn_that_others_come_to_wait_for_is_given_without_pauses() {
        let dir = tempfile::tempdir().unwrap();
        let spaces = Arc::new(Spaces::open(dir.path()).unwrap());
        let mut apply = Apply { task: Some(task()), since: None };
        let value = Some(vec![0; usize::try_from(TURN_BYTES).unwrap()].into());
        let row = Row { space: Space::Events, key: b"key".into(), value, is_new: true };
        spaces.commit(vec![row].into()).unwrap();
        apply.step(&spaces, Duration::ZERO).unwrap();
        assert!(apply.task.as_ref().is_some_and(ends));
    }
}
