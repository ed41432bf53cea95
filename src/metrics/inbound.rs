//! What comes in, by source.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use waypost_providers::Kind;

use super::text::Text;
use super::values::{Bounds, Counter, Histogram, each};
use crate::domain::tally::Outcome;

/// A provider is answered within a second, but for large bodies.
const BOUNDS: Bounds = &[1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 60_000];
/// What events are that were taken in.
const EVENTS: [Outcome; 2] = [Outcome::Stored, Outcome::Repeat];
/// What a part of a request is that is no event.
const OTHERS: [Outcome; 2] = [Outcome::Unmapped, Outcome::Unreadable];

macro_rules! answers {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// What became of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Answered {
            $($(#[$doc])* $variant,)*
        }

        impl Answered {
            /// All there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word in the label.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

answers! {
    /// An event of it was new.
    Stored "stored",
    /// It held events, and none was new.
    Repeat "repeat",
    /// It held no event; its raw form is kept.
    Kept "kept",
    /// It did not prove who sent it.
    NotProven "not_proven",
    /// The source has gone from the config, or never was there.
    UnknownSource "unknown_source",
    /// Its body broke off or is malformed.
    BodyBroken "body_broken",
    /// Its body took too long.
    BodyTooSlow "body_too_slow",
    /// Its body is too large.
    BodyTooLarge "body_too_large",
    /// Too much was under way.
    Overloaded "overloaded",
    /// The store was down or slow.
    StoreUnavailable "store_unavailable",
    /// The gateway was being stopped.
    ShuttingDown "shutting_down",
    /// Something is wrong with the gateway.
    Internal "internal",
}

/// What comes in, by source.
#[derive(Debug, Default)]
pub struct Inbound {
    /// Also those that have gone from the config since: what was counted may not become less.
    sources: RwLock<BTreeMap<String, Arc<AtSource>>>,
    unknown: Counter,
}

/// What comes in at one source.
#[derive(Debug)]
pub struct AtSource {
    requests: [Counter; Answered::ALL.len()],
    events: [[Counter; Kind::ALL.len()]; EVENTS.len()],
    others: [Counter; OTHERS.len()],
    body_bytes: Counter,
    duration: Histogram,
}

impl Inbound {
    /// What is counted at a source of the config.
    pub fn at(&self, source: &str) -> Arc<AtSource> {
        if let Some(known) = self.sources.read().unwrap_or_else(PoisonError::into_inner).get(source) {
            return Arc::clone(known);
        }
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sources.entry(source.to_owned()).or_default())
    }

    /// A request named no source of the config. What it named is not kept.
    pub fn unknown(&self) {
        self.unknown.add(1);
    }

    /// Does it for each source that was ever there, by name.
    pub(super) fn each(&self, mut tell: impl FnMut(&str, &AtSource)) {
        for (name, at) in self.sources.read().unwrap_or_else(PoisonError::into_inner).iter() {
            tell(name, at);
        }
    }

    pub(super) fn tell_requests(&self, text: &mut Text) {
        self.each(|name, at| {
            for (answered, count) in Answered::ALL.iter().zip(&at.requests) {
                text.one(&[name, answered.as_str()], count.get());
            }
        });
        text.one(&["", Answered::UnknownSource.as_str()], self.unknown.get());
    }
}

impl Default for AtSource {
    fn default() -> Self {
        let events = [each(), each()];
        Self {
            requests: each(),
            events,
            others: each(),
            body_bytes: Counter::default(),
            duration: Histogram::new(BOUNDS),
        }
    }
}

impl AtSource {
    /// A request was answered, so long after its head was there.
    pub fn answered(&self, answered: Answered, took: Duration) {
        self.requests[answered as usize].add(1);
        self.duration.observe(took);
    }

    /// The body of a request was read.
    pub fn body_read(&self, len: usize) {
        self.body_bytes.add(len as u64);
    }

    /// A part of a request that was taken is an event, or none.
    pub fn read(&self, outcome: Outcome, kind: Option<Kind>) {
        match (outcome, kind) {
            (Outcome::Stored, Some(kind)) => self.events[0][kind as usize].add(1),
            (Outcome::Repeat, Some(kind)) => self.events[1][kind as usize].add(1),
            (Outcome::Unmapped, _) => self.others[0].add(1),
            (Outcome::Unreadable, _) => self.others[1].add(1),
            // Only an event is stored; and a request that is refused is not read.
            (Outcome::Stored | Outcome::Repeat | Outcome::Unverified | Outcome::Refused, _) => {}
        }
    }

    pub(super) fn tell_durations(&self, source: &str, text: &mut Text) {
        text.histogram(&[source], &self.duration);
    }

    pub(super) fn tell_bytes(&self, source: &str, text: &mut Text) {
        text.one(&[source], self.body_bytes.get());
    }

    pub(super) fn tell_events(&self, source: &str, text: &mut Text) {
        for (outcome, counts) in EVENTS.iter().zip(&self.events) {
            for (kind, count) in Kind::ALL.iter().zip(counts) {
                text.one(&[source, kind.as_str(), outcome.as_str()], count.get());
            }
        }
        for (outcome, count) in OTHERS.iter().zip(&self.others) {
            text.one(&[source, "", outcome.as_str()], count.get());
        }
    }
}
