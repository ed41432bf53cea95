//! `waypost feed`: what came in, in order, and what comes in. The place is kept in a file if one is named: after a part has
//! been printed, so that whatever ends the command, nothing is left out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{Failure, asked_to_stop};
use super::events;
use super::gateway::{CallError, segment};
use super::output::remark;
use super::table::Table;
use super::{Connection, Session, unless_closed};

/// How long one call waits for an event.
const WAIT_S: u32 = 30;
/// How soon a gateway that is being restarted is asked again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Go on printing what comes in, until stopped; also across restarts of the gateway.
    #[arg(long)]
    follow: bool,
    /// Only of these types, parted by commas, such as `email.*` or `bounced,complained`.
    #[arg(long = "type", value_name = "TYPES")]
    types: Option<String>,
    /// Only of these sources, parted by commas.
    #[arg(long, value_name = "NAMES")]
    source: Option<String>,
    /// Where to go on: a cursor, `beginning` of what is kept (which it is unless told), or `end`.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Keep the cursor in this file, and go on there the next time; `--after` is for when there is none yet.
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,
}

/// A part of the feed, as the API answers it.
#[derive(Deserialize)]
struct Part {
    data: Vec<Box<RawValue>>,
    cursor: String,
    has_more: bool,
    missed: u64,
}

/// Prints the feed.
pub(in super::super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { connection, follow, types, source, after, cursor_file } = arguments;
    let session = connection.open()?;
    let kept = cursor_file.as_deref().map(kept).transpose()?.flatten();
    let query = [("types", types), ("sources", source)];
    let given = query.iter().filter_map(|(name, value)| Some(format!("&{name}={}", segment(value.as_deref()?))));
    let query: String = given.collect();
    let mut after = kept.or(after).unwrap_or_default();
    let printing = print(&session, &query, &mut after, follow, cursor_file.as_deref());
    let printed = tokio::select! {
        printed = printing => unless_closed(printed),
        stopped = asked_to_stop() => Ok(stopped?),
    };
    if printed.is_ok() && cursor_file.is_none() && !session.output.is_json() && !after.is_empty() {
        remark(&format!("to go on from here: --after {after}"));
    }
    printed
}

async fn print(
    session: &Session,
    query: &str,
    after: &mut String,
    follow: bool,
    file: Option<&Path>,
) -> Result<(), Failure> {
    let (mut table, mut is_failing) = (Table::default(), false);
    loop {
        let wait = if follow { WAIT_S } else { 0 };
        let path = format!("/v1/feed?limit=500&wait={wait}&after={}{query}", segment(after));
        let part: Part = match session.gateway.get(&path).await {
            Ok(answer) => answer.read()?,
            Err(error) if follow && error.is_passing() => {
                again(&error, std::mem::replace(&mut is_failing, true)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        is_failing = false;
        if part.missed > 0 {
            remark(&format!("{} events before these are no longer kept", part.missed));
        }
        if !part.data.is_empty() {
            session.output.part(&mut table, &events::VIEW, &part.data)?;
        }
        if let Some(file) = file.filter(|_| *after != part.cursor) {
            keep(file, &part.cursor)?;
        }
        *after = part.cursor;
        if !follow && !part.has_more {
            return Ok(());
        }
    }
}

async fn again(error: &CallError, is_known: bool) {
    if !is_known {
        remark(&format!("{error}; trying again"));
    }
    tokio::time::sleep(AGAIN).await;
}

/// What the file keeps; none where there is no file.
fn kept(file: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("--cursor-file: `{}` cannot be read: {error}", file.display()).into()),
    }
}

/// Whole or not at all, whatever happens meanwhile.
fn keep(file: &Path, cursor: &str) -> Result<(), Failure> {
    let write = || {
        let mut name = file.as_os_str().to_owned();
        name.push(".new");
        let mut new = std::fs::File::create(&name)?;
        writeln!(new, "{cursor}")?;
        new.sync_all()?;
        std::fs::rename(&name, file)
    };
    write().map_err(|error| format!("--cursor-file: `{}` cannot be written: {error}", file.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_the_latest_cursor_and_an_empty_one_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cursor");
        assert_eq!(kept(&file).unwrap(), None);
        for cursor in ["a", "b"] {
            keep(&file, cursor).unwrap();
            assert_eq!(kept(&file).unwrap().as_deref(), Some(cursor));
        }
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(kept(&file).unwrap(), None);
        let told = keep(&dir.path().join("none/cursor"), "a").unwrap_err().to_string();
        assert!(told.contains("--cursor-file") && told.contains("none/cursor"), "{told}");
    }
}
