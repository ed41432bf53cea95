//! `waypost stats`: numbers of all that came in and went out.

use clap::Args;

use super::super::Failure;
use super::{Connection, unless_closed};

#[derive(Debug, Args)]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// What went out in so many hours; 24 unless told. What came in is told of all time.
    #[arg(long, value_name = "N")]
    hours: Option<u32>,
}

/// Shows them.
pub(in super::super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let session = arguments.connection.open()?;
    unless_closed(session.show(&path("/v1/stats", arguments.hours)).await)
}

/// The route of numbers, of so many hours.
pub(super) fn path(route: &str, hours: Option<u32>) -> String {
    hours.map_or_else(|| route.to_owned(), |hours| format!("{route}?hours={hours}"))
}
