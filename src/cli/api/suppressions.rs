//! `waypost suppressions`: whom to write to no more.

use std::io::BufRead;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::super::Failure;
use super::gateway::segment;
use super::list::{Listing, list};
use super::table::{Table, View, cell};
use super::{Connection, Session, unless_closed};
use crate::domain::suppression::Reason;

#[derive(Debug, Args)]
#[command(flatten_help = true)]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List all that is on the suppression list. Addresses are kept as hashes, so one is shown while an event is kept that
    /// put it there.
    ///
    /// Example: waypost suppressions list --reason complaint --all
    List {
        /// Only what is there for this.
        #[arg(long, value_parser = Reason::ALL.map(Reason::as_str))]
        reason: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Say of each address whether it is on the suppression list, and why.
    ///
    /// Example: waypost suppressions check nora@customer.example
    Check {
        /// The addresses; `-` reads them from standard input, one a line.
        #[arg(required = true)]
        addresses: Vec<String>,
    },
    /// Put an address on the list.
    ///
    /// Example: waypost suppressions add nora@customer.example
    Add {
        /// The address.
        address: String,
        /// Why: `manual` unless told.
        #[arg(long, value_parser = Reason::ALL.map(Reason::as_str))]
        reason: Option<String>,
    },
    /// Take an address off the list, whatever it was there for.
    ///
    /// Example: waypost suppressions remove nora@customer.example
    Remove {
        /// The address.
        address: String,
    },
}

/// Does what is asked for.
pub(in super::super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let session = arguments.connection.open()?;
    unless_closed(match arguments.command {
        Command::List { reason, listing } => {
            list(&session, ROUTE, &[("reason", reason.as_deref())], &listing, &LISTED).await
        }
        Command::Check { addresses } => check(&session, addresses).await,
        Command::Add { address, reason } => {
            let body = json!({ "address": address, "reason": reason });
            session.make(ROUTE, &body).await
        }
        Command::Remove { address } => {
            session.gateway.call(Method::DELETE, &route(&address), None).await?;
            session
                .output
                .done(&format!("{address} is off the list"), &json!({ "address": address, "suppressed": false }))
        }
    })
}

const ROUTE: &str = "/v1/suppressions";

fn route(address: &str) -> String {
    format!("{ROUTE}/{}", segment(address))
}

/// Asks for one after the other, and prints each as it comes.
async fn check(session: &Session, addresses: Vec<String>) -> Result<(), Failure> {
    let mut table = Table::default();
    for given in addresses {
        if given != "-" {
            check_one(session, &mut table, &given).await?;
            continue;
        }
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            if !line.trim().is_empty() {
                check_one(session, &mut table, line.trim()).await?;
            }
        }
    }
    Ok(())
}

async fn check_one(session: &Session, table: &mut Table, address: &str) -> Result<(), Failure> {
    let reasons = match session.gateway.get(&route(address)).await {
        Ok(listed) => listed.read::<Value>()?["reasons"].take(),
        Err(error) if error.is_not_found() => json!([]),
        Err(error) => return Err(format!("{address}: {error}").into()),
    };
    let is_listed = reasons.as_array().is_some_and(|reasons| !reasons.is_empty());
    let checked = json!({ "address": address, "suppressed": is_listed, "reasons": reasons });
    session.output.entry(table, &CHECKED, &checked)
}

/// How addresses that were asked about are listed.
const CHECKED: View = View {
    head: &["address", "suppressed", "why"],
    row: |checked| vec![cell(&checked["address"]), cell(&checked["suppressed"]), why(checked)],
};

/// How all are listed.
const LISTED: View = View {
    head: &["id", "address", "why"],
    row: |listed| vec![cell(&listed["id"]), cell(&listed["address"]), why(listed)],
};

fn why(listed: &Value) -> String {
    let told = |reason: &Value| match &reason["event_id"] {
        Value::Null => format!("{} ({})", cell(&reason["reason"]), cell(&reason["created_at"])),
        event => format!("{} ({}, {})", cell(&reason["reason"]), cell(&reason["created_at"]), cell(event)),
    };
    let reasons = listed["reasons"].as_array().map_or(&[][..], Vec::as_slice);
    reasons.iter().map(told).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_row_with_every_reason() {
        let reasons = json!([{"reason": "bounce", "event_id": "evt_1", "created_at": "T"}, {"reason": "manual", "created_at": "U"}]);
        let listed = json!({"id": "sup_1", "address": "a@b.example", "suppressed": true, "reasons": reasons});
        assert_eq!((CHECKED.row)(&listed), ["a@b.example", "yes", "bounce (T, evt_1), manual (U)"]);
        assert_eq!((LISTED.row)(&listed), ["sup_1", "a@b.example", "bounce (T, evt_1), manual (U)"]);
        let free = json!({"address": "a@b.example", "suppressed": false, "reasons": []});
        assert_eq!((CHECKED.row)(&free), ["a@b.example", "no", ""]);
    }
}
