//! Measures the gateway: real processes, real signatures, real sockets, CPU by process.
//!
//! The program plays every part but the gateway's and Redis's: it starts itself again as the generator, the receiver and
//! the floors, so that what each costs can be told apart.

mod args;
mod bed;
mod chart;
mod clock;
mod counts;
mod cpu;
mod floors;
mod gateway;
mod generator;
mod load;
mod process;
mod receiver;
mod redis;
mod report;
mod scenarios;
mod steps;
mod summary;
mod table;
mod targets;

use std::process::ExitCode;

use args::{Arguments, Task};
use clap::Parser;

/// What ends a run badly, in words for the person who started it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Failure> {
    match task {
        Task::Run { scenario, options } => scenarios::main(scenario, &options),
        Task::Floors { options } => summary::floors(&options),
        Task::Table { bless, from, options } => summary::main(bless, &from, &options),
        Task::Peer { name, target, path, options } => summary::peer(&name, target, &path, &options),
        Task::Counts { bless } => counts::main(bless),
        Task::Step { name, times } => counts::step_main(&name, times),
        Task::Chart { json, svg } => chart::main(&json, &svg),
        Task::FloorServer => floors::server_main(),
        Task::FloorGateway { path } => floors::gateway_main(&path),
        Task::FloorClient { port, seconds } => floors::client_main(port, seconds),
        Task::FloorCommit { dir, seconds, what } => floors::commit_main(&dir, seconds, what),
        Task::FloorSync { path, seconds } => floors::sync_main(&path, seconds),
        Task::Generate => generator::main(),
        Task::Receive { endpoints } => receiver::main(endpoints),
    }
}

/// Says how far it is, to the person who waits.
#[expect(clippy::print_stderr, reason = "the one place that speaks to the person who waits")]
fn tell(line: &str) {
    eprintln!("{line}");
}
