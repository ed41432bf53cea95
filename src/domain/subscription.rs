//! Which events an endpoint asks for.

use serde::{Deserialize, Serialize};
use waypost_providers::Kind;
use waypost_providers::event::{Data, FailureStage};
use waypost_providers::words::{REJECTED, WORDS, by_word};

use super::event_type::Operational;
use super::format::Format;

/// A list of words as the operator wrote them; an empty list is all of the eleven, and none that is operational.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Subscription {
    words: Vec<String>,
    asks: Vec<Ask>,
}

/// A word that names no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown event `{word}`; use `*`, `email.*`, `waypost.*`, or any of {}", all_names())]
pub struct UnknownWord {
    /// The word.
    pub word: String,
}

/// What of an event a word may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happened {
    /// What happened.
    pub kind: Kind,
    /// The bounce came after the provider had tried again and again.
    pub is_exhausted: bool,
    /// The failure came before any remote server was asked.
    pub is_before_sending: bool,
}

impl Happened {
    /// What happened by an event's data.
    pub fn of(kind: Kind, data: &Data) -> Self {
        Self {
            kind,
            is_exhausted: data.bounce.as_ref().is_some_and(|bounce| bounce.retries_exhausted),
            is_before_sending: data.failure.as_ref().and_then(|failure| failure.stage)
                == Some(FailureStage::BeforeSending),
        }
    }
}

/// What one word asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// Events of this kind.
    Kind(Kind),
    /// Bounces. In `relaypost` an exhausted one is a failure.
    Bounced,
    /// Failures. In `relaypost` those of sending.
    Failed,
    /// Failures too. In `relaypost` those before sending.
    Rejected,
    /// What Waypost tells of itself.
    Operational(Operational),
}

impl Ask {
    /// What a word asks for, by what it means.
    fn of((word, kind): (&str, Kind)) -> Self {
        match kind {
            Kind::Bounced => Self::Bounced,
            Kind::Failed if word == REJECTED => Self::Rejected,
            Kind::Failed => Self::Failed,
            _ => Self::Kind(kind),
        }
    }

    fn takes(self, format: Format, happened: Happened) -> bool {
        let Happened { kind, is_exhausted, is_before_sending } = happened;
        let is_relaypost = format == Format::Relaypost;
        match self {
            Self::Kind(asked) => kind == asked,
            Self::Bounced => kind == Kind::Bounced && !(is_relaypost && is_exhausted),
            Self::Failed if is_relaypost => match kind {
                Kind::Bounced => is_exhausted,
                kind => kind == Kind::Failed && !is_before_sending,
            },
            Self::Failed => kind == Kind::Failed,
            Self::Rejected => kind == Kind::Failed && (is_before_sending || !is_relaypost),
            Self::Operational(_) => false,
        }
    }
}

const QUEUED: &str = "queued";
/// The word for all operational events.
pub const OPERATIONAL: &str = "waypost.*";
/// The words of the seed document 002.
const SELFHOSTED: [&str; 7] = ["queued", "sending", "delivered", "bounced", "complained", "opened", "clicked"];

impl Subscription {
    /// Reads the words.
    ///
    /// # Errors
    /// Names the first word that is no event.
    pub fn new(words: Vec<String>) -> Result<Self, UnknownWord> {
        let mut asks = Vec::new();
        for word in &words {
            let meant = asks_of(&word.to_ascii_lowercase());
            if meant.is_empty() {
                return Err(UnknownWord { word: word.clone() });
            }
            asks.extend(meant);
        }
        if words.is_empty() {
            asks = all();
        }
        Ok(Self { words, asks })
    }

    /// The words as given.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether it asks for this kind of event, by any of its names.
    pub fn wants(&self, kind: Kind) -> bool {
        self.wants_as(Format::Drin, Happened { kind, is_exhausted: false, is_before_sending: false })
    }

    /// Whether an endpoint of this format asks for such an event with it: `relaypost` tells some events apart that the
    /// others call by one name.
    pub fn wants_as(&self, format: Format, happened: Happened) -> bool {
        self.asks.iter().any(|ask| ask.takes(format, happened))
    }

    /// Whether it asks for this operational event.
    pub fn wants_operational(&self, operational: Operational) -> bool {
        self.asks.contains(&Ask::Operational(operational))
    }

    /// Whether any of its words is of operational events.
    pub fn has_operational(&self) -> bool {
        Operational::ALL.into_iter().any(|one| self.wants_operational(one))
    }

    /// Whether `email.sent` is to be called `queued`: it is asked for by that name, and not by one that says more.
    pub fn prefers_queued(&self) -> bool {
        let has = |wanted: &str| self.words.iter().filter_map(|word| by_word(word)).any(|(word, _)| word == wanted);
        has(QUEUED) && !has("sending") && !has("processing")
    }
}

/// What a word in lower case asks for; nothing if it is unknown.
fn asks_of(word: &str) -> Vec<Ask> {
    match word {
        "*" => all(),
        OPERATIONAL => Operational::ALL.map(Ask::Operational).to_vec(),
        "email.*" => {
            let mail = Kind::ALL.into_iter().filter(|kind| kind.as_str().starts_with("email."));
            mail.map(Ask::Kind).collect()
        }
        word => {
            let operational = || Operational::by_name(word).map(Ask::Operational);
            by_word(word).map(Ask::of).or_else(operational).into_iter().collect()
        }
    }
}

fn all() -> Vec<Ask> {
    Kind::ALL.map(Ask::Kind).to_vec()
}

fn all_names() -> String {
    let others = WORDS.iter().map(|(word, _)| *word).filter(|word| Kind::by_name(word).is_none());
    let all = others.chain(Kind::ALL.map(Kind::as_str)).chain(Operational::ALL.map(Operational::as_str));
    all.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Whose names a word is one of, where that tells a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The names of `drin`, with a point or a star in each.
    Dotted,
    /// Of `selfhosted`.
    Selfhosted,
    /// Of others, or of several.
    Other,
}

impl Dialect {
    /// The dialect of a word.
    pub(super) fn of(word: &str) -> Self {
        let word = word.to_ascii_lowercase();
        let is_star = matches!(word.as_str(), "*" | "email.*" | OPERATIONAL);
        if is_star || Kind::by_name(&word).is_some() || Operational::by_name(&word).is_some() {
            Self::Dotted
        } else if SELFHOSTED.contains(&word.as_str()) {
            Self::Selfhosted
        } else {
            Self::Other
        }
    }
}

impl TryFrom<Vec<String>> for Subscription {
    type Error = UnknownWord;

    fn try_from(words: Vec<String>) -> Result<Self, UnknownWord> {
        Self::new(words)
    }
}

impl From<Subscription> for Vec<String> {
    fn from(subscription: Subscription) -> Self {
        subscription.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Subscription {
        Subscription::new(words.iter().map(|word| (*word).to_owned()).collect()).unwrap()
    }

    fn happened(kind: Kind) -> Happened {
        Happened { kind, is_exhausted: false, is_before_sending: false }
    }

    /// The kinds that a word asks for.
    fn kinds(word: &str) -> Vec<Kind> {
        let asked = of(&[word]);
        Kind::ALL.into_iter().filter(|kind| asked.wants(*kind)).collect()
    }

    #[test]
    fn an_empty_list_is_all_eleven() {
        assert!(Kind::ALL.into_iter().all(|kind| of(&[]).wants(kind)));
        assert_eq!(kinds("*"), Kind::ALL);
    }

    #[test]
    fn a_wildcard_takes_its_family_only() {
        assert_eq!(kinds("email.*").len(), 9);
        assert!(!kinds("EMAIL.*").contains(&Kind::DomainVerified));
    }

    #[test]
    fn operational_events_are_asked_for_by_name_or_together_and_never_by_a_star() {
        let wanted = |words: &[&str]| Operational::ALL.map(|one| of(words).wants_operational(one));
        for words in [&[][..], &["*"], &["email.*", "domain.verified", "failed"]] {
            assert_eq!(wanted(words), [false; 5], "{words:?}");
        }
        assert_eq!(wanted(&["Waypost.*"]), [true; 5]);
        assert_eq!(wanted(&["*", "waypost.Endpoint.disabled"]), [false, true, false, false, false]);
        assert!(kinds("waypost.*").is_empty(), "they bring none of the eleven along");
        assert!(of(&["*", "waypost.*"]).wants(Kind::Sent));
    }

    #[test]
    fn each_word_of_each_format_is_known_in_any_case_and_with_or_without_email() {
        let table = [
            (Kind::Sent, &["sent", "queued", "sending", "processing"][..]),
            (Kind::Delivered, &["delivered"]),
            (Kind::DeliveryDelayed, &["delivery_delayed", "deferred"]),
            (Kind::Opened, &["opened", "open"]),
            (Kind::Clicked, &["clicked", "click"]),
            (Kind::Bounced, &["bounced", "bounce"]),
            (Kind::Complained, &["complained"]),
            (Kind::Failed, &["failed", "rejected"]),
            (Kind::Received, &["received"]),
            (Kind::Unsubscribed, &["unsubscribed", "unsubscribe"]),
        ];
        for (kind, words) in table {
            for word in words {
                for spelled in [(*word).to_owned(), word.to_uppercase(), format!("email.{word}")] {
                    assert_eq!(kinds(&spelled), [kind], "{spelled}");
                }
            }
        }
        assert_eq!(kinds("Contact.Unsubscribed"), [Kind::Unsubscribed]);
        assert_eq!(kinds("domain.verified"), [Kind::DomainVerified]);
    }

    #[test]
    fn relaypost_tells_exhausted_bounces_and_rejections_apart() {
        let exhausted = Happened { is_exhausted: true, ..happened(Kind::Bounced) };
        let rejected = Happened { is_before_sending: true, ..happened(Kind::Failed) };
        let all = [happened(Kind::Bounced), exhausted, happened(Kind::Failed), rejected];
        let wanted = |format, word| all.map(|one| of(&[word]).wants_as(format, one));
        assert_eq!(wanted(Format::Relaypost, "bounced"), [true, false, false, false]);
        assert_eq!(wanted(Format::Relaypost, "failed"), [false, true, true, false]);
        assert_eq!(wanted(Format::Relaypost, "rejected"), [false, false, false, true]);
        assert_eq!(wanted(Format::Selfhosted, "bounced"), [true, true, false, false]);
        assert_eq!(wanted(Format::Drin, "email.failed"), [false, false, true, true]);
        assert_eq!(wanted(Format::Drin, "rejected"), [false, false, true, true]);
        for format in Format::ALL {
            assert_eq!(wanted(format, "*"), [true; 4]);
            assert_eq!(wanted(format, "email.*"), [true; 4]);
        }
    }

    #[test]
    fn queued_is_the_name_of_those_who_ask_for_no_later_one() {
        assert!(of(&["delivered", "Email.Queued"]).prefers_queued());
        for words in [&["queued", "sending"][..], &["processing", "queued"], &["sent"], &[], &["*"]] {
            assert!(!of(words).prefers_queued(), "{words:?}");
        }
    }

    #[test]
    fn words_are_kept_as_given() {
        let given = serde_json::json!(["Bounced", "email.OPEN"]);
        let read: Subscription = serde_json::from_value(given.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), given);
    }

    #[test]
    fn an_unknown_word_is_named() {
        for word in [
            "email.bounces",
            "email.domain.verified",
            "email.email.sent",
            "email.waypost.endpoint.failing",
            "waypost.",
            "waypost.endpoint.*",
            "",
            "email.",
        ] {
            let error = Subscription::new(vec!["email.sent".into(), word.into()]).unwrap_err();
            assert!(error.to_string().contains(&format!("`{word}`; use")), "{error}");
        }
    }
}
