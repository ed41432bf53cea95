//! `waypost replay`: what went out is sent again.

use clap::{Args, Subcommand};
use http::Method;
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::Failure;
use super::gateway::segment;
use super::list::{Listing, list};
use super::moment::Moment;
use super::table::{View, cell};
use super::watch::{ROUTE, begun, watch};
use super::{Connection, Session, deliveries, events, unless_closed};
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
    /// Send an event again, to every endpoint that it went to or to one.
    ///
    /// Example: waypost replay event evt_6rw0336rvbstbyc2qyb6ez17cg
    Event {
        /// The event's id.
        id: String,
        /// Only to this endpoint.
        #[arg(long, value_name = "ID")]
        endpoint: Option<String>,
    },
    /// Send the event of a delivery to its endpoint again.
    ///
    /// Example: waypost replay delivery dlv_6rw0336rvbstbyc2qyb6ez17cg
    Delivery {
        /// The delivery's id.
        id: String,
    },
    /// Send an endpoint again what went to it in a span of time, and show how far that has got until it is done.
    ///
    /// Example: waypost replay endpoint wh_billing --since 24h --status failed
    Endpoint(Bulk),
    /// List bulk replays, and whatever else works in the background, the latest first.
    ///
    /// Example: waypost replay list
    List {
        #[command(flatten)]
        listing: Listing,
    },
    /// Show how far a bulk replay has got until it is done.
    ///
    /// Example: waypost replay watch rpl_6rw0336rvbstbyc2qyb6ez17cg
    Watch {
        /// The replay's id.
        id: String,
    },
    /// Stop a bulk replay, and end what is pending of it.
    ///
    /// Example: waypost replay cancel rpl_6rw0336rvbstbyc2qyb6ez17cg
    Cancel {
        /// The replay's id.
        id: String,
    },
}

/// What of an endpoint is sent again.
#[derive(Debug, Args)]
struct Bulk {
    /// The endpoint's id.
    id: String,
    /// What was received from then on: a time with its offset, or how long ago, such as `24h` or `7d`.
    #[arg(long, value_name = "TIME")]
    since: Moment,
    /// What was received before then; now unless told.
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Only of these types, parted by commas.
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Only where the first delivery is in one of these, parted by commas: `delivered`, `failed` and `skipped` unless told.
    #[arg(long, value_delimiter = ',', value_parser = Status::ALL.map(Status::as_str))]
    status: Vec<String>,
    /// Only say how many that would be.
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for the end.
    #[arg(long)]
    detach: bool,
}

/// Does what is asked for.
pub(in super::super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let session = arguments.connection.open()?;
    unless_closed(match arguments.command {
        Command::Event { id, endpoint } => events::replay(&session, &id, endpoint.as_deref()).await,
        Command::Delivery { id } => deliveries::retry(&session, &id).await,
        Command::Endpoint(bulk) => endpoint(&session, bulk).await,
        Command::List { listing } => list(&session, ROUTE, &[], &listing, &VIEW).await,
        Command::Watch { id } => watch(&session, &id).await,
        Command::Cancel { id } => {
            let path = format!("{ROUTE}/{}", segment(&id));
            let canceled: Box<RawValue> = session.gateway.call(Method::DELETE, &path, None).await?.read()?;
            session.output.one(canceled.get())
        }
    })
}

async fn endpoint(session: &Session, bulk: Bulk) -> Result<(), Failure> {
    let path = format!("/v1/webhooks/{}/replay", segment(&bulk.id));
    let answer = session.gateway.post(&path, &bulk.body(session.now())).await?;
    if bulk.detach {
        return session.output.one(answer.read::<Box<RawValue>>()?.get());
    }
    watch(session, &begun(&answer.read()?)?).await
}

impl Bulk {
    fn body(&self, now: Timestamp) -> Value {
        json!({
            "since": self.since.at(now),
            "until": self.until.map(|until| until.at(now)),
            "types": self.types,
            "status": self.status,
            "dry_run": self.dry_run,
        })
    }
}

/// How jobs are listed.
const VIEW: View =
    View { head: &["id", "kind", "of", "state", "counted", "made", "left out", "pending", "begun"], row };

fn row(job: &Value) -> Vec<String> {
    let of = if job["endpoint_id"].is_null() { &job["source"] } else { &job["endpoint_id"] };
    let state = match &job["error"] {
        Value::Null if job["dry_run"] == true => format!("{} (dry run)", cell(&job["state"])),
        Value::Null => cell(&job["state"]),
        error => format!("{}: {}", cell(&job["state"]), cell(error)),
    };
    let counts = ["counted", "made", "left_out", "pending", "created_at"].map(|name| cell(&job[name]));
    [cell(&job["id"]), cell(&job["kind"]), cell(of), state].into_iter().chain(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_the_gateways_to_choose() {
        let now: Timestamp = "2026-03-14T12:00:00Z".parse().unwrap();
        let bulk = Bulk {
            id: "wh_a".into(),
            since: "1h".parse().unwrap(),
            until: None,
            types: vec!["email.sent".into()],
            status: Vec::new(),
            dry_run: true,
            detach: false,
        };
        let expected = json!({"since": "2026-03-14T11:00:00Z", "until": null, "types": ["email.sent"], "status": [],
            "dry_run": true});
        assert_eq!(bulk.body(now), expected);
    }

    #[test]
    fn a_job_is_a_row_whatever_it_does() {
        let job = json!({"id": "rpl_1", "kind": "replay", "endpoint_id": "wh_a", "state": "running", "counted": 5,
            "made": 3, "left_out": 1, "pending": 2, "created_at": "T", "dry_run": false});
        assert_eq!(row(&job), ["rpl_1", "replay", "wh_a", "running", "5", "3", "1", "2", "T"]);
        let failed = json!({"kind": "reprocess", "source": "resend", "state": "failed", "error": "endpoint_deleted"});
        assert_eq!(row(&failed)[1..4], ["reprocess", "resend", "failed: endpoint_deleted"]);
        assert_eq!(row(&json!({"state": "done", "dry_run": true}))[3], "done (dry run)");
        assert_eq!(row(&json!({})).len(), VIEW.head.len());
    }
}
