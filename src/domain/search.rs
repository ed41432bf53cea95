//! Which events are asked for, and the words that an index finds an event by.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use waypost_providers::Kind;

use super::address::{Address, AddressKey};
use super::plan::StoredEvent;
use super::subscription::Subscription;

/// The id of a mail: the one that the provider's send API returned, or its Message-ID without the angle brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MailId(String);

impl MailId {
    /// Reads it with or without angle brackets; upper and lower case differ. None where nothing is left.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        (!bare.is_empty()).then(|| Self(bare.to_owned()))
    }
}

/// What an index finds events by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// One that the event is about.
    Recipient(Address),
    /// An id of its mail.
    Mail(MailId),
}

/// A word as it is kept: whoever has the rows and not the key can neither read it nor try one. So short that two may meet:
/// what is found is held against the word itself.
pub type WordHash = [u8; 8];

impl Word {
    /// Its hash.
    pub fn hash(&self, key: &AddressKey) -> WordHash {
        let hash = match self {
            Self::Recipient(address) => key.hash(address),
            Self::Mail(MailId(id)) => key.hash_mail(id),
        };
        let mut short = WordHash::default();
        short.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        short
    }
}

/// What of an event's `data` can be asked for.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    message_id: Option<Text<'a>>,
    #[serde(borrow)]
    to: Option<Text<'a>>,
    #[serde(borrow)]
    recipients: Vec<Text<'a>>,
    #[serde(borrow)]
    tags: Vec<Text<'a>>,
}

/// A text, copied only where something in it is escaped. Serde borrows none that is in an `Option` or a `Vec` by itself.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Told<'a> {
    /// Nothing of what is no event of ours.
    fn of(event: &'a StoredEvent) -> Self {
        serde_json::from_str(event.data.get()).unwrap_or_default()
    }

    fn recipients(&self) -> impl Iterator<Item = Address> {
        self.to.iter().chain(&self.recipients).filter_map(|Text(recipient)| Address::parse(recipient))
    }

    fn mail_ids(&self) -> impl Iterator<Item = MailId> {
        self.id.iter().chain(&self.message_id).filter_map(|Text(id)| MailId::parse(id))
    }
}

/// The words that this event is found by, each once: its recipients that are addresses, and the ids of its mail. None of
/// one that is operational or a sample.
pub fn words(event: &StoredEvent) -> Vec<Word> {
    if event.kind.in_feed(event.mail).is_none() {
        return Vec::new();
    }
    let told = Told::of(event);
    let mut words: Vec<Word> = told.recipients().map(Word::Recipient).chain(told.mail_ids().map(Word::Mail)).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// The recipients of an event that are addresses.
pub fn recipients(event: &StoredEvent) -> Vec<Address> {
    Told::of(event).recipients().collect()
}

/// How far the commit of an event, by the store's clock, may be from its receipt, by its gateway's: a span is looked through
/// from this much before it until this much after it. Less than a replay allows for, since who searches waits.
const COMMIT_APART_MAX: Duration = Duration::from_secs(60);

/// Which events are asked for: those for which all of this holds. The default is every event of a provider.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// It is about this recipient.
    pub recipient: Option<Address>,
    /// It is about this mail.
    pub mail: Option<MailId>,
    /// It is of one of these types.
    pub types: Option<Subscription>,
    /// It came in at this source.
    pub source: Option<String>,
    /// Its mail has this tag.
    pub tag: Option<String>,
    /// It was received then or later.
    pub since: Option<Timestamp>,
    /// It was received before then.
    pub until: Option<Timestamp>,
}

impl Search {
    /// The word that an index finds these events by, if there is one. One mail has fewer events than most recipients.
    pub fn word(&self) -> Option<Word> {
        let mail = self.mail.clone().map(Word::Mail);
        mail.or_else(|| self.recipient.clone().map(Word::Recipient))
    }

    /// Since when, and until when, by the store's clock, they were committed; one that was reprocessed may have been later.
    pub fn committed(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let since = self.since.map(|since| since.checked_sub(COMMIT_APART_MAX).unwrap_or(Timestamp::MIN));
        (since, self.until.map(|until| until.checked_add(COMMIT_APART_MAX).unwrap_or(Timestamp::MAX)))
    }

    /// Whether one of this kind may be asked for.
    pub fn wants_kind(&self, kind: Kind) -> bool {
        self.types.as_ref().is_none_or(|types| types.wants(kind))
    }

    /// Whether this one is.
    pub fn wants(&self, event: &StoredEvent) -> bool {
        let is_of = event.kind.in_feed(event.mail).is_some_and(|kind| self.wants_kind(kind))
            && (self.source.is_none() || self.source == event.source)
            && self.since.is_none_or(|since| event.received_at >= since)
            && self.until.is_none_or(|until| event.received_at < until);
        // Most of its data need not be read.
        is_of && (self.recipient.is_none() && self.mail.is_none() && self.tag.is_none() || self.wants_told(event))
    }

    fn wants_told(&self, event: &StoredEvent) -> bool {
        let told = Told::of(event);
        self.tag.as_ref().is_none_or(|tag| told.tags.iter().any(|Text(one)| one == tag))
            && self.mail.as_ref().is_none_or(|mail| told.mail_ids().any(|id| id == *mail))
            && self.recipient.as_ref().is_none_or(|recipient| told.recipients().any(|one| one == *recipient))
    }
}

/// So many ids of one mail are looked for.
const IDS_MAX: usize = 10;

/// The ids of a mail that was asked for by one of them, from events that have it. Some events tell only the id of the send
/// API: by a Message-ID alone they would not be found.
pub fn ids_of_mail(asked: &MailId, found: &[StoredEvent]) -> Vec<MailId> {
    let mut ids = vec![asked.clone()];
    for id in found.iter().filter_map(|event| MailId::parse(&Told::of(event).id?.0)) {
        if ids.len() < IDS_MAX && !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// Whether an event is of a mail that has any of these ids.
pub fn is_of_mail(event: &StoredEvent, ids: &[MailId]) -> bool {
    event.kind.in_feed(event.mail).is_some() && Told::of(event).mail_ids().any(|id| ids.contains(&id))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::event_type::Operational;
    use crate::domain::id::{EventId, MailKey};

    fn event(data: &Value) -> StoredEvent {
        StoredEvent {
            id: EventId::of("resend", "a"),
            kind: Kind::Bounced.into(),
            created_at: "2026-03-14T09:27:01.044Z".into(),
            data: serde_json::value::to_raw_value(data).unwrap(),
            source: Some("resend".into()),
            received_at: Timestamp::from_second(100).unwrap(),
            request_id: None,
            mail: MailKey::of("mail", "a"),
            possible_duplicate_of: None,
            endpoints: Vec::new(),
        }
    }

    fn recipient(address: &str) -> Word {
        Word::Recipient(Address::parse(address).unwrap())
    }

    fn mail(id: &str) -> MailId {
        MailId::parse(id).unwrap()
    }

    #[test]
    fn a_mails_id_has_no_brackets_and_keeps_its_case() {
        assert_eq!(mail(" <Ab@c> "), mail("Ab@c"));
        assert_ne!(mail("Ab@c"), mail("ab@c"));
        assert_eq!(mail("<a"), mail("<<a>"));
        assert!(MailId::parse("").is_none() && MailId::parse(" <> ").is_none());
    }

    #[test]
    fn an_event_is_found_by_each_recipient_and_both_ids_and_by_each_once() {
        let data = json!({"id": "a@b", "message_id": "<a@b>", "to": "Nora <NORA@c.example>"});
        assert_eq!(words(&event(&data)), [recipient("nora@c.example"), Word::Mail(mail("a@b"))]);
        let data = json!({"id": "1", "message_id": "<2@b>", "recipients": ["b@c.example", "nobody", "A@c.example", "B@c.example"]});
        let all = [recipient("a@c.example"), recipient("b@c.example"), Word::Mail(mail("1")), Word::Mail(mail("2@b"))];
        assert_eq!(words(&event(&data)), all);
        for nothing in [json!({}), json!([]), json!({"to": 5}), json!({"id": "<>"})] {
            assert_eq!(words(&event(&nothing)), [], "{nothing}");
        }
    }

    #[test]
    fn what_waypost_made_is_found_by_nothing() {
        let made = StoredEvent { mail: MailKey::operational("a"), ..event(&json!({"id": "a", "to": "a@b.example"})) };
        let told = StoredEvent { kind: Operational::EndpointFailing.into(), ..made.clone() };
        for event in [made, told] {
            assert!(words(&event).is_empty() && !is_of_mail(&event, &[mail("a")]));
            assert!(!Search::default().wants(&event));
        }
    }

    #[test]
    fn words_of_two_kinds_and_of_two_keys_differ() {
        let [key, other] = [1, 2].map(|byte| AddressKey::new([byte; AddressKey::LEN]));
        let (one, two) = (recipient("a@b.example"), Word::Mail(mail("a@b.example")));
        assert_ne!(one.hash(&key), two.hash(&key));
        assert!(one.hash(&key) != one.hash(&other) && two.hash(&key) != two.hash(&other));
    }

    #[test]
    fn all_that_is_asked_for_must_hold() {
        let event = event(&json!({"id": "1", "message_id": "<2@b>", "to": "a@b.example", "tags": ["news"]}));
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let all = Search {
            recipient: Address::parse("A@b.example"),
            mail: MailId::parse("<1>"),
            types: Subscription::new(vec!["email.bounced".into()]).ok(),
            source: Some("resend".into()),
            tag: Some("news".into()),
            since: at(100),
            until: at(101),
        };
        assert!(all.wants(&event) && Search::default().wants(&event));
        for other in [
            Search { recipient: Address::parse("b@b.example"), ..all.clone() },
            Search { mail: MailId::parse("2"), ..all.clone() },
            Search { types: Subscription::new(vec!["email.sent".into()]).ok(), ..all.clone() },
            Search { source: Some("sendgrid".into()), ..all.clone() },
            Search { tag: Some("new".into()), ..all.clone() },
            Search { since: at(101), ..all.clone() },
            Search { until: at(100), ..all.clone() },
        ] {
            assert!(!other.wants(&event), "{other:?}");
        }
        assert_eq!(all.word(), Some(Word::Mail(mail("1"))));
        assert_eq!(Search { mail: None, ..all }.word(), Some(recipient("a@b.example")));
    }

    #[test]
    fn a_mail_asked_for_by_its_message_id_has_the_id_of_the_send_api_too() {
        let [one, other, bare] = [
            json!({"id": "1", "message_id": "<2@b>"}),
            json!({"id": "3", "message_id": "<2@b>"}),
            json!({"message_id": "<2@b>"}),
        ]
        .map(|data| event(&data));
        assert_eq!(ids_of_mail(&mail("2@b"), &[bare, one.clone(), one.clone()]), [mail("2@b"), mail("1")]);
        assert_eq!(ids_of_mail(&mail("1"), std::slice::from_ref(&one)), [mail("1")]);
        assert_eq!(ids_of_mail(&mail("2@b"), &[one.clone(), other.clone()]).len(), 3);
        assert!(is_of_mail(&one, &[mail("x"), mail("2@b")]) && !is_of_mail(&other, &[mail("1")]));
    }
}
