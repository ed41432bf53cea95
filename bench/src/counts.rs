//! Instructions of each step, counted by valgrind: the same on every run, so that a few percent can be seen.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use crate::steps::STEPS;
use crate::{Failure, tell};

/// Where the committed counts are.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.json");
/// More than this part of the committed count is a failure.
const WORSE_MAX: f64 = 1.10;
/// How often a step is made; the difference of the two is without what starting and preparing costs.
const TIMES: [u32; 2] = [20, 220];

/// Prints the counts beside the committed ones; `bless` commits to them.
pub(crate) fn main(bless: bool) -> Result<(), Failure> {
    let path = PathBuf::from(COMMITTED);
    let committed: BTreeMap<String, u64> = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(_) if bless => BTreeMap::new(),
        Err(error) => return Err(format!("{}: {error}; make it with `counts --bless`", path.display()).into()),
    };
    let mut counted = BTreeMap::new();
    let mut worse = Vec::new();
    tell(&format!("{:32} {:>12} {:>12}", "step", "instructions", "committed"));
    for (name, _) in STEPS {
        let count = count(name)?;
        let before = committed.get(name).copied();
        let change =
            before.map_or(String::new(), |before| format!("{:+.1} %", (count as f64 / before as f64 - 1.0) * 100.0));
        tell(&format!("{name:32} {count:>12} {:>12} {change}", before.map_or("-".into(), |before| before.to_string())));
        if before.is_none_or(|before| count as f64 > before as f64 * WORSE_MAX) {
            worse.push(name);
        }
        counted.insert(name.to_owned(), count);
    }
    if bless {
        std::fs::write(&path, serde_json::to_string_pretty(&counted)? + "\n")?;
        return Ok(());
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!("more than 10 % over the committed counts: {}; find out why, or `counts --bless`", worse.join(", "))
        .into())
}

/// Makes a step so many times; what valgrind runs.
pub(crate) fn step_main(name: &str, times: u32) -> Result<(), Failure> {
    let (_, prepare) = STEPS.into_iter().find(|(known, _)| *known == name).ok_or("no such step")?;
    let mut step = prepare()?;
    (0..times).for_each(|_| step());
    Ok(())
}

/// Instructions of one step.
fn count(name: &str) -> Result<u64, Failure> {
    let [few, many] = [collected(name, TIMES[0])?, collected(name, TIMES[1])?];
    Ok(many.saturating_sub(few) / u64::from(TIMES[1] - TIMES[0]))
}

fn collected(name: &str, times: u32) -> Result<u64, Failure> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe()?);
    let output = valgrind.args(["step", name, &times.to_string()]).output();
    let output = output.map_err(|error| format!("valgrind does not start: {error}; install the package `valgrind`"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.ok_or_else(|| format!("valgrind counted nothing: {told}").into())
}
