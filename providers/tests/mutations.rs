//! Recorded requests with something in them changed, and signed again: whatever a provider sends, it is read as something.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;
use waypost_providers::{PROVIDERS, Parsed};

use crate::cases::{Source, source};
use crate::change::{CHANGES, changed, places};
use crate::property;

/// A body that was read as events only, and how many.
#[derive(Clone, Debug)]
struct Recorded {
    provider: &'static str,
    body: Value,
    events: usize,
    /// Whether each event names a mail and a recipient, so that it is about someone without either.
    names_both: bool,
}

fn recorded() -> Vec<Recorded> {
    let mut recorded = Vec::new();
    for provider in PROVIDERS.iter().map(|provider| provider.name()) {
        let source = source(provider);
        for (case, verified) in source.good() {
            let Ok(body) = serde_json::from_slice::<Value>(&case.body) else { continue };
            let parsed = source.provider.parse(&verified);
            recorded.push(Recorded {
                provider,
                body,
                events: events(&parsed),
                names_both: parsed.iter().all(names_both),
            });
        }
    }
    recorded
}

fn events(parsed: &[Parsed]) -> usize {
    parsed.iter().filter(|parsed| matches!(parsed, Parsed::Event(_))).count()
}

fn names_both(parsed: &Parsed) -> bool {
    let Parsed::Event(found) = parsed else { return true };
    let data = &found.event.data;
    (data.id.is_some() || data.message_id.is_some()) && (data.to.is_some() || !data.recipients.is_empty())
}

/// Whether a change at this place may make another number of events.
fn decides(source: &Source, recorded: &Recorded, place: &str) -> bool {
    let mut parts = place.split('/').skip(1);
    let is_element = recorded.body.is_array() && parts.clone().count() == 1;
    is_element || parts.any(|part| source.about.deciding.iter().any(|deciding| deciding == part))
}

/// Whether an event was lost for naming nobody, where one place may hold all that it named.
fn names_nobody(recorded: &Recorded, place: &str, parsed: &[Parsed]) -> bool {
    let all = !recorded.names_both || recorded.body.pointer(place).is_some_and(Value::is_object);
    let nobody =
        |parsed: &Parsed| matches!(parsed, Parsed::Unreadable { reason } if reason.contains("neither a mail nor"));
    all && parsed.iter().any(nobody)
}

fn read(source: &Source, body: &[u8]) -> Vec<Parsed> {
    let parsed = source.read_body(body).unwrap();
    assert!(!parsed.is_empty());
    parsed
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn one_field_changed_costs_that_field_and_not_the_event() {
    let sources: Vec<_> = PROVIDERS.iter().map(|provider| source(provider.name())).collect();
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let strategy = (select(recorded()), any::<Index>(), select(&CHANGES[..]));
    let outcome = runner.run(&strategy, |(recorded, index, change)| {
        let found = places(&recorded.body);
        prop_assume!(!found.is_empty());
        let place = index.get(&found);
        let body = changed(&recorded.body, place, change);
        let source = sources.iter().find(|source| source.provider.name() == recorded.provider).unwrap();
        let parsed = read(source, body.as_bytes());
        if !decides(source, &recorded, place) && !names_nobody(&recorded, place, &parsed) {
            prop_assert_eq!(events(&parsed), recorded.events, "{:?} at {}: {:?}", change, place, parsed);
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn many_fields_changed_are_still_read_as_something() {
    let sources: Vec<_> = PROVIDERS.iter().map(|provider| source(provider.name())).collect();
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let changes = proptest::collection::vec((any::<Index>(), select(&CHANGES[..])), 2..12);
    let outcome = runner.run(&(select(recorded()), changes), |(recorded, changes)| {
        let mut value = recorded.body.clone();
        for (index, change) in changes {
            let found = places(&value);
            if found.is_empty() {
                break;
            }
            let place = &found[index.index(found.len())];
            value = serde_json::from_str(&changed(&value, place, change)).unwrap();
        }
        let source = sources.iter().find(|source| source.provider.name() == recorded.provider).unwrap();
        read(source, value.to_string().as_bytes());
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn any_bytes_are_read_as_something() {
    let sources = [source("resend"), source("sendgrid"), source("sendgrid-inbound"), source("generic")];
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let outcome = runner.run(&(proptest::collection::vec(any::<u8>(), 0..200), any::<Index>()), |(bytes, at)| {
        for source in &sources {
            read(source, &bytes);
            // A recorded body, cut off and gone on otherwise.
            let mut body = source.cases[at.index(source.cases.len())].body.clone();
            body.truncate(at.index(body.len() + 1));
            body.extend(&bytes);
            read(source, &body);
        }
        Ok(())
    });
    outcome.unwrap();
}

/// Pieces of a recorded request taken out, doubled and swapped for bytes that mean something in a mail.
#[test]
fn a_mail_in_pieces_is_still_read_as_something() {
    const BYTES: [&[u8]; 12] = [
        b"\r\n",
        b"\n\n",
        b"--",
        b"--xYzZY",
        b"--outer\n",
        b"=?utf-8?q?",
        b"?=",
        b"\"",
        b"\\",
        b"%",
        b"\xff",
        b"=\r\n",
    ];
    let inbound = PROVIDERS.iter().filter(|provider| provider.name().ends_with("-inbound"));
    let sources: Vec<_> = inbound.map(|provider| source(provider.name())).collect();
    let cases: Vec<_> = sources.iter().flat_map(|source| source.cases.iter().map(|case| case.path.clone())).collect();
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let edits = proptest::collection::vec((any::<Index>(), 0..40_usize, select(&BYTES[..])), 1..8);
    let outcome = runner.run(&(select(cases), edits), |(path, edits)| {
        let mut request = std::fs::read(path).unwrap();
        for (at, len, bytes) in edits {
            let at = at.index(request.len());
            let end = (at + len).min(request.len());
            request.splice(at..end, bytes.iter().copied());
        }
        property::parse(&sources, &request);
        Ok(())
    });
    outcome.unwrap();
}
