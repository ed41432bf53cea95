//! Answers as they are printed: tables for people on a terminal, JSON for programs.

use std::io::{IsTerminal, Write};

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::Failure;
use super::details::details;
use super::table::{Table, View};
use super::text::json_line;

/// Standard output.
pub(super) struct Output {
    is_json: bool,
    is_terminal: bool,
}

impl Output {
    /// JSON if it is asked for, or where nobody looks.
    pub(super) fn new(is_json: bool) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        Self { is_json: is_json || !is_terminal, is_terminal }
    }

    /// Whether a terminal gets it, also where that is JSON.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether a program reads it.
    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    /// A part of a list.
    pub(super) fn part(&self, table: &mut Table, view: &View, entries: &[Box<RawValue>]) -> Result<(), Failure> {
        if self.is_json {
            return print(&entries.iter().map(|entry| json_line(entry.get()) + "\n").collect::<String>());
        }
        let entries =
            entries.iter().map(|entry| serde_json::from_str(entry.get())).collect::<Result<Vec<Value>, _>>()?;
        print(&table.part(view, &entries))
    }

    /// One entry of a list that is made here.
    pub(super) fn entry(&self, table: &mut Table, view: &View, entry: &Value) -> Result<(), Failure> {
        self.part(table, view, &[serde_json::value::to_raw_value(entry)?])
    }

    /// One thing, given as JSON.
    pub(super) fn one(&self, json: &str) -> Result<(), Failure> {
        if self.is_json {
            return print(&(json_line(json) + "\n"));
        }
        print(&details(&serde_json::from_str(json)?))
    }

    /// That something was done: a sentence for people, this JSON for programs.
    pub(super) fn done(&self, sentence: &str, json: &Value) -> Result<(), Failure> {
        print(&if self.is_json { format!("{json}\n") } else { format!("{sentence}\n") })
    }
}

/// Unlike `println!`, it does not panic when nobody reads any more.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
}

/// Bytes as they are.
pub(super) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// A word beside the answer, for whoever looks. If it cannot be written, the answer is none the worse.
pub(super) fn remark(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
