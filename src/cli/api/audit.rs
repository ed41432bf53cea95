//! `waypost audit`: who changed what, and when.

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
    #[command(flatten)]
    listing: Listing,
}

/// Lists the audit log, the latest first; needs a key of scope `admin`.
pub(in super::super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    unless_closed(list(&arguments.connection.open()?, "/v1/audit", &[], &arguments.listing, &VIEW).await)
}

/// How changes are listed.
const VIEW: View = View { head: &["at", "by", "did", "to", "changed"], row };

fn row(change: &Value) -> Vec<String> {
    ["at", "actor", "action", "target", "changed"].map(|name| cell(&change[name])).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_a_row() {
        let change = json!({"at": "T", "actor": "ops", "action": "webhook.updated", "target": "wh_a", "changed": ["url", "events"]});
        assert_eq!(row(&change), ["T", "ops", "webhook.updated", "wh_a", "url, events"]);
        assert_eq!(row(&json!({})).len(), VIEW.head.len());
    }
}
