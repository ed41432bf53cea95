//! What nothing can be faster than, measured by the same means in the same run: a handler that only reads, a client that
//! only posts, an engine that only commits, a disk that only syncs.

mod client;
mod commit;
mod gateway;
mod server;
mod sync;

use std::net::{Ipv4Addr, SocketAddr};

pub(crate) use client::main as client_main;
pub(crate) use commit::{Committed, main as commit_main};
pub(crate) use gateway::main as gateway_main;
use serde::{Deserialize, Serialize};
pub(crate) use server::main as server_main;
pub(crate) use sync::main as sync_main;

use crate::args::Options;
use crate::bed::Directory;
use crate::generator::record;
use crate::generator::{Sent, Spec};
use crate::load::Load;
use crate::process::Process;
use crate::report::Run;
use crate::{Failure, cpu, tell};

/// Requests that are made for a floor, and used again and again.
const STOCK: u64 = 20_000;

/// One floor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Floor {
    /// What it is.
    pub(crate) name: String,
    /// How many a second.
    pub(crate) per_s: f64,
    /// CPU microseconds for each.
    pub(crate) cpu_us: f64,
    /// What at most one in a hundred waits longer for, in milliseconds, who comes at any moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wait_p99_ms: Option<f64>,
}

/// What a floor's process says when it is done.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// How many.
    pub(crate) count: u64,
    /// In how many nanoseconds.
    pub(crate) nanos: u64,
    /// With how many nanoseconds of CPU.
    pub(crate) cpu: u64,
    /// As of [`Floor`].
    pub(crate) wait_p99_ms: Option<f64>,
}

impl Done {
    fn floor(self, name: &str) -> Floor {
        let count = self.count.max(1) as f64;
        let per_s = count / (self.nanos.max(1) as f64 / 1e9);
        Floor { name: name.into(), per_s, cpu_us: self.cpu as f64 / 1000.0 / count, wait_p99_ms: self.wait_p99_ms }
    }
}

/// The name of the handler's floor.
pub(crate) const HANDLER: &str = "bare handler (actix-web reads the request, answers 200)";
/// The name of the floor of a request that is kept.
pub(crate) const GATEWAY: &str = "bare gateway (actix-web, hmac, serde_json, a synced file that nothing is found in)";
/// The name of the client's floor.
pub(crate) const CLIENT: &str = "bare client (hyper posts a delivery over loopback)";
/// The name of the engine's floor.
pub(crate) const COMMIT: &str = "bare commit (fjall, an event's rows, 64 events a sync)";
/// The name of the engine's floor of a delivery.
pub(crate) const RECORD: &str = "bare record (fjall, a delivery's rows, 64 deliveries a sync)";

/// The name of the disk's floor.
pub(crate) const SYNC: &str = "bare sync (8 KiB written and synced, every 0.5 ms)";

/// Measures all of them.
pub(crate) fn measure(options: &Options) -> Result<Vec<Floor>, Failure> {
    tell("floors");
    let dir = Directory::make(options.dir.as_deref())?;
    let handled = served(options, &["floor-server"])?;
    let kept = served(options, &["floor-gateway", &dir.path().join("kept").to_string_lossy()])?;

    let mut receiver = Process::own("receiver", &["receive", "1"], options.cpus("receiver"))?;
    let ports: Vec<u16> = serde_json::from_str(&receiver.hear()?)?;
    let (port, seconds) = (ports.first().ok_or("no port")?.to_string(), options.duration.to_string());
    let posted = alone(options, &["floor-client", &port, &seconds])?;

    let commit = |name: &str| {
        let path = dir.path().join(name);
        alone(options, &["floor-commit", &path.to_string_lossy(), &seconds, name])
    };
    let (committed, recorded) = (commit("event")?, commit("delivery")?);
    let path = dir.path().join("sync");
    let synced = alone(options, &["floor-sync", &path.to_string_lossy(), &seconds])?;
    Ok(vec![
        handled.floor(HANDLER),
        kept.floor(GATEWAY),
        posted.floor(CLIENT),
        committed.floor(COMMIT),
        recorded.floor(RECORD),
        synced.floor(SYNC),
    ])
}

/// A floor that serves.
fn served(options: &Options, arguments: &[&str]) -> Result<Done, Failure> {
    let mut server = Process::own("a floor", arguments, options.cpus("gateway"))?;
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, server.hear()?.parse()?));
    let (run, cpu) = drive(options, target, "/in", Load::Resend, Some(&server))?;
    if run.failed() > 0 || run.accepted < run.requests {
        return Err(format!("{}: not all was accepted: {:?}", arguments.join(" "), run.statuses).into());
    }
    let nanos = (run.requests as f64 / run.accepted_per_s * 1e9) as u64;
    Ok(Done { count: run.requests, nanos, cpu, wait_p99_ms: None })
}

/// A floor that measures itself.
fn alone(options: &Options, arguments: &[&str]) -> Result<Done, Failure> {
    cpu::quiet(options.quiet_within)?;
    let mut process = Process::own("a floor", arguments, options.cpus("gateway"))?;
    Ok(serde_json::from_str(&process.hear()?)?)
}

/// Posts a load in a closed loop to whatever listens there: what it accepted, and the CPU of the process, if it is ours.
/// Requests are used again, so it is no gateway that takes this for a load of its own.
pub(crate) fn drive(
    options: &Options,
    target: SocketAddr,
    path: &str,
    load: Load,
    process: Option<&Process>,
) -> Result<(Run, u64), Failure> {
    let dir = Directory::make(options.dir.as_deref())?;
    let cycles = process.is_some();
    let requests = if cycles { STOCK } else { (load.requests_per_s_max() as f64 * options.duration) as u64 };
    let spec = Spec {
        target,
        path: path.into(),
        load: load.to_string(),
        first: 0,
        requests,
        duration_ms: (options.duration * 1000.0) as u64,
        connections: options.connections,
        rate: options.rate.filter(|_| !cycles),
        cycle: cycles,
        records: dir.path().join("records"),
    };
    let mut generator = Process::own("generator", &["generate"], options.cpus("generator"))?;
    generator.ask(&serde_json::to_string(&spec)?)?;
    cpu::quiet(options.quiet_within)?;
    let before = process.map_or(Ok(0), Process::cpu)?;
    let sent: Sent = serde_json::from_str(&generator.ask("go")?)?;
    let cpu = process.map_or(Ok(0), Process::cpu)? - before;
    let mut run = Run::of(&record::read(&spec.records)?, &sent);
    (run.load, run.connections, run.rate) = (spec.load, spec.connections, spec.rate);
    run.cpu_ns.insert("generator".into(), sent.cpu);
    Ok((run, cpu))
}
