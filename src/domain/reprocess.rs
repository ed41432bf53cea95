//! Reading again what was received and not understood: a request that was unreadable, or that held something which was
//! none of the eleven events then, through the adapters as they are now.
//!
//! The ids of events are derived from the source and the identity, so an event that is stored already is a repeat, and
//! one that is new is delivered once, however often its request is read. It counts as received when its request was: its
//! retention began then.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncompleteRequest {
    /// Its id.
    pub id: RequestId,
    /// The source it came in by.
    pub source: Arc<str>,
    /// The name of the provider that it came from.
    pub provider: Arc<str>,
    /// When it came in.
    pub received_at: Timestamp,
    /// How many of its parts are none of the eleven events.
    pub unmapped: u32,
    /// How many of its parts could not be read.
    pub unreadable: u32,
    /// Where the list that told of it goes on after it.
    #[serde(skip)]
    pub cursor: String,
}

/// What is wrong with a request; one may have parts of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Which requests are read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Filter {
    /// Received then or later; all that are kept if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Timestamp>,
    /// Received before then.
    pub until: Timestamp,
    /// Of this source; of every one if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    /// With one of these.
    pub status: Vec<Lack>,
}

impl Filter {
    /// Whether it asks for this request.
    pub fn wants(&self, request: &IncompleteRequest) -> bool {
        self.since.is_none_or(|since| request.received_at >= since)
            && request.received_at < self.until
            && self.source.as_deref().is_none_or(|source| *source == *request.source)
            && self.status.iter().any(|lack| lack.is_of(request))
    }
}

/// What became of requests that were read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Events that are new.
    pub stored: u64,
    /// Events that had been stored before, or told of no change.
    pub repeats: u64,
    /// Parts that still are none of the eleven events.
    pub unmapped: u64,
    /// Parts that still cannot be read.
    pub unreadable: u64,
    /// Sources that are no longer in the config; their requests were left out.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub sources_gone: BTreeSet<String>,
    /// Providers that this version does not know; likewise.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub providers_unknown: BTreeSet<String>,
    /// Requests that failed again and again, each for a reason that the log tells; likewise.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub failed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Outcome {
    /// Adds another to it.
    pub fn add(&mut self, other: Self) {
        self.stored += other.stored;
        self.repeats += other.repeats;
        self.unmapped += other.unmapped;
        self.unreadable += other.unreadable;
        self.sources_gone.extend(other.sources_gone);
        self.providers_unknown.extend(other.providers_unknown);
        self.failed += other.failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn request(second: i64, source: &str, unmapped: u32, unreadable: u32) -> IncompleteRequest {
        let (id, source, provider) = (RequestId::of(source, b""), source.into(), "resend".into());
        let (received_at, cursor) = (at(second), String::new());
        IncompleteRequest { id, source, provider, received_at, unmapped, unreadable, cursor }
    }

    #[test]
    fn a_filter_takes_its_span_without_the_end_its_source_and_its_statuses() {
        let (since, source) = (Some(at(100)), Some("a".to_owned()));
        let filter = Filter { since, until: at(200), source, status: vec![Lack::Unreadable] };
        assert!(filter.wants(&request(100, "a", 0, 1)) && filter.wants(&request(199, "a", 3, 1)));
        for other in [request(99, "a", 0, 1), request(200, "a", 0, 1), request(150, "b", 0, 1), request(150, "a", 1, 0)]
        {
            assert!(!filter.wants(&other), "{other:?}");
        }
        let all = Filter { since: None, source: None, status: Lack::ALL.to_vec(), ..filter };
        assert!(all.wants(&request(0, "b", 1, 0)) && all.wants(&request(0, "b", 0, 1)));
        assert!(!all.wants(&request(200, "b", 1, 0)));
    }
}
