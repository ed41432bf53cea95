//! The commands that ask a running gateway, over its API; one file for each.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

use self::gateway::{Gateway, base, key};
use self::output::Output;
use super::{Failure, client};
use crate::clock::{Clock, SystemClock};
use crate::config::authorities;

pub(super) mod audit;
pub(super) mod deliveries;
mod details;
mod endpoint_fields;
pub(super) mod endpoints;
pub(super) mod erase;
pub(super) mod events;
pub(super) mod feed;
mod gateway;
mod list;
mod moment;
mod output;
pub(super) mod replay;
pub(super) mod sources;
pub(super) mod stats;
pub(super) mod suppressions;
mod table;
mod text;
mod watch;

/// Where the gateway is, who asks, and how the answer is shown.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The gateway's URL.
    #[arg(long, global = true, env = "WAYPOST_URL", hide_env_values = true, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file that holds the API key; without it, the key is in WAYPOST_API_KEY.
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A PEM file of authorities that are trusted beside the public ones.
    #[arg(long, global = true, value_name = "FILE", env = "WAYPOST_CA_FILE", hide_env_values = true)]
    ca_file: Option<PathBuf>,
    /// Print JSON, a line for each entry of a list, also to a terminal.
    #[arg(long, global = true)]
    json: bool,
}

/// A gateway to ask, and where the answers go.
struct Session {
    gateway: Gateway,
    output: Output,
    clock: Arc<dyn Clock>,
}

impl Connection {
    fn open(self) -> Result<Session, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let key = key(self.key_file.as_deref(), std::env::var_os("WAYPOST_API_KEY"))?;
        let authorities = self.ca_file.map(|path| authorities("--ca-file", &path)).transpose()?.unwrap_or_default();
        let client = client(authorities, Arc::clone(&clock))?;
        let gateway = Gateway::new(client, base(&self.url)?, &key)?;
        Ok(Session { gateway, output: Output::new(self.json), clock })
    }
}

impl Session {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Shows what a route answers.
    async fn show(&self, path: &str) -> Result<(), Failure> {
        let shown: Box<RawValue> = self.gateway.get(path).await?.read()?;
        self.output.one(shown.get())
    }

    /// Has a route make or do something, and shows what it answers.
    async fn make(&self, path: &str, body: &Value) -> Result<(), Failure> {
        let made: Box<RawValue> = self.gateway.post(path, body).await?.read()?;
        self.output.one(made.get())
    }
}

/// A command whose reader has seen enough has done its work: `waypost events list --all | head`.
fn unless_closed(result: Result<(), Failure>) -> Result<(), Failure> {
    let is_closed = |error: &Failure| {
        error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if result.as_ref().is_err_and(is_closed) { Ok(()) } else { result }
}
