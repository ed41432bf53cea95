//! Named places where a test can have the process die or stand still. Without debug assertions nothing here does
//! anything.

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A place, and the visit of it that counts.
struct Wanted {
    name: String,
    occurrence: u32,
    seen: AtomicU32,
}

/// Aborts the process when `WAYPOST_CRASH_AT` is `name`, or `name:N` and this is the N-th time (from 1) it comes here;
/// and stops it, as `kill -STOP` does, when `WAYPOST_STOP_AT` is.
pub fn point(name: &str) {
    static CRASH: OnceLock<Option<Wanted>> = OnceLock::new();
    static STOP: OnceLock<Option<Wanted>> = OnceLock::new();
    if !cfg!(debug_assertions) {
        return;
    }
    if is_reached(&CRASH, "WAYPOST_CRASH_AT", name) {
        std::process::abort();
    }
    if is_reached(&STOP, "WAYPOST_STOP_AT", name) {
        let _ = Command::new("kill").args(["-s", "STOP", &std::process::id().to_string()]).status();
        // The signal may reach this thread a moment after it was sent; when it goes on, this has long passed.
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn is_reached(place: &OnceLock<Option<Wanted>>, variable: &str, name: &str) -> bool {
    let Some(wanted) = place.get_or_init(|| wanted(variable)) else { return false };
    wanted.name == name && wanted.seen.fetch_add(1, Ordering::SeqCst) + 1 == wanted.occurrence
}

fn wanted(variable: &str) -> Option<Wanted> {
    let text = std::env::var(variable).ok()?;
    let (name, occurrence) = match text.split_once(':') {
        Some((name, occurrence)) => (name.to_owned(), occurrence.parse().ok()?),
        None => (text, 1),
    };
    Some(Wanted { name, occurrence, seen: AtomicU32::new(0) })
}
