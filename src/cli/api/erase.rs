//! `waypost erase`: all that was received of a person is given to nobody any more.

use std::io::{IsTerminal, Write};

use clap::Args;
use http::Method;
use serde_json::value::RawValue;

use super::super::Failure;
use super::gateway::segment;
use super::text::plain;
use super::watch::{begun, watch};
use super::{Connection, unless_closed};

#[derive(Debug, Args)]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The person's address.
    address: String,
    /// What becomes of it on the suppression list, where it is a hash: `keep` unless told.
    #[arg(long, value_parser = ["keep", "remove"])]
    suppression: Option<String>,
    /// Do not wait for the end.
    #[arg(long)]
    detach: bool,
    /// Do not ask first. Only a person at a terminal is asked.
    #[arg(long)]
    yes: bool,
}

/// Whether a person at a terminal wants it, who is shown the address once more.
fn is_wanted(address: &str) -> Result<bool, Failure> {
    let mut error = std::io::stderr();
    write!(error, "Erase all that was received of {}? It cannot be undone. [y/N] ", plain(address))?;
    error.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Begins it, and shows how far it has got until it is done.
pub(in super::super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let is_asked = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if is_asked && !arguments.yes && !is_wanted(&arguments.address)? {
        return Err("nothing was erased".into());
    }
    let session = arguments.connection.open()?;
    let path = format!("/v1/recipients/{}", segment(&arguments.address));
    let query = arguments.suppression.map(|word| format!("?suppression={word}")).unwrap_or_default();
    let answer = session.gateway.call(Method::DELETE, &(path + &query), None).await?;
    if arguments.detach {
        return session.output.one(answer.read::<Box<RawValue>>()?.get());
    }
    unless_closed(watch(&session, &begun(&answer.read()?)?).await)
}
