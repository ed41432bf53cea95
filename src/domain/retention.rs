//! How long things are remembered.

use std::time::Duration;

/// How long things are remembered. The store's contract says from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Events, their identities, deliveries, attempts and feed entries.
    pub events: Duration,
    /// Raw requests; those with an unmapped or unreadable part, or a mail, live as long as events.
    pub requests: Duration,
    /// Mailgun tokens.
    pub tokens: Duration,
}

impl Lifetimes {
    /// What was counted at a source goes when nothing came for so many lifetimes of events: a source that is silent for long
    /// still tells when something last came, and one that is gone goes.
    pub const OF_TALLIES: u32 = 12;
}
