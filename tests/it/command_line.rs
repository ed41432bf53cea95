//! The commands that ask a running gateway, as processes, on both stores.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::gateway::{API_KEY, Gateway};

mod endpoints;
mod errors;
mod events;
mod feed;
mod replay;
mod suppressions;
mod terminal;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) is_done: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// What it printed, line by line; it must have done its work.
    pub(crate) fn lines(&self) -> Vec<Value> {
        assert!(self.is_done && self.err.is_empty(), "{self:?}");
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The one thing that it printed.
    pub(crate) fn one(&self) -> Value {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{self:?}");
        lines.remove(0)
    }

    /// What it said when it did not do its work.
    pub(crate) fn failure(&self) -> &str {
        assert!(!self.is_done && self.out.is_empty() && !self.err.contains(API_KEY), "{self:?}");
        self.err.strip_prefix("waypost: ").unwrap()
    }
}

/// The program, asking this gateway with the key that may do everything.
pub(crate) fn command(gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
    let url = format!("http://{}", gateway.address());
    command.args(arguments).env("WAYPOST_URL", url).env("WAYPOST_API_KEY", API_KEY).env_remove("RUST_LOG");
    command
}

pub(crate) fn ran(command: &mut Command, input: &str) -> Ran {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = piped.spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { is_done: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs it to its end.
pub(crate) fn waypost(gateway: &Gateway, arguments: &[&str]) -> Ran {
    ran(&mut command(gateway, arguments), "")
}

/// A file of this content, there as long as its folder.
pub(crate) fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}
