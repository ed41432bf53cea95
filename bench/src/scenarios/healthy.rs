//! Every endpoint answers at once.

use crate::Failure;
use crate::args::Options;
use crate::bed::{Bed, Plan};
use crate::report::Run;

/// The load as it was asked for, after a moment of the same to warm up.
pub(crate) fn run(options: &Options) -> Result<Vec<Run>, Failure> {
    let mut bed = Bed::start(options)?;
    Ok(vec![measure(&mut bed, "healthy", options)?])
}

/// Warms up, then measures.
pub(crate) fn measure(bed: &mut Bed, name: &str, options: &Options) -> Result<Run, Failure> {
    let plan = Plan {
        name: name.into(),
        load: options.load,
        seconds: options.duration,
        requests: None,
        connections: options.connections,
        rate: options.rate,
        drains: true,
    };
    if options.warmup > 0.0 {
        bed.measure(&Plan { name: "warmup".into(), seconds: options.warmup, ..plan.clone() })?;
    }
    bed.measure(&plan)
}
