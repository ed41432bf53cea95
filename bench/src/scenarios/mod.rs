//! The scenarios; one file for each that needs more than a few lines.

mod flat;
mod idle;
mod memory;
mod sick;
mod steady;

pub(crate) use steady::half;

use crate::Failure;
use crate::args::{Options, Scenario};
use crate::bed::{Answering, Bed, Plan};
use crate::load::Load;
use crate::report::{Report, Run};

/// `bench run`: runs one, prints and writes what was measured, and fails where something was lost.
pub(crate) fn main(scenario: Scenario, options: &Options) -> Result<(), Failure> {
    let report = Report { runs: run(scenario, options)?, ..Report::default() };
    report.finish(options.json.as_deref())
}

/// Runs one.
pub(crate) fn run(scenario: Scenario, options: &Options) -> Result<Vec<Run>, Failure> {
    match scenario {
        Scenario::Healthy => steady::healthy(options).map(|run| vec![run]),
        Scenario::Half => half(options, None).map(|run| vec![run]),
        Scenario::Overload => steady::overload(options),
        Scenario::Backlog => steady::backlog(options).map(|run| vec![run]),
        Scenario::Slow => sick::slow(options).map(|run| vec![run]),
        Scenario::Dead => sick::dead(options),
        Scenario::Crowd => sick::crowd(options),
        Scenario::Errors => sick::errors(options).map(|run| vec![run]),
        Scenario::Idle => idle::run(options).map(|run| vec![run]),
        Scenario::Flat => flat::run(options),
        Scenario::Memory => memory::run(options).map(|run| vec![run]),
    }
}

/// What `options` ask for.
fn plan(name: &str, options: &Options) -> Plan {
    Plan {
        name: name.into(),
        load: options.load.unwrap_or(Load::Resend),
        seconds: options.duration,
        requests: None,
        connections: options.connections,
        rate: options.rate,
        endpoints: Answering::AsTheyDo,
    }
}

/// Warms up, then measures.
fn measure(bed: &mut Bed, plan: &Plan) -> Result<Run, Failure> {
    let seconds = bed.options.warmup;
    if seconds > 0.0 {
        bed.measure(&Plan { name: "warmup".into(), seconds, ..plan.clone() })?;
    }
    bed.measure(plan)
}
