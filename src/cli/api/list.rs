//! Lists: as many of their entries as are asked for, part by part.

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::Failure;
use super::Session;
use super::gateway::segment;
use super::output::remark;
use super::table::{Table, View};

/// The most entries that the API answers at once.
const PART_LEN_MAX: usize = 100;

/// How much of a list.
#[derive(Debug, Args)]
pub(super) struct Listing {
    /// The most entries.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All entries, however many.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl Listing {
    /// A list that is not long.
    pub(super) const ALL: Self = Self { limit: 0, all: true };
}

/// A part of a list, as the API answers it.
#[derive(Deserialize)]
struct Part {
    data: Vec<Box<RawValue>>,
    cursor: Option<String>,
}

/// Prints what a route lists, the parts as they come.
pub(super) async fn list(
    session: &Session,
    route: &str,
    query: &[(&str, Option<&str>)],
    listing: &Listing,
    view: &View,
) -> Result<(), Failure> {
    let mut left = if listing.all { usize::MAX } else { usize::try_from(listing.limit)? };
    let (mut table, mut cursor, mut count) = (Table::default(), None, 0);
    loop {
        let limit = left.min(PART_LEN_MAX).to_string();
        let part = [("limit", Some(limit.as_str())), ("cursor", cursor.as_deref())];
        let path = path(route, &[query, &part].concat());
        let Part { data, cursor: next } = session.gateway.get(&path).await?.read()?;
        (left, count) = (left.saturating_sub(data.len()), count + data.len());
        if !data.is_empty() {
            session.output.part(&mut table, view, &data)?;
        }
        cursor = next;
        if cursor.is_none() || left == 0 {
            break;
        }
    }
    if !session.output.is_json() && count == 0 {
        remark("none");
    }
    if !session.output.is_json() && cursor.is_some() {
        remark("there are more: --limit N shows N, --all shows all");
    }
    Ok(())
}

/// A route with those parameters that are given.
fn path(route: &str, query: &[(&str, Option<&str>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| Some(format!("{name}={}", segment((*value)?))));
    format!("{route}?{}", given.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_not_asked_for() {
        let query = [("type", Some("email.*,a b")), ("source", None), ("limit", Some("20"))];
        assert_eq!(path("/v1/events", &query), "/v1/events?type=email%2E%2A%2Ca%20b&limit=20");
    }
}
