//! What came in at each source: counts that are kept in memory, added up in the store, and shown by the API.
//!
//! They are statistics. Nothing is decided by them, and a gateway that is killed loses those that it had not yet added.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waypost_providers::Kind;

/// Tallies by source.
pub type Tallies = BTreeMap<String, Tally>;

/// The most characters of a provider's own type that are kept.
const TYPE_LEN_MAX: usize = 64;
/// A source that counts so many things apart counts every further type of its provider's as `other`.
pub const FIELDS_MAX: usize = 256;
const OTHER: &str = "other";

/// What became of a request, or of one event in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The event was new.
    Stored,
    /// The event had been stored before, or told of no change.
    Repeat,
    /// It is none of the eleven events.
    Unmapped,
    /// It could not be read.
    Unreadable,
    /// The request did not prove who sent it.
    Unverified,
    /// The request was not taken for any other reason.
    Refused,
}

impl Outcome {
    const ALL: [Self; 6] =
        [Self::Stored, Self::Repeat, Self::Unmapped, Self::Unreadable, Self::Unverified, Self::Refused];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Repeat => "repeat",
            Self::Unmapped => "unmapped",
            Self::Unreadable => "unreadable",
            Self::Unverified => "unverified",
            Self::Refused => "refused",
        }
    }
}

/// How old signatures are when they arrive, in seconds: at most that, and more than the one before.
const AGES: [(i64, &str); 8] = [
    (-1, "ahead"),
    (1, "1s"),
    (10, "10s"),
    (60, "1m"),
    (300, "5m"),
    (3_600, "1h"),
    (86_400, "1d"),
    (i64::MAX, "older"),
];
const AGE: &str = "age";

/// What came in at one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// By what is counted, as one text: `<outcome>|<type>|<provider's type>`, or `age|<age>`.
    counts: BTreeMap<String, u64>,
    /// When a request was last answered `200`.
    last_success: Option<Timestamp>,
}

/// How often something came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Count {
    /// What became of it.
    pub outcome: Outcome,
    /// Which of the eleven events it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// What its provider calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_type: Option<String>,
    /// How often.
    pub count: u64,
}

impl Tally {
    /// What is kept of a tally, as [`Tally::fields`] and [`Tally::last_success`] told it.
    pub fn new(fields: BTreeMap<String, u64>, last_success: Option<Timestamp>) -> Self {
        Self { counts: fields, last_success }
    }

    /// A request was answered `200`.
    pub fn taken(&mut self, received_at: Timestamp, signed_at: Option<Timestamp>) {
        self.last_success = self.last_success.max(Some(received_at));
        let Some(signed_at) = signed_at else { return };
        // Signatures tell whole seconds.
        let age = (received_at.duration_since(signed_at) + SignedDuration::from_millis(999)).as_secs();
        if let Some((_, name)) = AGES.iter().find(|(most, _)| age <= *most) {
            self.add(format!("{AGE}|{name}"), 1);
        }
    }

    /// A request was not taken.
    pub fn refused(&mut self, outcome: Outcome) {
        self.add(format!("{}||", outcome.as_str()), 1);
    }

    /// An event, or what is none, was read in a request that was taken.
    pub fn read(&mut self, outcome: Outcome, kind: Option<Kind>, provider_type: &str) {
        let len = provider_type.char_indices().nth(TYPE_LEN_MAX).map_or(provider_type.len(), |(len, _)| len);
        let kind = kind.map_or("", Kind::as_str);
        self.add(format!("{}|{kind}|{}", outcome.as_str(), &provider_type[..len]), 1);
    }

    fn add(&mut self, field: String, count: u64) {
        let is_known = self.counts.len() < FIELDS_MAX || self.counts.contains_key(&field);
        let field = if is_known { field } else { of_others(&field) };
        let known = self.counts.entry(field).or_default();
        *known = known.saturating_add(count);
    }

    /// Adds another of the same source.
    pub fn merge(&mut self, other: Self) {
        self.last_success = self.last_success.max(other.last_success);
        other.counts.into_iter().for_each(|(field, count)| self.add(field, count));
    }

    /// When a request was last answered `200`.
    pub fn last_success(&self) -> Option<Timestamp> {
        self.last_success
    }

    /// What was counted, as one text each; what it is counted as where there is no room for it; and how often.
    pub fn fields(&self) -> impl Iterator<Item = (&str, String, u64)> {
        self.counts.iter().map(|(field, count)| (field.as_str(), of_others(field), *count))
    }

    /// Everything but the ages.
    pub fn counts(&self) -> Vec<Count> {
        self.counts.iter().filter_map(|(field, count)| read(field, *count)).collect()
    }

    /// How many signatures were so old when they arrived.
    pub fn ages(&self) -> BTreeMap<&'static str, u64> {
        let count = |name: &'static str| Some((name, *self.counts.get(&format!("{AGE}|{name}"))?));
        AGES.iter().filter_map(|(_, name)| count(name)).collect()
    }
}

/// The field that counts what there is no room for; ages and what has no type are few.
fn of_others(field: &str) -> String {
    let mut parts = field.splitn(3, '|');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(outcome), Some(kind), Some(provider_type)) if !provider_type.is_empty() => {
            format!("{outcome}|{kind}|{OTHER}")
        }
        _ => field.to_owned(),
    }
}

fn read(field: &str, count: u64) -> Option<Count> {
    let mut parts = field.splitn(3, '|');
    let (outcome, kind, provider_type) = (parts.next()?, parts.next()?, parts.next()?);
    let outcome = Outcome::ALL.into_iter().find(|known| known.as_str() == outcome)?;
    let provider_type = Some(provider_type.to_owned()).filter(|text| !text.is_empty());
    Some(Count { outcome, kind: Kind::by_name(kind), provider_type, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    fn told(tally: &Tally) -> Vec<String> {
        let one = |one: Count| {
            let Count { outcome, kind, provider_type, count } = one;
            format!(
                "{} {} {} {count}",
                outcome.as_str(),
                kind.map_or("-", Kind::as_str),
                provider_type.unwrap_or_default()
            )
        };
        tally.counts().into_iter().map(one).collect()
    }

    #[test]
    fn what_came_in_is_counted_by_outcome_and_types() {
        let mut tally = Tally::default();
        for _ in 0..2 {
            tally.read(Outcome::Stored, Some(Kind::Bounced), "bounce");
        }
        tally.read(Outcome::Repeat, Some(Kind::Bounced), "bounce");
        tally.read(Outcome::Unmapped, None, "a|b");
        tally.read(Outcome::Unreadable, None, "");
        tally.refused(Outcome::Unverified);
        let expected = [
            "repeat email.bounced bounce 1",
            "stored email.bounced bounce 2",
            "unmapped - a|b 1",
            "unreadable -  1",
            "unverified -  1",
        ];
        assert_eq!(told(&tally), expected);
        let fields = tally.fields().map(|(field, _, count)| (field.to_owned(), count)).collect();
        assert_eq!(Tally::new(fields, None), tally, "what a store keeps of it is all of it");
        assert_eq!(serde_json::from_str::<Tally>(&serde_json::to_string(&tally).unwrap()).unwrap(), tally);
    }

    #[test]
    fn the_age_of_a_signature_is_counted_and_the_last_success_stays() {
        let mut tally = Tally::default();
        for (received, signed) in [(10_000, 10_000), (10_900, 10_000), (11_001, 10_000), (0, 9_000), (400_000, 0)] {
            tally.taken(at(received), Some(at(signed)));
        }
        tally.taken(at(5_000), None);
        assert_eq!(tally.ages(), [("1s", 2), ("10s", 1), ("ahead", 1), ("1h", 1)].into());
        assert_eq!(tally.last_success(), Some(at(400_000)));
        assert!(tally.counts().is_empty());
        tally.taken(at(100_000_000), Some(at(0)));
        assert_eq!(tally.ages()["older"], 1);
    }

    #[test]
    fn two_tallies_make_one_sum() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.refused(Outcome::Refused);
        one.taken(at(1), None);
        other.refused(Outcome::Refused);
        other.read(Outcome::Stored, Some(Kind::Sent), "sent");
        one.merge(other);
        assert_eq!(told(&one), ["refused -  2", "stored email.sent sent 1"]);
        assert_eq!(one.last_success(), Some(at(1)));
    }

    #[test]
    fn types_that_a_sender_makes_up_take_bounded_room() {
        let (mut tally, mut parts) = (Tally::default(), vec![Tally::default(); 4]);
        for number in 0..10_000 {
            let made_up = format!("{number}|{}", "\u{e9}".repeat(1_000));
            tally.read(Outcome::Unmapped, None, &made_up);
            parts[number % 4].read(Outcome::Unmapped, None, &made_up);
        }
        let mut sum = Tally::default();
        parts.into_iter().for_each(|part| sum.merge(part));
        for mut tally in [tally, sum] {
            let counts = tally.counts();
            assert_eq!(counts.len(), FIELDS_MAX + 1);
            assert_eq!(counts.iter().map(|one| one.count).sum::<u64>(), 10_000);
            assert!(counts.iter().all(|one| one.provider_type.as_ref().unwrap().chars().count() <= TYPE_LEN_MAX));
            // What is known is counted as before, and so is what has no type.
            tally.read(Outcome::Stored, Some(Kind::Sent), "new");
            tally.refused(Outcome::Unverified);
            let told = told(&tally);
            assert!(told.contains(&"stored email.sent other 1".into()) && told.contains(&"unverified -  1".into()));
        }
    }
}
