//! Logs. One line where something ends; fields are dotted and fixed; no personal data.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: lines for people on a terminal, JSON otherwise. `RUST_LOG` chooses what; by
/// default `info`, or only `warn` for a `quiet` command, whose own output is what people look at.
pub fn start(quiet: bool) {
    let default = if quiet { "warn" } else { "info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // A line that cannot be written, on a full disk or to a reader that has gone, is lost: to say so there would panic.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if std::io::stderr().is_terminal() {
        lines.init();
    } else {
        lines.json().flatten_event(true).init();
    }
}
