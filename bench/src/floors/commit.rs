//! An engine that commits the rows of an event, and does nothing else.

use std::path::Path;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};

use super::Done;
use crate::{Failure, clock, cpu};

/// Events that share a sync.
const BATCH: u64 = 64;
/// Rows of one accepted event with one endpoint, with the bytes of key and value: the event, its place in the feed, the
/// pending delivery, the raw request, and two notes of what expires.
const ROWS: [(&str, usize, usize); 6] = [
    ("events", 30, 700),
    ("feed", 8, 30),
    ("pending", 10, 120),
    ("requests", 30, 620),
    ("expiry", 40, 0),
    ("expiry", 40, 0),
];

/// `bench floor-commit DIR SECONDS`: commits, and says what it cost.
#[expect(clippy::print_stdout, reason = "the way it talks to its parent")]
pub(crate) fn main(dir: &Path, seconds: f64) -> Result<(), Failure> {
    let db = Database::builder(dir).worker_threads(2).open()?;
    let spaces = ROWS.map(|(name, ..)| db.keyspace(name, KeyspaceCreateOptions::default));
    let spaces = spaces.into_iter().collect::<fjall::Result<Vec<_>>>()?;
    let (began, before) = (clock::now(), cpu::own());
    let until = began + (seconds * 1e9) as u64;
    let mut number = 0;
    while clock::now() < until {
        let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
        for event in number..number + BATCH {
            for (place, (space, (_, key, value))) in spaces.iter().zip(ROWS).enumerate() {
                batch.insert(space, bytes(event, place, key), bytes(event, place + 7, value));
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
