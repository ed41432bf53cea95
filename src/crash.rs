//! Named places where a test can have the process die. Without debug assertions nothing here does anything.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Aborts the process when `WAYPOST_CRASH_AT` is `name`, or `name:N` and this is the N-th time (from 1) it comes here.
pub fn point(name: &str) {
    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static SEEN: AtomicU32 = AtomicU32::new(0);
    if !cfg!(debug_assertions) {
        return;
    }
    let Some((wanted, occurrence)) = WANTED.get_or_init(wanted) else { return };
    if wanted == name && SEEN.fetch_add(1, Ordering::SeqCst) + 1 == *occurrence {
        std::process::abort();
    }
}

fn wanted() -> Option<(String, u32)> {
    let text = std::env::var("WAYPOST_CRASH_AT").ok()?;
    match text.split_once(':') {
        Some((name, occurrence)) => Some((name.to_owned(), occurrence.parse().ok()?)),
        None => Some((text, 1)),
    }
}
