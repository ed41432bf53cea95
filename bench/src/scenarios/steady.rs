//! Every endpoint answers at once: at full load, at half, at double, and after a pause.

use super::{measure, plan};
use crate::Failure;
use crate::args::Options;
use crate::bed::{Answering, Bed, Plan};
use crate::load::Load;
use crate::report::Run;

/// For how many seconds the capacity is measured, where it is only the means.
const CAPACITY_SECONDS: f64 = 3.0;
/// Connections that do not wait for one another at twice the capacity.
const OVERLOAD_CONNECTIONS: usize = 1024;

/// The load as it was asked for.
pub(super) fn healthy(options: &Options) -> Result<Run, Failure> {
    let name = if options.endpoints == 0 { "accept" } else { "healthy" };
    measure(&mut Bed::start(options)?, &plan(name, options))
}

/// Half of the capacity, which is measured first if it is not known: requests a second that are accepted and delivered.
pub(crate) fn half(options: &Options, capacity: Option<f64>) -> Result<Run, Failure> {
    let mut bed = Bed::start(options)?;
    let capacity = match capacity {
        Some(capacity) => capacity,
        None => {
            let run = measure(&mut bed, &Plan { seconds: CAPACITY_SECONDS, rate: None, ..plan("capacity", options) })?;
            run.requests_per_s_through()
        }
    };
    measure(&mut bed, &Plan { rate: Some(capacity / 2.0), ..plan("half", options) })
}

/// What it takes, then twice as much. What is accepted is to be answered in time, and the rest with 503.
pub(super) fn overload(options: &Options) -> Result<Vec<Run>, Failure> {
    let mut bed = Bed::start(options)?;
    let capacity = Plan { seconds: CAPACITY_SECONDS, rate: None, ..plan("capacity", options) };
    let capacity = measure(&mut bed, &capacity)?;
    let rate = Some(2.0 * capacity.accepted_requests_per_s());
    let overload = Plan { rate, connections: OVERLOAD_CONNECTIONS, ..plan("overload", options) };
    let overload = bed.measure(&overload)?;
    Ok(vec![capacity, overload])
}

/// Endpoints answer nothing while everything is posted, then at once.
pub(super) fn backlog(options: &Options) -> Result<Run, Failure> {
    // An endpoint that hangs would be given up on, and its lane parked, before the backlog is whole.
    let mut patient = options.clone();
    patient.endpoint_lines.push("timeout_s = 60".into());
    let load = options.load.unwrap_or(Load::SendGrid(1000));
    let requests = Some(load.requests_for(options.count));
    let posting = plan("backlog", options);
    let connections = options.connections.min(16);
    let endpoints = Answering::Afterwards;
    Bed::start(&patient)?.measure(&Plan { load, requests, connections, endpoints, seconds: 3600.0, ..posting })
}
