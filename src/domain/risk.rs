//! What a store's server may lose, and an operator may accept.

use serde::{Deserialize, Serialize};

/// A risk that an operator may accept by naming it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// The server may evict what it was given.
    Eviction,
    /// The server keeps no append-only file, or leaves writing it to chance.
    NoAof,
    /// The server does not tell its settings.
    Unknown,
}

impl Risk {
    /// The word in the config file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eviction => "eviction",
            Self::NoAof => "no_aof",
            Self::Unknown => "unknown",
        }
    }
}
