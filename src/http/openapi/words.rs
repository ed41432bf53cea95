//! The words that name events, as JSON Schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use waypost_providers::Kind;
use waypost_providers::words::WORDS;

use crate::domain::event_type::Operational;
use crate::domain::subscription::OPERATIONAL;

/// Every word for events of providers, in lower case.
pub(super) fn of_events() -> Vec<String> {
    let bare = WORDS.iter().map(|(word, _)| (*word).to_owned());
    let dotted = WORDS.iter().filter(|(word, _)| !word.contains('.')).map(|(word, _)| format!("email.{word}"));
    let all = ["*", "email.*"].map(str::to_owned).into_iter().chain(Kind::ALL.map(|kind| kind.as_str().to_owned()));
    let mut all: Vec<_> = all.chain(bare).chain(dotted).collect();
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|word| seen.insert(word.clone()));
    all
}

/// The same, and those for operational events.
fn of_all() -> Vec<String> {
    let operational = Operational::ALL.map(|one| one.as_str().to_owned());
    of_events().into_iter().chain([OPERATIONAL.to_owned()]).chain(operational).collect()
}

/// A regular expression for some of these words, separated by commas.
pub(super) fn pattern(words: &[String]) -> String {
    let words = words.join("|").replace('.', "\\.").replace('*', "\\*");
    format!("^({words})(,({words}))*$")
}

/// The same of every word there is.
pub(in crate::http) fn events_pattern() -> String {
    pattern(&of_all())
}

/// A word for events of providers.
pub(in crate::http) struct EventWord;

impl JsonSchema for EventWord {
    fn schema_name() -> Cow<'static, str> {
        "EventWord".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A type of event, or one of the other names for it, or all of them. Case does not matter.",
            "type": "string",
            "enum": of_events(),
        })
    }
}

/// The same, or a word for operational events.
pub(in crate::http) struct AnyEventWord;

impl JsonSchema for AnyEventWord {
    fn schema_name() -> Cow<'static, str> {
        "AnyEventWord".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A type of event, or one of the other names for it, or all of them; `waypost.` leads those about Waypost itself. Case does not matter.",
            "type": "string",
            "enum": of_all(),
        })
    }
}
