//! Named consumers of the feed: a place that is kept for them, and whose turn it is to read on from there.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::feed::Cursor;
use super::subscription::Subscription;

/// So many there can be.
pub const CONSUMERS_MAX: usize = 1_000;
/// The longest name of a consumer, and of a worker.
pub const NAME_LEN_MAX: usize = 64;

/// A consumer, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// What it is called.
    pub name: String,
    /// Raised by every change.
    pub version: u64,
    /// The types of events it is for; empty for all.
    pub types: Subscription,
    /// The sources that these come in by; empty for all.
    pub sources: Vec<String>,
    /// What has been acknowledged: all until here. None where that is nothing, from the beginning.
    #[serde(with = "as_text")]
    pub cursor: Option<Cursor>,
    /// Whose turn it is.
    pub lease: Option<Lease>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last acknowledged or moved.
    pub acked_at: Option<Timestamp>,
}

/// That one worker reads on, and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What the worker calls itself.
    pub worker: String,
    /// Tells it from other leases, those of the same worker included.
    pub token: String,
    /// When another may take over.
    pub expires_at: Timestamp,
}

/// The lease is another's, or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLost;

impl Consumer {
    /// One at the beginning, that is yet to be put: for nothing so far.
    pub fn new(name: &str, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            version: 0,
            types: Subscription::default(),
            sources: Vec::new(),
            cursor: None,
            lease: None,
            created_at: now,
            acked_at: None,
        }
    }

    /// Takes the lease, or keeps it: for `hold` from now. A worker that has it already goes on under the same token. None
    /// where it is another's; `token` is a new one.
    pub fn take(&mut self, worker: &str, token: &str, hold: Duration, now: Timestamp) -> Option<&Lease> {
        let held = self.lease.take().filter(|lease| lease.expires_at > now);
        match held {
            Some(other) if other.worker != worker => {
                self.lease = Some(other);
                None
            }
            held => {
                let token = held.map_or_else(|| token.to_owned(), |lease| lease.token);
                Some(self.lease.insert(Lease { worker: worker.to_owned(), token, expires_at: after(now, hold) }))
            }
        }
    }

    /// Acknowledges all until `cursor`, and keeps the lease for `hold` more, or gives it back where there is none. Good for
    /// who took the lease last, also when it has expired and nobody else has taken it.
    ///
    /// # Errors
    /// When another has taken it since, or it was given back, or the consumer was moved.
    pub fn ack(
        &mut self,
        token: &str,
        cursor: Cursor,
        hold: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), LeaseLost> {
        let mut lease = self.lease.take_if(|lease| lease.token == token).ok_or(LeaseLost)?;
        (self.cursor, self.acked_at) = (Some(cursor), Some(now));
        self.lease = hold.map(|hold| {
            lease.expires_at = after(now, hold);
            lease
        });
        Ok(())
    }

    /// Puts it at a place, whoever reads: that one's lease ends.
    pub fn move_to(&mut self, cursor: Option<Cursor>, now: Timestamp) {
        (self.cursor, self.acked_at, self.lease) = (cursor, Some(now), None);
    }
}

/// Whether something can be called so: letters, digits, `-`, `_` and `.`, at most [`NAME_LEN_MAX`].
pub fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

fn after(now: Timestamp, hold: Duration) -> Timestamp {
    now.checked_add(hold).unwrap_or(Timestamp::MAX)
}

mod as_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Cursor;

    pub(super) fn serialize<S: Serializer>(cursor: &Option<Cursor>, to: S) -> Result<S::Ok, S::Error> {
        cursor.as_ref().map(Cursor::text).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cursor>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| Cursor::try_from(text).map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::feed::Place;

    const HOLD: Duration = Duration::from_secs(30);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn consumer() -> Consumer {
        let types = Subscription::new(Vec::new()).unwrap();
        Consumer { version: 1, types, ..Consumer::new("flags", at(0)) }
    }

    fn place(entries: u64) -> Cursor {
        Cursor::new(vec![Place { entries, stamp: 1 }])
    }

    #[test]
    fn a_second_worker_takes_over_when_the_lease_has_expired() {
        let mut consumer = consumer();
        assert_eq!(consumer.take("a", "t1", HOLD, at(0)).unwrap().token, "t1");
        assert_eq!(consumer.take("b", "t2", HOLD, at(29)), None);
        assert_eq!(consumer.take("a", "t3", HOLD, at(29)).unwrap().token, "t1", "the same goes on");
        assert_eq!(consumer.take("b", "t4", HOLD, at(58)), None);
        assert_eq!(consumer.take("b", "t4", HOLD, at(59)).unwrap().token, "t4");
        assert_eq!(consumer.ack("t1", place(7), Some(HOLD), at(60)), Err(LeaseLost));
        assert_eq!(consumer.cursor, None);
    }

    #[test]
    fn an_acknowledgement_keeps_the_lease_or_gives_it_back() {
        let mut consumer = consumer();
        consumer.take("a", "t1", HOLD, at(0));
        consumer.ack("t1", place(7), Some(HOLD), at(20)).unwrap();
        assert_eq!((consumer.cursor.clone(), consumer.acked_at), (Some(place(7)), Some(at(20))));
        assert_eq!(consumer.take("b", "t2", HOLD, at(49)), None);
        consumer.ack("t1", place(8), None, at(100)).expect("it had expired, and nobody has taken it");
        assert_eq!(consumer.take("b", "t2", HOLD, at(100)).unwrap().worker, "b");
        assert_eq!(consumer.ack("t1", place(9), None, at(100)), Err(LeaseLost));
    }

    #[test]
    fn one_that_is_moved_takes_no_acknowledgement_of_before() {
        let mut consumer = consumer();
        consumer.take("a", "t1", HOLD, at(0));
        consumer.move_to(Some(place(3)), at(1));
        assert_eq!(consumer.ack("t1", place(9), Some(HOLD), at(2)), Err(LeaseLost));
        let json = serde_json::to_string(&consumer).unwrap();
        assert_eq!(serde_json::from_str::<Consumer>(&json).unwrap(), consumer);
    }

    #[test]
    fn names_are_short_and_plain() {
        assert!(is_name("crm-sync_2.eu") && is_name(&"x".repeat(64)));
        assert!(["", "a b", "é", "a/b"].iter().all(|name| !is_name(name)) && !is_name(&"x".repeat(65)));
    }
}
