//! Replays: deliveries of stored events that are made anew, a few at once or many by a job.
//!
//! A replay is a new delivery of the same event under an id of its own, derived from the event, the endpoint and the
//! replay. So a step of a job that is made again, after a crash or by a second gateway, makes nothing twice. It is sent
//! like any other, under the same `webhook-id`, but as [`Class::Low`](super::delivery::Class::Low). It takes no part in
//! the order of live deliveries. Among themselves, replays of one mail to one endpoint keep the order they were made
//! in, which a job makes that of the events' commits: first attempts do not overtake one another.
//!
//! A [`Job`](super::job::Job) looks through the events of its span once to count and once to replay. The cost is that of
//! all events in the span, whichever endpoint they went to: a store keeps no list of each endpoint's deliveries, which
//! would be one more row for each to write. Where a request was reprocessed after the span, it looks on to what came of
//! that.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waypost_providers::Kind;

use super::delivery::Status;
use super::id::{EndpointId, EventId, MailKey, ReplayId};
use super::subscription::Subscription;

/// One delivery to make anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Which replay makes it.
    pub replay: ReplayId,
    /// What is delivered again.
    pub event_id: EventId,
    /// The mail of the event, which gives the partition.
    pub mail: MailKey,
    /// To whom.
    pub endpoint: EndpointId,
}

/// How often one event can be replayed, over all endpoints.
pub const REPLAYS_OF_EVENT_MAX: usize = 1_000;
/// The most deliveries of one job that are pending at once: it neither fills the store nor keeps its lane long.
pub const PENDING_MAX: usize = 1_000;
/// How far the clocks of the gateways that received events may be from that of the store, which has them in the order
/// of their commits: a span is looked through from this much before it until this much after it.
pub const CLOCKS_APART_MAX: Duration = Duration::from_secs(600);

/// Which deliveries of an endpoint are replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Filter {
    /// Of events received then or later.
    pub since: Timestamp,
    /// Of events received before then.
    pub until: Timestamp,
    /// Of these types.
    #[schemars(with = "Vec<String>")]
    pub types: Subscription,
    /// Where the delivery stands that began with the event.
    pub status: Vec<Status>,
}

impl Filter {
    /// What is replayed unless told otherwise: what has ended. What is pending is under way already.
    pub const STATUS_DEFAULT: [Status; 3] = [Status::Delivered, Status::Failed, Status::Skipped];

    /// Whether it asks for this delivery.
    pub fn wants(&self, found: &Found) -> bool {
        (self.since..self.until).contains(&found.received_at)
            && self.types.wants(found.kind)
            && self.status.contains(&found.status)
    }

    /// When to begin looking, by the store's clock.
    pub fn begin(&self) -> Timestamp {
        self.since.checked_sub(CLOCKS_APART_MAX).unwrap_or(Timestamp::MIN)
    }

    /// Whether nothing that comes after an event received then can be asked for.
    pub fn is_past(&self, received_at: Timestamp) -> bool {
        self.until.checked_add(CLOCKS_APART_MAX).is_ok_and(|end| received_at > end)
    }
}

/// A delivery that began with its event, as a job finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its event.
    pub event_id: EventId,
    /// The mail of that.
    pub mail: MailKey,
    /// What happened.
    pub kind: Kind,
    /// When the event came in.
    pub received_at: Timestamp,
    /// Where the delivery stands.
    pub status: Status,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_filter_takes_its_span_without_the_end_its_types_and_its_statuses() {
        let types = Subscription::new(vec!["email.bounced".into()]).unwrap();
        let filter = Filter { since: at(100), until: at(200), types, status: Filter::STATUS_DEFAULT.to_vec() };
        let found = |second, kind, status| Found {
            event_id: "evt_1".into(),
            mail: MailKey(1),
            kind,
            received_at: at(second),
            status,
        };
        assert!(filter.wants(&found(100, Kind::Bounced, Status::Failed)));
        assert!(filter.wants(&found(199, Kind::Bounced, Status::Skipped)));
        assert!(!filter.wants(&found(99, Kind::Bounced, Status::Failed)));
        assert!(!filter.wants(&found(200, Kind::Bounced, Status::Failed)));
        assert!(!filter.wants(&found(150, Kind::Sent, Status::Failed)));
        assert!(!filter.wants(&found(150, Kind::Bounced, Status::Pending)));
        assert!(!filter.wants(&found(150, Kind::Bounced, Status::Canceled)));
        assert!(filter.is_past(at(801)) && !filter.is_past(at(800)));
    }
}
