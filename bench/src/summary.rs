//! The short set: every target's figure, beside the committed one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::args::{Options, Scenario, StoreKind};
use crate::load::Load;
use crate::report::{Report, machine};
use crate::{Failure, floors, gateway, scenarios, table, tell};

/// What is committed.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json");

/// `bench floors`.
pub(crate) fn floors(options: &Options) -> Result<(), Failure> {
    let report = Report { floors: floors::measure(options)?, ..Report::default() };
    report.finish(options.json.as_deref())
}

/// `bench peer`.
pub(crate) fn peer(name: &str, target: SocketAddr, path: &str, options: &Options) -> Result<(), Failure> {
    let (mut run, _) = floors::drive(options, target, path, options.load.unwrap_or(Load::Resend), None)?;
    run.name = format!("peer: {name}");
    Report { runs: vec![run], ..Report::default() }.finish(options.json.as_deref())
}

/// `bench table`: runs the short set or reads what was measured before, and prints it beside the committed figures.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(crate) fn main(bless: bool, from: &[PathBuf], options: &Options) -> Result<(), Failure> {
    let mut report = if from.is_empty() { measure(options)? } else { Report::default() };
    for path in from {
        let more = Report::read(path)?;
        report.machine = more.machine;
        report.floors.extend(more.floors);
        report.runs.extend(more.runs);
    }
    let committed = Report::read(Path::new(COMMITTED)).unwrap_or_default();
    println!("{}", table::all(&report, &committed));
    report.write(options.json.as_deref())?;
    if bless {
        report.write(Some(Path::new(COMMITTED)))?;
    }
    let faults: Vec<_> = report.runs.iter().flat_map(crate::report::Run::faults).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ").into()) }
}

/// The runs of the short set.
fn measure(options: &Options) -> Result<Report, Failure> {
    let program = match &options.gateway {
        Some(program) => program.clone(),
        None => gateway::build()?,
    };
    let options = Options { gateway: Some(program), ..options.clone() };
    let mut report = Report { machine: machine(), floors: floors::measure(&options)?, ..Report::default() };
    let batch = Load::SendGrid(1000);
    let set = [
        (Scenario::Healthy, StoreKind::Embedded, Load::Resend, 0),
        (Scenario::Healthy, StoreKind::Embedded, Load::Resend, 1),
        (Scenario::Healthy, StoreKind::Embedded, Load::Resend, 10),
        (Scenario::Healthy, StoreKind::Embedded, batch, 0),
        (Scenario::Healthy, StoreKind::Embedded, batch, 1),
        (Scenario::Healthy, StoreKind::Embedded, Load::Mixed, 1),
        (Scenario::Healthy, StoreKind::RedisEverysec, Load::Resend, 0),
        (Scenario::Healthy, StoreKind::RedisEverysec, Load::Resend, 1),
        (Scenario::Healthy, StoreKind::RedisEverysec, batch, 0),
        (Scenario::Healthy, StoreKind::RedisAlways, Load::Resend, 1),
        (Scenario::Idle, StoreKind::Embedded, Load::Resend, 0),
    ];
    for (scenario, store, load, endpoints) in set {
        tell(&format!("{scenario:?}, {}, {load}, {endpoints} endpoints", store.name()));
        let connections = if load == batch { options.connections.min(16) } else { options.connections };
        let options = Options { store, load: Some(load), endpoints, connections, ..options.clone() };
        report.runs.extend(scenarios::run(scenario, &options)?);
    }
    let capacity = report.runs.iter().find(|run| run.endpoints == 1).map(crate::report::Run::through_per_s);
    let resend = Options { load: Some(Load::Resend), endpoints: 1, ..options.clone() };
    tell("Half");
    report.runs.push(scenarios::half(&resend, capacity)?);
    tell("Memory");
    report.runs.extend(scenarios::run(Scenario::Memory, &Options { load: None, ..options })?);
    Ok(report)
}
