//! `waypost endpoints`: who is told of what came in.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::Failure;
use super::deliveries::answered;
use super::endpoint_fields::{Fields, secret};
use super::gateway::segment;
use super::list::{Listing, list};
use super::table::{View, cell};
use super::{Connection, Session, stats, unless_closed};

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
    /// List endpoints, the latest made first, and whether the config file or the API manages each.
    ///
    /// Example: waypost endpoints list
    List {
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one endpoint.
    ///
    /// Example: waypost endpoints show wh_billing
    Show {
        /// The endpoint's id.
        id: String,
    },
    /// Make an endpoint; a secret that is generated is shown this once.
    ///
    /// Example: waypost endpoints create --to https://billing.example/hooks --events email.bounced,email.complained
    Create {
        #[command(flatten)]
        fields: Box<Fields>,
        /// A file that holds its secret; without it, one is generated.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<std::path::PathBuf>,
    },
    /// Change those fields of an endpoint that are given.
    ///
    /// Example: waypost endpoints update wh_billing --rate-limit 50 --unset description
    Update {
        /// The endpoint's id.
        id: String,
        #[command(flatten)]
        fields: Box<Fields>,
        /// Fields that get their default again, parted by commas.
        #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
        unset: Vec<String>,
    },
    /// Delete an endpoint; what is pending for it is canceled.
    ///
    /// Example: waypost endpoints delete wh_4e7k2m9q
    Delete {
        /// The endpoint's id.
        id: String,
    },
    /// Have an endpoint get what comes in from now on.
    ///
    /// Example: waypost endpoints enable wh_billing
    Enable {
        /// The endpoint's id.
        id: String,
    },
    /// Have an endpoint get nothing; its deliveries are skipped.
    ///
    /// Example: waypost endpoints disable wh_billing
    Disable {
        /// The endpoint's id.
        id: String,
    },
    /// Send an endpoint a sample.
    ///
    /// Example: waypost endpoints test wh_billing --type email.bounced
    Test {
        /// The endpoint's id.
        id: String,
        /// Of which type; without it, the first that the endpoint asks for.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
    },
    /// List the attempts at an endpoint, the latest recorded first.
    ///
    /// Example: waypost endpoints logs wh_billing --status 5xx
    Logs {
        /// The endpoint's id.
        id: String,
        /// Only those that were answered so: a number, `2xx` and the like, or `none`.
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show numbers of an endpoint: its attempts, how deliveries ended, and what is pending.
    ///
    /// Example: waypost endpoints stats wh_billing --hours 168
    Stats {
        /// The endpoint's id.
        id: String,
        /// Of so many hours; 24 unless told.
        #[arg(long, value_name = "N")]
        hours: Option<u32>,
    },
    /// Give an endpoint a new secret; the old one signs too for a while.
    ///
    /// Example: waypost endpoints rotate wh_4e7k2m9q --overlap-s 3600
    Rotate {
        /// The endpoint's id.
        id: String,
        /// Seconds for which the old secret signs too, 0 to 604800; 86400 unless told.
        #[arg(long, value_name = "SECONDS")]
        overlap_s: Option<u64>,
        /// A file that holds the new secret; without it, one is generated and shown this once.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<std::path::PathBuf>,
    },
    /// Have the secret before the newest sign no more, before its time.
    ///
    /// Example: waypost endpoints revoke wh_4e7k2m9q
    Revoke {
        /// The endpoint's id.
        id: String,
    },
    /// Show the secrets that sign now; needs a key of scope `admin`.
    ///
    /// Example: waypost endpoints secret wh_4e7k2m9q
    Secret {
        /// The endpoint's id.
        id: String,
    },
}

/// Does what is asked for.
pub(in super::super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let session = arguments.connection.open()?;
    unless_closed(match arguments.command {
        Command::List { listing } => list(&session, ROUTE, &[], &listing, &VIEW).await,
        Command::Show { id } => session.show(&route(&id, "")).await,
        Command::Create { fields, secret_file } => {
            let mut body = fields.body(&[])?;
            body.extend(secret(secret_file.as_deref())?);
            session.make(ROUTE, &body.into()).await
        }
        Command::Update { id, fields, unset } => update(&session, &id, fields.body(&unset)?.into()).await,
        Command::Delete { id } => end(&session, &id, "", "deleted").await,
        Command::Enable { id } => session.make(&route(&id, "/enable"), &json!({})).await,
        Command::Disable { id } => session.make(&route(&id, "/disable"), &json!({})).await,
        Command::Test { id, kind } => {
            let body = kind.map_or_else(|| json!({}), |kind| json!({ "type": kind }));
            session.make(&route(&id, "/test"), &body).await
        }
        Command::Logs { id, status, listing } => {
            list(&session, &route(&id, "/logs"), &[("status", status.as_deref())], &listing, &LOGGED).await
        }
        Command::Stats { id, hours } => session.show(&stats::path(&route(&id, "/stats"), hours)).await,
        Command::Rotate { id, overlap_s, secret_file } => {
            let mut body = secret(secret_file.as_deref())?;
            body.extend(overlap_s.map(|overlap_s| ("overlap_s".to_owned(), overlap_s.into())));
            session.make(&route(&id, "/rotate"), &body.into()).await
        }
        Command::Revoke { id } => end(&session, &id, "/secrets/old", "its old secret signs no more").await,
        Command::Secret { id } => session.show(&route(&id, "/secret")).await,
    })
}

const ROUTE: &str = "/v1/webhooks";

fn route(id: &str, more: &str) -> String {
    format!("{ROUTE}/{}{more}", segment(id))
}

async fn update(session: &Session, id: &str, body: Value) -> Result<(), Failure> {
    if body.as_object().is_some_and(|fields| fields.is_empty()) {
        return Err("there is nothing to change; name a field, such as --to; `waypost endpoints update --help`".into());
    }
    let changed: Box<RawValue> = session.gateway.call(Method::PATCH, &route(id, ""), Some(&body)).await?.read()?;
    session.output.one(changed.get())
}

/// Deletes what is of an endpoint.
async fn end(session: &Session, id: &str, more: &str, what: &str) -> Result<(), Failure> {
    session.gateway.call(Method::DELETE, &route(id, more), None).await?;
    session.output.done(&format!("{id}: {what}"), &json!({ "id": id, "done": what }))
}

/// How endpoints are listed.
const VIEW: View = View { head: &["id", "managed by", "active", "format", "events", "url"], row };

fn row(endpoint: &Value) -> Vec<String> {
    let active = match &endpoint["disabled"]["reason"] {
        Value::Null => cell(&endpoint["active"]),
        reason => format!("no: {}", cell(reason)),
    };
    // An empty list is all of them.
    let events = match &endpoint["events"] {
        Value::Array(events) if events.is_empty() => "*".into(),
        events => cell(events),
    };
    let [id, managed_by, format, url] = ["id", "managed_by", "format", "url"].map(|name| cell(&endpoint[name]));
    vec![id, managed_by, active, format, events, url]
}

/// How attempts are listed.
const LOGGED: View = View { head: &["begun", "event", "type", "attempt", "answered", "ms"], row: logged };

fn logged(attempt: &Value) -> Vec<String> {
    let [begun, event, kind, number, took] =
        ["created_at", "event_id", "type", "attempt", "duration_ms"].map(|name| cell(&attempt[name]));
    vec![begun, event, kind, number, answered(attempt), took]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_a_row_also_without_an_answer() {
        let attempt = json!({"created_at": "T", "event_id": "evt_1", "type": "email.sent", "attempt": 2, "status": 503,
            "duration_ms": 7});
        assert_eq!(logged(&attempt), ["T", "evt_1", "email.sent", "2", "503", "7"]);
        assert_eq!(logged(&json!({"attempt": 1}))[4], "no answer");
        assert_eq!(logged(&json!({"error": "timeout"}))[4], "timeout");
    }

    #[test]
    fn an_endpoint_is_a_row_that_tells_who_manages_it_and_why_it_gets_nothing() {
        let file =
            json!({"id": "wh_a", "managed_by": "file", "active": true, "format": "drin", "events": [], "url": "U"});
        assert_eq!(row(&file), ["wh_a", "file", "yes", "drin", "*", "U"]);
        let api = json!({"id": "wh_b", "managed_by": "api", "active": false, "disabled": {"reason": "gone"},
            "format": "drin", "events": ["email.sent", "email.bounced"], "url": "U"});
        assert_eq!(row(&api), ["wh_b", "api", "no: gone", "drin", "email.sent, email.bounced", "U"]);
        assert_eq!(row(&json!({})).len(), VIEW.head.len());
    }
}
