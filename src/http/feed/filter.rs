//! What a reader of the feed asks for.

use std::time::Duration;

use serde::Deserialize;

use crate::domain::feed::Cursor;
use crate::domain::plan::StoredEvent;
use crate::domain::source::is_name;
use crate::domain::subscription::Subscription;
use crate::http::lists::read_query;
use crate::http::problem::Problem;
use crate::store::Store;

/// How many events a part has at most, unless told.
pub(in crate::http) const LIMIT_DEFAULT: usize = 100;
/// The most that can be told.
pub(in crate::http) const LIMIT_MAX: usize = 1_000;
/// The longest that an empty answer is waited for.
pub(in crate::http) const WAIT_S_MAX: u64 = 60;
/// The most sources that can be named.
pub(super) const SOURCES_MAX: usize = 100;
/// The words for a place that needs no cursor.
pub(super) const BEGINNING: &str = "beginning";
pub(super) const END: &str = "end";

/// Which events.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Of these types; of all where there is none.
    pub(super) types: Option<Subscription>,
    /// That came in by these; by all where there is none.
    pub(super) sources: Vec<String>,
}

impl Filter {
    pub(super) fn wants(&self, event: &StoredEvent) -> bool {
        let is_of_type =
            self.types.as_ref().is_none_or(|types| event.kind.provider().is_some_and(|kind| types.wants(kind)));
        let is_of_source = |source: &String| self.sources.is_empty() || self.sources.contains(source);
        is_of_type && event.source.as_ref().is_some_and(is_of_source)
    }
}

/// Types that are in the feed, by their words.
///
/// # Errors
/// Says what is wrong with a word.
pub(super) fn types(words: Vec<String>) -> Result<Subscription, String> {
    let types = Subscription::new(words).map_err(|error| format!("`types`: {error}"))?;
    if types.has_operational() {
        return Err("`types`: operational events are not in the feed; have a webhook for them".into());
    }
    Ok(types)
}

/// # Errors
/// Says what is wrong with the names.
pub(super) fn check_sources(names: &[String]) -> Result<(), String> {
    if names.len() > SOURCES_MAX {
        return Err(format!("`sources` names more than {SOURCES_MAX}"));
    }
    if !names.iter().all(|name| is_name(name)) {
        return Err("`sources` has a name that no source can have; name sources of the config, or leave it out".into());
    }
    Ok(())
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Beginning,
    End,
    After(Cursor),
}

impl Start {
    /// Reads the word, or the cursor.
    ///
    /// # Errors
    /// Says what it may be.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | BEGINNING => Ok(Self::Beginning),
            END => Ok(Self::End),
            cursor => Cursor::parse(cursor).map(Self::After).ok_or_else(|| {
                format!("`after` is a `cursor` that the feed handed out, whole; or `{BEGINNING}`, or `{END}`")
            }),
        }
    }

    /// The place; none for the beginning.
    pub(super) async fn place(self, store: &dyn Store) -> Result<Option<Cursor>, Problem> {
        match self {
            Self::Beginning => Ok(None),
            Self::End => Ok(Some(store.feed_end().await?)),
            Self::After(cursor) => Ok(Some(cursor)),
        }
    }
}

/// The query, as sent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    after: Option<String>,
    limit: Option<String>,
    types: Option<String>,
    sources: Option<String>,
    wait: Option<String>,
}

/// What is asked for by a query.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) start: Start,
    pub(super) limit: usize,
    pub(super) filter: Filter,
    pub(super) wait: Duration,
}

impl Asked {
    /// Reads a query; one for a stream has no `limit` and no `wait`.
    ///
    /// # Errors
    /// When a parameter is unknown, there twice or wrong.
    pub(super) fn read(text: &str, is_stream: bool) -> Result<Self, Problem> {
        let Query { after, limit, types: words, sources, wait } = read_query(text)?;
        if is_stream && (limit.is_some() || wait.is_some()) {
            return Err(Problem::BadQuery("a stream takes `after`, `types` and `sources` only".into()));
        }
        let number = |name: &str, text: Option<String>, least: u64, most: u64, default: u64| {
            let text = text.filter(|text| !text.is_empty());
            let wrong = || Problem::BadQuery(format!("`{name}` is a number from {least} to {most}"));
            text.map_or(Ok(default), |text| {
                text.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(wrong)
            })
        };
        let limit = number("limit", limit, 1, LIMIT_MAX as u64, LIMIT_DEFAULT as u64)?;
        let wait = number("wait", wait, 0, WAIT_S_MAX, 0)?;
        let list = |text: &str| text.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>();
        let sources = sources.as_deref().map(list).unwrap_or_default();
        check_sources(&sources).map_err(Problem::BadQuery)?;
        let types = words.as_deref().map(|words| types(list(words))).transpose().map_err(Problem::BadQuery)?;
        let start = Start::parse(after.as_deref().unwrap_or_default()).map_err(Problem::BadQuery)?;
        let limit = usize::try_from(limit).unwrap_or(LIMIT_MAX);
        Ok(Self { start, limit, filter: Filter { types, sources }, wait: Duration::from_secs(wait) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(query: &str, is_stream: bool) -> String {
        match Asked::read(query, is_stream).unwrap_err() {
            Problem::BadQuery(told) => told,
            other => panic!("expected a bad query, got {other}"),
        }
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let cursor = Cursor::default();
        let query = format!("after={}&limit=7&types=email.sent,Bounced&sources=a,%20b&wait=30", cursor.text());
        let Asked { start, limit, filter, wait } = Asked::read(&query, false).unwrap();
        assert_eq!((start, limit, wait.as_secs()), (Start::After(cursor), 7, 30));
        assert_eq!(filter.types.unwrap().words(), ["email.sent", "Bounced"]);
        assert_eq!(filter.sources, ["a", "b"]);
        let Asked { start, limit, filter, wait } = Asked::read("after=", true).unwrap();
        assert_eq!((start, limit, wait.as_secs()), (Start::Beginning, LIMIT_DEFAULT, 0));
        assert!(filter.types.is_none() && filter.sources.is_empty());
        assert_eq!(Asked::read("after=end", true).unwrap().start, Start::End);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, part) in [
            ("typ=email.sent", "`typ`"),
            ("types=bouncy", "unknown event `bouncy`"),
            ("types=", "unknown event ``"),
            ("types=waypost.*", "not in the feed"),
            ("limit=0", "`limit` is a number from 1 to 1000"),
            ("limit=1001", "`limit`"),
            ("wait=61", "`wait` is a number from 0 to 60"),
            ("wait=-1", "`wait`"),
            ("after=start", "`after` is a `cursor`"),
        ] {
            assert!(told(query, false).contains(part), "{query}: {}", told(query, false));
        }
        assert!(told("sources=%20", true).contains("a name that no source can have"));
        assert!(told("wait=1", true).contains("a stream takes"));
        assert!(told(&format!("sources={}", "a,".repeat(100)), true).contains("more than 100"));
    }
}
