//! A disk that is written to and synced as a log is, and does nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::Done;
use crate::{Failure, clock, cpu};

/// What is synced at once: about four events with their requests.
const BYTES: usize = 8 * 1024;
/// The room that is written beforehand, and used again and again.
const FILE_BYTES: usize = 32 * 1024 * 1024;
const PAUSE: Duration = Duration::from_micros(500);

/// `bench floor-sync FILE SECONDS`: writes and syncs, and says what it cost.
#[expect(clippy::print_stdout, reason = "the way it talks to its parent")]
pub(crate) fn main(path: &Path, seconds: f64) -> Result<(), Failure> {
    let file = File::create_new(path)?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    let (began, before) = (clock::now(), cpu::own());
    let until = began + (seconds * 1e9) as u64;
    let mut lasted = Vec::new();
    while clock::now() < until {
        let start = clock::now();
        let at = lasted.len() * BYTES % FILE_BYTES;
        file.write_all_at(&[lasted.len() as u8; BYTES], at as u64)?;
        file.sync_data()?;
        lasted.push(clock::now() - start);
        std::thread::sleep(PAUSE);
    }
    let nanos = clock::now() - began;
    let wait_p99_ms = Some(wait(&lasted, nanos, 0.01) / 1e6);
    let done = Done { count: lasted.len() as u64, nanos, cpu: cpu::own() - before, wait_p99_ms };
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

/// What somebody waits for the end of the sync that is under way, who comes at any moment: all but this share of them
/// wait no longer.
fn wait(lasted: &[u64], nanos: u64, share: f64) -> f64 {
    let waiting = |longer: f64| lasted.iter().map(|one| (*one as f64 - longer).max(0.0)).sum::<f64>();
    let (mut low, mut high) = (0.0, lasted.iter().max().copied().unwrap_or_default() as f64);
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        if waiting(middle) > share * nanos as f64 { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sync_keeps_more_waiting_than_many_short_ones() {
        // Ten in a hundred come while it lasts, and one in a hundred before its last 90.
        assert!((wait(&[100], 1_000, 0.01) - 90.0).abs() < 1e-6);
        assert!((wait(&[10; 10], 1_000, 0.01) - 9.0).abs() < 1e-6);
        assert!(wait(&[], 1_000, 0.01).abs() < 1e-6);
    }
}
