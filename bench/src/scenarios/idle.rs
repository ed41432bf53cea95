//! Many endpoints, and nothing to do.

use std::time::Duration;

use crate::args::Options;
use crate::bed::Bed;
use crate::gateway::free_address;
use crate::report::Run;
use crate::{Failure, cpu};

/// How many.
const IDLE_ENDPOINTS: usize = 10_000;
/// Until what starting up brought is over.
const SETTLES: Duration = Duration::from_secs(5);

/// CPU over ten seconds, and memory.
pub(super) fn run(options: &Options) -> Result<Run, Failure> {
    let endpoints = vec![free_address()?; IDLE_ENDPOINTS];
    let bed = Bed::start_with(&Options { endpoints: 0, ..options.clone() }, &endpoints)?;
    std::thread::sleep(SETTLES);
    let process = &bed.gateway.process;
    let before = process.cpu()?;
    std::thread::sleep(Duration::from_secs(10));
    let mut run = Run { name: "idle".into(), store: options.store.name().into(), ..Run::default() };
    run.endpoints = IDLE_ENDPOINTS;
    run.figures.insert("CPU %".into(), (process.cpu()? - before) as f64 / 1e10 * 100.0);
    run.figures.insert("memory MiB".into(), cpu::memory(process.id(), "VmRSS")? as f64 / 1_048_576.0);
    run.peak_memory = cpu::memory(process.id(), "VmHWM")?;
    Ok(run)
}
