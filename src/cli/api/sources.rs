//! `waypost sources`: where events come in.

use clap::Args;
use serde_json::Value;

use super::super::Failure;
use super::list::{Listing, list};
use super::table::{View, cell};
use super::{Connection, unless_closed};

#[derive(Debug, Args)]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

/// Lists the sources of the gateway's config, and what came in at each.
pub(in super::super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    unless_closed(list(&arguments.connection.open()?, "/v1/sources", &[], &Listing::ALL, &VIEW).await)
}

/// What becomes of what comes in.
const OUTCOMES: [&str; 6] = ["stored", "repeat", "unmapped", "unreadable", "unverified", "refused"];
/// How sources are listed.
const VIEW: View = View {
    head: &[
        "name",
        "provider",
        "verify",
        "last taken",
        OUTCOMES[0],
        OUTCOMES[1],
        OUTCOMES[2],
        OUTCOMES[3],
        OUTCOMES[4],
        OUTCOMES[5],
    ],
    row,
};

fn row(source: &Value) -> Vec<String> {
    let counts = source["counts"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |outcome: &str| {
        let those = counts.iter().filter(|count| count["outcome"] == outcome);
        those.filter_map(|count| count["count"].as_u64()).sum::<u64>().to_string()
    };
    let head = ["name", "provider", "verify", "last_success_at"].map(|name| cell(&source[name]));
    head.into_iter().chain(OUTCOMES.map(of)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_source_is_a_row_with_the_sum_of_each_outcome() {
        let counts = json!([{"outcome": "stored", "type": "email.sent", "count": 2},
            {"outcome": "stored", "type": "email.bounced", "count": 3}, {"outcome": "unverified", "count": 1}]);
        let source = json!({"name": "a", "provider": "resend", "verify": "signature", "counts": counts});
        assert_eq!(row(&source), ["a", "resend", "signature", "", "5", "0", "0", "0", "1", "0"]);
        assert_eq!(row(&source).len(), VIEW.head.len());
    }
}
