//! `waypost deliveries`: what went out.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::Failure;
use super::gateway::segment;
use super::list::{Listing, list};
use super::table::{View, cell};
use super::{Connection, Session, unless_closed};
use crate::domain::delivery::Status;

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
    /// List deliveries in one status, the latest first.
    ///
    /// Example: waypost deliveries list --status failed
    List {
        /// Where they stand; dead letters are `failed`.
        #[arg(long, value_parser = Status::ALL.map(Status::as_str))]
        status: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one delivery, attempt by attempt.
    ///
    /// Example: waypost deliveries show dlv_6rw0336rvbstbyc2qyb6ez17cg
    Show {
        /// The delivery's id.
        id: String,
    },
    /// Send the same event to the same endpoint again.
    ///
    /// Example: waypost deliveries retry dlv_6rw0336rvbstbyc2qyb6ez17cg
    Retry {
        /// The delivery's id.
        id: String,
    },
}

/// Does what is asked for.
pub(in super::super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let session = arguments.connection.open()?;
    unless_closed(match arguments.command {
        Command::List { status, listing } => {
            list(&session, "/v1/deliveries", &[("status", Some(&status))], &listing, &VIEW).await
        }
        Command::Show { id } => session.show(&format!("/v1/deliveries/{}", segment(&id))).await,
        Command::Retry { id } => retry(&session, &id).await,
    })
}

/// Sends a delivery again.
pub(super) async fn retry(session: &Session, id: &str) -> Result<(), Failure> {
    session.make(&format!("/v1/deliveries/{}/retry", segment(id)), &json!({})).await
}

/// How deliveries are listed.
pub(super) const VIEW: View =
    View { head: &["id", "event", "endpoint", "status", "begun", "last attempt", "due or ended"], row };

fn row(delivery: &Value) -> Vec<String> {
    let last = delivery["attempts"].as_array().and_then(|attempts| attempts.last()).unwrap_or(&Value::Null);
    let status = match &delivery["reason"] {
        Value::Null => cell(&delivery["status"]),
        reason => format!("{}: {}", cell(&delivery["status"]), cell(reason)),
    };
    let when = if delivery["ended_at"].is_null() { &delivery["due_at"] } else { &delivery["ended_at"] };
    let [id, event, endpoint, begun] = ["id", "event_id", "endpoint_id", "begun"].map(|name| cell(&delivery[name]));
    let answered = if last.is_null() { String::new() } else { answered(last) };
    vec![id, event, endpoint, status, begun, answered, cell(when)]
}

/// What an attempt was answered, or why not, which is told to scope `admin` only.
pub(super) fn answered(attempt: &Value) -> String {
    let told = if attempt["status"].is_null() { &attempt["error"] } else { &attempt["status"] };
    if told.is_null() { "no answer".into() } else { cell(told) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_a_row_wherever_it_stands() {
        let of = |delivery: Value| row(&delivery)[3..].to_vec();
        let attempts = json!([{"status": 200}, {"status": 503}]);
        let failed =
            json!({"status": "failed", "reason": "exhausted", "begun": 2, "attempts": attempts, "ended_at": "E"});
        assert_eq!(of(failed), ["failed: exhausted", "2", "503", "E"]);
        let pending = json!({"status": "pending", "begun": 1, "attempts": [{"number": 1}], "due_at": "D"});
        assert_eq!(of(pending), ["pending", "1", "no answer", "D"]);
        let told = json!({"status": "pending", "begun": 1, "attempts": [{"error": "timeout"}]});
        assert_eq!(of(told), ["pending", "1", "timeout", ""]);
        assert_eq!(of(json!({"status": "pending", "begun": 0, "attempts": []})), ["pending", "0", "", ""]);
        assert_eq!(row(&json!({})).len(), VIEW.head.len());
    }
}
