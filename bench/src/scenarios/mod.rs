//! The scenarios; one file for each.

mod healthy;

use crate::Failure;
use crate::args::{Options, Scenario};
use crate::report::Run;

/// `bench run`: runs one, prints and writes what was measured, and fails where something was lost.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(crate) fn main(scenario: Scenario, options: &Options) -> Result<(), Failure> {
    let runs = match scenario {
        Scenario::Healthy => healthy::run(options)?,
    };
    for run in &runs {
        println!("{}", crate::table::run(run));
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&runs)?)?;
    }
    let faults: Vec<_> = runs.iter().flat_map(Run::faults).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ").into()) }
}
