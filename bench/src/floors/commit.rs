//! An engine that commits the rows of an event, or of a delivery, and does nothing else.

use std::path::Path;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};

use super::Done;
use crate::{Failure, clock, cpu};

/// Events, or deliveries, that share a sync.
const BATCH: u64 = 64;

/// A row: where it goes, which of one's own keys it has, and the bytes of key and value.
type Row = (&'static str, usize, usize, usize);

/// Of one accepted event with one endpoint: the event, its place in the feed, the pending delivery, the raw request, and two
/// notes of what expires.
const EVENT: &[Row] = &[
    ("events", 0, 30, 700),
    ("feed", 1, 8, 30),
    ("pending", 2, 10, 120),
    ("requests", 3, 30, 620),
    ("expiry", 4, 40, 0),
    ("expiry", 5, 40, 0),
];

/// Of one delivery that succeeds: that it was begun, that it has ended, its place by status, and the log of its attempt.
const DELIVERY: &[Row] =
    &[("deliveries", 0, 10, 50), ("deliveries", 0, 10, 130), ("by_status", 1, 20, 0), ("attempt_log", 2, 30, 250)];

/// What is committed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Committed {
    /// Events.
    Event,
    /// Deliveries.
    Delivery,
}

/// `bench floor-commit DIR SECONDS WHAT`: commits, and says what it cost.
#[expect(clippy::print_stdout, reason = "the way it talks to its parent")]
pub(crate) fn main(dir: &Path, seconds: f64, what: Committed) -> Result<(), Failure> {
    let rows = match what {
        Committed::Event => EVENT,
        Committed::Delivery => DELIVERY,
    };
    let db = Database::builder(dir).worker_threads(2).open()?;
    let spaces = rows.iter().map(|(name, ..)| db.keyspace(name, KeyspaceCreateOptions::default));
    let spaces = spaces.collect::<fjall::Result<Vec<_>>>()?;
    let (began, before) = (clock::now(), cpu::own());
    let until = began + (seconds * 1e9) as u64;
    let mut number = 0;
    while clock::now() < until {
        let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
        for event in number..number + BATCH {
            for (space, (_, place, key, value)) in spaces.iter().zip(rows) {
                batch.insert(space, bytes(event, *place, *key), bytes(event, place + 7, *value));
            }
        }
        batch.commit()?;
        number += BATCH;
    }
    let done = Done { count: number, nanos: clock::now() - began, cpu: cpu::own() - before, wait_p99_ms: None };
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

/// Bytes that are spread as hashes are and compress about as JSON does.
fn bytes(event: u64, place: usize, len: usize) -> Vec<u8> {
    let spread = (event + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(place as u64);
    let mut bytes = format!("{spread:016x}").into_bytes();
    bytes.resize(len.max(8), b'x');
    bytes.truncate(len);
    bytes
}
