//! Which events an endpoint asks for.

use serde::{Deserialize, Serialize};
use waypost_providers::Kind;

/// A list of words as the operator wrote them; an empty list is all of the eleven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Subscription {
    words: Vec<String>,
    kinds: Vec<Kind>,
}

/// A word that names no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown event `{word}`; use `*`, `email.*`, or any of {}", all_names())]
pub struct UnknownWord {
    /// The word.
    pub word: String,
}

impl Subscription {
    /// Reads the words.
    ///
    /// # Errors
    /// Names the first word that is no event.
    pub fn new(words: Vec<String>) -> Result<Self, UnknownWord> {
        let mut kinds = Vec::new();
        for word in &words {
            let meant = kinds_of(word);
            if meant.is_empty() {
                return Err(UnknownWord { word: word.clone() });
            }
            kinds.extend(meant);
        }
        if words.is_empty() {
            kinds.extend(Kind::ALL);
        }
        Ok(Self { words, kinds })
    }

    /// Whether it asks for this kind of event.
    pub fn wants(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

fn kinds_of(word: &str) -> Vec<Kind> {
    let word = word.to_ascii_lowercase();
    match word.as_str() {
        "*" => Kind::ALL.to_vec(),
        "email.*" => Kind::ALL.into_iter().filter(|kind| kind.as_str().starts_with("email.")).collect(),
        exact => Kind::by_name(exact).into_iter().collect(),
    }
}

fn all_names() -> String {
    Kind::ALL.map(|kind| format!("`{}`", kind.as_str())).join(", ")
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

    #[test]
    fn an_empty_list_is_all_eleven() {
        let all = Subscription::new(vec![]).unwrap();
        assert!(Kind::ALL.into_iter().all(|kind| all.wants(kind)));
    }

    #[test]
    fn a_wildcard_takes_its_family_only() {
        let mail = Subscription::new(vec!["email.*".into()]).unwrap();
        assert!(mail.wants(Kind::Bounced) && !mail.wants(Kind::DomainVerified));
    }

    #[test]
    fn an_unknown_word_is_named() {
        let error = Subscription::new(vec!["email.sent".into(), "email.bounce".into()]).unwrap_err();
        assert!(error.to_string().contains("`email.bounce`"));
    }
}
