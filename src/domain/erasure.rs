//! The erasure of a person: of all that was received until it was asked for and names an address, as a job.
//!
//! It looks through everything, whichever index there is: first the requests, so that no reprocessing brings back what
//! is erased after them; then the events; then what endpoints answered; then what a crash left without a request. Last it
//! has the store write its files anew, and by then the job has forgotten the address.
//!
//! What is erased is remembered by its id, so a provider's resend of it is a repeat.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::Address;

/// How far the clocks of gateways may be apart.
const CLOCKS_APART: Duration = Duration::from_secs(2);
/// How long after it was asked for the bytes have left the disk at the latest.
const GONE_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// What becomes of the address on the suppression list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnList {
    /// It stays, as the hash that it is.
    #[default]
    Keep,
    /// It is taken off.
    Remove,
}

/// What is looked through next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Requests as received.
    Requests,
    /// Events.
    Events,
    /// What endpoints answered, to other events too.
    Answers,
    /// Large bodies that were kept for requests which were never committed.
    Left,
    /// Nothing: the store writes its files anew.
    Disk,
}

impl Stage {
    /// The one after it.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Requests => Some(Self::Events),
            Self::Events => Some(Self::Answers),
            Self::Answers => Some(Self::Left),
            Self::Left => Some(Self::Disk),
            Self::Disk => None,
        }
    }
}

/// Who is erased, and how far that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erasure {
    /// Whom. None as soon as nobody has to know any more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(skip)]
    pub address: Option<Address>,
    /// What was received until then.
    pub until: Timestamp,
    /// When the looking begins: what had been received by `until` has been committed by then, or given up.
    pub begins_at: Timestamp,
    /// What becomes of the address on the suppression list.
    pub suppression: OnList,
    /// What is looked through now.
    pub stage: Stage,
    /// How many requests were blanked so far.
    pub requests: u64,
    /// How many events were erased so far.
    pub events: u64,
    /// How many attempts to deliver other events were taken out of the log, for what was sent or answered.
    pub answers: u64,
    /// Whether the server refuses to write its files anew: they are left to its operator.
    pub disk_refused: bool,
}

impl Erasure {
    /// One that has yet to begin. What a gateway receives is committed or given up `within` so long.
    pub fn new(address: Address, suppression: OnList, now: Timestamp, within: Duration) -> Self {
        let begins_at = now.checked_add(within.saturating_add(CLOCKS_APART)).unwrap_or(Timestamp::MAX);
        let (requests, events, answers) = (0, 0, 0);
        Self {
            address: Some(address),
            until: now,
            begins_at,
            suppression,
            stage: Stage::Requests,
            requests,
            events,
            answers,
            disk_refused: false,
        }
    }

    /// How long it has yet to wait before it begins.
    pub fn settles_in(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.begins_at.duration_since(now)).unwrap_or_default()
    }

    /// By when at the latest the bytes have left the disk, as long as a gateway runs.
    pub fn gone_by(&self) -> Timestamp {
        self.until.checked_add(GONE_AFTER).unwrap_or(Timestamp::MAX)
    }

    /// The same without whom it is about.
    #[must_use]
    pub fn forgetful(self) -> Self {
        Self { address: None, ..self }
    }

    /// It after a step, and where that ended its stage the next; none at the end of the last.
    #[must_use]
    pub fn after(&self, erased: &Erased) -> Option<Self> {
        let mut next = self.clone();
        next.requests += erased.requests;
        next.events += erased.events;
        next.answers += erased.answers;
        next.disk_refused |= erased.disk_refused;
        if !erased.is_end {
            return Some(next);
        }
        next.stage = self.stage.next()?;
        // The row itself must not hold what is to leave the disk.
        Some(if next.stage == Stage::Disk { next.forgetful() } else { next })
    }
}

/// What a step of it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// How much was looked at.
    pub looked_at: u64,
    /// How many requests were blanked.
    pub requests: u64,
    /// How many events were erased.
    pub events: u64,
    /// How many attempts were taken out of the log.
    pub answers: u64,
    /// How much cannot be read, by anybody.
    pub unreadable: u64,
    /// Whether the server refuses to write its files anew.
    pub disk_refused: bool,
    /// Where to go on.
    pub next: Option<String>,
    /// Whether nothing of this stage is left.
    pub is_end: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_from_stage_to_stage_and_forgets_whom_it_was_about_before_the_last() {
        let address = Address::parse("nora@customer.example").unwrap();
        let first = Erasure::new(address, OnList::Keep, Timestamp::UNIX_EPOCH, Duration::ZERO);
        let part = Erased { requests: 2, next: Some("a".into()), ..Erased::default() };
        let end = Erased { requests: 1, is_end: true, ..Erased::default() };
        let same = first.after(&part).unwrap();
        assert_eq!((same.stage, same.requests), (Stage::Requests, 2));
        let events = same.after(&end).unwrap();
        assert_eq!((events.stage, events.requests, events.address.is_some()), (Stage::Events, 3, true));
        let ended = Erased { is_end: true, ..Erased::default() };
        let disk = (0..3).fold(events, |stage, _| stage.after(&ended).unwrap());
        assert_eq!((disk.stage, disk.address.as_ref()), (Stage::Disk, None));
        assert_eq!(disk.after(&ended), None);
    }

    #[test]
    fn it_waits_for_what_was_received_just_before() {
        let address = Address::parse("nora@customer.example").unwrap();
        let erasure = Erasure::new(address, OnList::Keep, Timestamp::from_second(100).unwrap(), Duration::from_secs(3));
        let left = |second| erasure.settles_in(Timestamp::from_second(second).unwrap());
        assert_eq!([left(100), left(101), left(105), left(106)].map(|left| left.as_secs()), [5, 4, 0, 0]);
        assert!(!format!("{erasure:?}").contains("nora"));
    }
}
