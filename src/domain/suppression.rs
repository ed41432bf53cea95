//! The suppression list: whom to write to no more, and why.
//!
//! There is one row for each address and reason, and the event that gave the reason first, as the provider tells the
//! time, stays: a repeat and a later event change nothing, one that happened before it and comes late takes its place, and
//! a bounce never hides that the person complained.

use std::collections::HashMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waypost_providers::event::{BounceClass, Data, Scope};
use waypost_providers::{Event, Kind};

use super::address::{Address, AddressHash, AddressKey};
use super::id::{EventId, SuppressionId};
use super::plan::StoredEvent;
use super::search::recipients;

/// What puts an address on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A mail to it bounced.
    Bounce,
    /// The person called a mail spam.
    Complaint,
    /// The person opted out of everything.
    Unsubscribe,
    /// Somebody put it there by hand.
    Manual,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bounce, Self::Complaint, Self::Unsubscribe, Self::Manual];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bounce => "bounce",
            Self::Complaint => "complaint",
            Self::Unsubscribe => "unsubscribe",
            Self::Manual => "manual",
        }
    }

    /// The reason of this word.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// Whom an event puts on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToSuppress {
    /// Why.
    pub reason: Reason,
    /// When the event happened.
    pub at: Timestamp,
    /// Each of these; at least one.
    pub addresses: Vec<Address>,
}

/// Why an address is on the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Suppression {
    /// The reason.
    pub reason: Reason,
    /// The earliest event that gave it; none where somebody put it on the list by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// When that happened, as the provider tells it, or when it was put there.
    #[serde(rename = "created_at")]
    pub at: Timestamp,
}

/// An address on the list, as the list of all shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// The same for one address as long as the store keeps its key of addresses.
    pub id: SuppressionId,
    /// The address, while an event that gave a reason is kept and names it; only its hash is kept otherwise.
    pub address: Option<Address>,
    /// Why it is there, the earliest first.
    pub reasons: Vec<Suppression>,
}

impl Suppressed {
    /// As it is shown: of each reason the earliest, and the address where one of these names has the hash.
    pub fn new(hash: &AddressHash, reasons: Vec<Suppression>, names: &mut HashMap<AddressHash, Address>) -> Self {
        Self { id: SuppressionId::of(hash), address: names.remove(hash), reasons: first_of_each(reasons) }
    }
}

/// The recipients that events name, by their hashes.
pub fn names<'a>(events: impl IntoIterator<Item = &'a StoredEvent>, key: &AddressKey) -> HashMap<AddressHash, Address> {
    let named = events.into_iter().flat_map(recipients);
    named.map(|address| (key.hash(&address), address)).collect()
}

/// Whom this event puts on the list, where bounces of these classes do. Of several recipients all: an event that names
/// several is about each of them (Resend's OpenAPI calls `to` the impacted addresses). What is no address is passed over.
pub fn of(event: &Event, on: &[BounceClass]) -> Option<ToSuppress> {
    let reason = reason(event.kind, &event.data, on)?;
    let recipients = event.data.to.iter().chain(&event.data.recipients);
    let mut addresses: Vec<Address> = recipients.filter_map(|recipient| Address::parse(recipient)).collect();
    addresses.sort();
    addresses.dedup();
    (!addresses.is_empty()).then_some(ToSuppress { reason, at: event.created_at, addresses })
}

fn reason(kind: Kind, data: &Data, on: &[BounceClass]) -> Option<Reason> {
    match kind {
        Kind::Bounced => on.contains(&data.bounce.as_ref()?.class).then_some(Reason::Bounce),
        Kind::Complained => Some(Reason::Complaint),
        // Who opted out of a part, or of nobody knows how much, may still be written to.
        Kind::Unsubscribed => (data.unsubscribe.as_ref()?.scope == Some(Scope::Global)).then_some(Reason::Unsubscribe),
        // What a provider suppressed by itself (`failed`) is on its list, for something that it told of at the time.
        Kind::Failed
        | Kind::Sent
        | Kind::Delivered
        | Kind::DeliveryDelayed
        | Kind::Opened
        | Kind::Clicked
        | Kind::Received
        | Kind::DomainVerified => None,
    }
}

/// The earliest of each reason, the earliest first.
pub fn first_of_each(mut all: Vec<Suppression>) -> Vec<Suppression> {
    all.sort_by_key(|one| (one.reason, one.at));
    all.dedup_by_key(|one| one.reason);
    all.sort_by_key(|one| (one.at, one.reason));
    all
}

#[cfg(test)]
mod tests {
    use waypost_providers::event::{Bounce, Failure, Unsubscribe};

    use super::*;

    const ON: [BounceClass; 3] = [BounceClass::Hard, BounceClass::Soft, BounceClass::Undetermined];

    fn event(kind: Kind, change: impl Fn(&mut Data)) -> Event {
        let mut data = Data { to: Some("Nora <Nora@customer.example>".into()), ..Data::default() };
        change(&mut data);
        Event { kind, created_at: Timestamp::UNIX_EPOCH, data }
    }

    fn bounced(class: BounceClass) -> Event {
        event(Kind::Bounced, |data| data.bounce = Some(Bounce { class, ..Bounce::default() }))
    }

    fn opted_out(scope: Option<Scope>) -> Event {
        event(Kind::Unsubscribed, |data| data.unsubscribe = Some(Unsubscribe { scope, ..Unsubscribe::default() }))
    }

    fn reason(event: &Event, on: &[BounceClass]) -> Option<Reason> {
        of(event, on).map(|found| found.reason)
    }

    #[test]
    fn a_bounce_suppresses_by_its_class() {
        use BounceClass::*;
        for class in [Hard, Soft, Undetermined, Blocked, Suppressed] {
            assert_eq!(reason(&bounced(class), &ON).is_some(), ON.contains(&class), "{class:?}");
            assert_eq!(reason(&bounced(class), &[class]), Some(Reason::Bounce));
            assert_eq!(reason(&bounced(class), &[]), None);
        }
    }

    #[test]
    fn a_complaint_and_a_global_unsubscribe_always_suppress_and_a_partial_one_never() {
        assert_eq!(reason(&event(Kind::Complained, |_| {}), &[]), Some(Reason::Complaint));
        assert_eq!(reason(&opted_out(Some(Scope::Global)), &[]), Some(Reason::Unsubscribe));
        for scope in [None, Some(Scope::List), Some(Scope::Group), Some(Scope::Topic)] {
            assert_eq!(reason(&opted_out(scope), &ON), None, "{scope:?}");
        }
    }

    #[test]
    fn no_other_event_suppresses() {
        let suppressing = [Kind::Bounced, Kind::Complained, Kind::Unsubscribed];
        for kind in Kind::ALL.into_iter().filter(|kind| !suppressing.contains(kind)) {
            let told = |data: &mut Data| {
                data.failure = Some(Failure { reason: Some("suppressed".into()), ..Failure::default() });
                data.bounce = Some(Bounce::default());
            };
            assert_eq!(reason(&event(kind, told), &ON), None, "{kind:?}");
        }
    }

    #[test]
    fn each_recipient_is_put_on_the_list_once_and_what_is_no_address_is_not() {
        let addresses = |to: Option<&str>, recipients: &[&str]| {
            let told = event(Kind::Complained, |data| {
                data.to = to.map(str::to_owned);
                data.recipients = recipients.iter().map(|one| (*one).to_owned()).collect();
            });
            let found = of(&told, &ON).map_or(Vec::new(), |found| found.addresses);
            found.iter().map(|address| address.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(addresses(Some("NORA@a.example"), &[]), ["nora@a.example"]);
        let several = ["b@a.example", "A <a@a.example>", "nobody", "B@a.example"];
        assert_eq!(addresses(None, &several), ["a@a.example", "b@a.example"]);
        assert!(addresses(Some("nobody"), &[]).is_empty() && addresses(None, &[]).is_empty());
    }

    #[test]
    fn of_each_reason_the_earliest_stays() {
        let one = |reason, second, event: &str| {
            let at = Timestamp::from_second(second).unwrap();
            Suppression { reason, event_id: Some(event.into()), at }
        };
        let (complaint, bounce) = (one(Reason::Complaint, 1, "a"), one(Reason::Bounce, 2, "b"));
        let all = [one(Reason::Bounce, 3, "c"), bounce.clone(), complaint.clone(), one(Reason::Complaint, 4, "d")];
        assert_eq!(first_of_each(all.into()), [complaint, bounce]);
    }
}
