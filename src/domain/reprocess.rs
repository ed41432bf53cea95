//! Reading again what was received and not understood: a request that was unreadable, or that held something which was
//! none of the eleven events then, through the adapters as they are now.
//!
//! The ids of events are derived from the source and the identity, so an event that is stored already is a repeat, and
//! one that is new is delivered once, however often its request is read. It counts as received when its request was: its
//! retention began then.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use waypost_providers::{Parsed, Provider, Request, Verified};

use super::id::RequestId;

/// Reads a request that is kept, as `provider` reads it now.
///
/// This is the one place that takes a request for verified without its proof, which is long stale. It holds because of
/// where `request` comes from: a store is given requests by `Store::ingest` alone, each in an
/// [`Ingest`](super::plan::Ingest) that [`fan_out::plan`](super::fan_out::plan) makes of a [`Verified`], and what was
/// refused is never kept. So what is here was proven when it came, by the source whose name it bears.
pub fn read(request: Request, provider: &dyn Provider) -> (Verified, Vec<Parsed>) {
    let verified = Verified::restored(request);
    let parsed = provider.parse(&verified);
    (verified, parsed)
}

/// A request with parts that were not understood, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncompleteRequest {
    /// Its id.
    pub id: RequestId,
    /// The source it came in by.
    pub source: Arc<str>,
    /// When it came in.
    pub received_at: Timestamp,
    /// How many of its parts are none of the eleven events.
    pub unmapped: u32,
    /// How many of its parts could not be read.
    pub unreadable: u32,
}

/// What is wrong with a request; one may have parts of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// A part of it is none of the eleven events.
    Unmapped,
    /// A part of it could not be read.
    Unreadable,
}

impl Lack {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Unmapped, Self::Unreadable];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unmapped => "unmapped",
            Self::Unreadable => "unreadable",
        }
    }

    /// The one of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Whether the request has it.
    pub fn is_of(self, request: &IncompleteRequest) -> bool {
        match self {
            Self::Unmapped => request.unmapped > 0,
            Self::Unreadable => request.unreadable > 0,
        }
    }
}

/// What became of a request that was read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Events that are new.
    pub stored: u64,
    /// Events that had been stored before.
    pub repeats: u64,
    /// Parts that still are none of the eleven events.
    pub unmapped: u64,
    /// Parts that still cannot be read.
    pub unreadable: u64,
}
