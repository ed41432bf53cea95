//! `waypost events`: what came in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::Failure;
use super::gateway::segment;
use super::list::{Listing, list};
use super::moment::Moment;
use super::output::{print, write};
use super::table::{Table, View, cell};
use super::text::plain_lines;
use super::{Connection, Session, deliveries, unless_closed};

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
    /// List events, the latest first.
    ///
    /// Example: waypost events list --recipient nora@customer.example --since 7d
    List(Search),
    /// List the events of one mail, in order.
    ///
    /// Example: waypost events mail 2a6f0f2b-6a44-4b2a-8a2b-1d5a0d8a5e21
    Mail {
        /// The id that sending it was answered with, or its Message-ID.
        id: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one event.
    ///
    /// Example: waypost events show evt_6rw0336rvbstbyc2qyb6ez17cg
    Show {
        /// The event's id.
        id: String,
    },
    /// Show the request that an event was read from, as it was received.
    ///
    /// Example: waypost events raw evt_6rw0336rvbstbyc2qyb6ez17cg --body > body.json
    Raw {
        /// The event's id.
        id: String,
        /// Print the body alone, byte for byte (to a terminal: without what that would obey).
        #[arg(long)]
        body: bool,
    },
    /// Show what became of an event at each endpoint.
    ///
    /// Example: waypost events deliveries evt_6rw0336rvbstbyc2qyb6ez17cg
    Deliveries {
        /// The event's id.
        id: String,
    },
    /// Send an event again, to every endpoint that it went to or to one.
    ///
    /// Example: waypost events replay evt_6rw0336rvbstbyc2qyb6ez17cg --endpoint wh_billing
    Replay {
        /// The event's id.
        id: String,
        /// Only to this endpoint.
        #[arg(long, value_name = "ID")]
        endpoint: Option<String>,
    },
}

/// Which events.
#[derive(Debug, Args)]
struct Search {
    /// Only of these types, parted by commas; any name that `events` of an endpoint takes.
    #[arg(long = "type", value_name = "TYPES")]
    types: Option<String>,
    /// Only of this source.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only about this address.
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// Only of this mail: the id that sending it was answered with, or its Message-ID.
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Only with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// What was received from then on: a time with its offset, or how long ago, such as `24h` or `7d`.
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// What was received before then.
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    #[command(flatten)]
    listing: Listing,
}

/// Does what is asked for.
pub(in super::super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let session = arguments.connection.open()?;
    unless_closed(match arguments.command {
        Command::List(search) => find(&session, &search).await,
        Command::Mail { id, listing } => {
            list(&session, &format!("/v1/messages/{}", segment(&id)), &[], &listing, &VIEW).await
        }
        Command::Show { id } => session.show(&format!("/v1/events/{}", segment(&id))).await,
        Command::Raw { id, body } => raw(&session, &id, body).await,
        Command::Deliveries { id } => {
            let route = format!("/v1/events/{}/deliveries", segment(&id));
            list(&session, &route, &[], &Listing::ALL, &deliveries::VIEW).await
        }
        Command::Replay { id, endpoint } => replay(&session, &id, endpoint.as_deref()).await,
    })
}

async fn find(session: &Session, search: &Search) -> Result<(), Failure> {
    let [since, until] = [search.since, search.until].map(|moment| Some(moment?.at(session.now()).to_string()));
    let query = [
        ("type", search.types.as_deref()),
        ("source", search.source.as_deref()),
        ("recipient", search.recipient.as_deref()),
        ("message_id", search.message_id.as_deref()),
        ("tag", search.tag.as_deref()),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
    ];
    list(session, "/v1/events", &query, &search.listing, &VIEW).await
}

/// How events are listed.
pub(super) const VIEW: View = View { head: &["id", "type", "created", "source", "about", "subject"], row };

fn row(event: &Value) -> Vec<String> {
    let data = &event["data"];
    let mail = &data["mail"];
    let about = [&data["to"], &data["recipients"], &data["domain"]["name"], &data["contact"]["email"], &mail["from"]];
    let about = about.into_iter().find(|value| !value.is_null()).unwrap_or(&Value::Null);
    let subject = if data["subject"].is_null() { &mail["subject"] } else { &data["subject"] };
    [&event["id"], &event["type"], &event["created_at"], &event["source"], about, subject].map(cell).into()
}

/// A request, as the API shows it.
#[derive(Deserialize)]
struct Request {
    body_base64: String,
}

async fn raw(session: &Session, id: &str, body_alone: bool) -> Result<(), Failure> {
    let json: Box<RawValue> = session.gateway.get(&format!("/v1/events/{}/raw", segment(id))).await?.read()?;
    if session.output.is_json() && !body_alone {
        return session.output.one(json.get());
    }
    let Request { body_base64 } = serde_json::from_str(json.get())?;
    let body = STANDARD.decode(body_base64)?;
    if !session.output.is_terminal() {
        return write(&body);
    }
    let text = plain_lines(&String::from_utf8_lossy(&body)) + "\n";
    if body_alone {
        return print(&text);
    }
    let mut head: Value = serde_json::from_str(json.get())?;
    if let Some(head) = head.as_object_mut() {
        head.remove("body_base64");
    }
    session.output.one(&head.to_string())?;
    print(&format!("\n{text}"))
}

/// What a replay of one event made.
#[derive(Deserialize)]
struct Made {
    data: Vec<Value>,
    left_out: Vec<Value>,
}

/// Sends an event again, to one endpoint or to all that it went to.
pub(super) async fn replay(session: &Session, id: &str, endpoint: Option<&str>) -> Result<(), Failure> {
    let body = endpoint.map_or_else(|| json!({}), |endpoint| json!({ "endpoint_id": endpoint }));
    let made = session.gateway.post(&format!("/v1/events/{}/replay", segment(id)), &body).await?;
    if session.output.is_json() {
        return session.output.one(made.read::<Box<RawValue>>()?.get());
    }
    let Made { data, left_out } = made.read()?;
    print(&Table::default().part(&deliveries::VIEW, &data))?;
    if left_out.is_empty() { Ok(()) } else { print(&format!("\n{}", Table::default().part(&LEFT_OUT, &left_out))) }
}

/// How endpoints are listed that get nothing.
const LEFT_OUT: View =
    View { head: &["left out", "for"], row: |one| vec![cell(&one["endpoint_id"]), cell(&one["detail"])] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_row_whatever_it_is_about() {
        let of = |data: Value| {
            let event = json!({"id": "evt_1", "type": "email.sent", "created_at": "T", "source": "s", "data": data});
            row(&event)[4..].to_vec()
        };
        assert_eq!(of(json!({"to": "a@b.example", "subject": "Hi"})), ["a@b.example", "Hi"]);
        assert_eq!(of(json!({"recipients": ["a@b.example", "c@b.example"]})), ["a@b.example, c@b.example", ""]);
        assert_eq!(of(json!({"domain": {"name": "b.example"}})), ["b.example", ""]);
        assert_eq!(of(json!({"contact": {"email": "a@b.example"}})), ["a@b.example", ""]);
        assert_eq!(of(json!({"mail": {"from": "d@b.example", "subject": "Re"}})), ["d@b.example", "Re"]);
        assert_eq!(row(&json!({})).len(), VIEW.head.len());
    }
}
