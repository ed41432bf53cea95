//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::Failure;
use crate::load::Load;

/// Measures the gateway: real processes, real signatures, real sockets, CPU by process.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Run one scenario and print what was measured.
    ///
    /// Example: cargo run --release -p bench -- run healthy --store embedded --load resend --endpoints 1
    Run {
        /// Which.
        scenario: Scenario,
        #[command(flatten)]
        options: Options,
    },
    /// The generator's part; the program starts it by itself.
    #[command(hide = true)]
    Generate,
    /// The receiver's part; the program starts it by itself.
    #[command(hide = true)]
    Receive {
        /// How many endpoints it stands for.
        endpoints: usize,
    },
}

/// A run that is worth a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Everything answers at once. With `--endpoints 0`, only the accepting is measured.
    Healthy,
}

/// A store to measure on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// In the gateway's own process.
    #[default]
    Embedded,
    /// Redis that syncs once a second.
    RedisEverysec,
    /// Redis that syncs before each answer.
    RedisAlways,
}

impl StoreKind {
    /// As the command line spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::RedisEverysec => "redis-everysec",
            Self::RedisAlways => "redis-always",
        }
    }
}

/// How to run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The store.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) store: StoreKind,
    /// What is posted: resend, sendgrid-N (batches of N), mailgun or mixed.
    #[arg(long, default_value = "resend", value_parser = load)]
    pub(crate) load: Load,
    /// How many endpoints get every event.
    #[arg(long, default_value_t = 1)]
    pub(crate) endpoints: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) duration: f64,
    /// Seconds before that, not measured.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warmup: f64,
    /// Connections that post at once.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Requests a second, whatever is answered (open loop); without it, a connection posts when it is answered.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Where the stores and configs go; on a disk, for syncs count. By default below the target directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// What the gateway logs.
    #[arg(long, default_value = "warn")]
    pub(crate) log: String,
    /// A gateway that is built already, instead of building it.
    #[arg(long, value_name = "FILE")]
    pub(crate) gateway: Option<PathBuf>,
    /// A line of the gateway's config, such as `server.requests_in_flight_max = 64`; may be given several times.
    #[arg(long = "set", value_name = "LINE")]
    pub(crate) lines: Vec<String>,
    /// A line of each endpoint's config, such as `max_in_flight = 8`; may be given several times.
    #[arg(long = "set-endpoint", value_name = "LINE")]
    pub(crate) endpoint_lines: Vec<String>,
    /// CPUs of a process, such as `gateway=0`, `generator=1`, `receiver=1`, `redis=0,1`; may be given several times.
    #[arg(long, value_name = "PROCESS=CPUS", value_parser = pin)]
    pub(crate) pin: Vec<(String, Vec<usize>)>,
    /// Writes what was measured as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Records the gateway with `perf record -g` while it is measured.
    #[arg(long, value_name = "FILE")]
    pub(crate) perf: Option<PathBuf>,
}

impl Options {
    /// The CPUs that a process was given.
    pub(crate) fn cpus(&self, process: &str) -> &[usize] {
        let pin = self.pin.iter().find(|(name, _)| name == process);
        pin.map_or(&[], |(_, cpus)| cpus)
    }
}

fn load(text: &str) -> Result<Load, Failure> {
    text.parse()
}

fn pin(text: &str) -> Result<(String, Vec<usize>), Failure> {
    let (process, cpus) = text.split_once('=').ok_or("write PROCESS=CPU,CPU")?;
    let cpus = cpus.split(',').map(str::parse).collect::<Result<_, _>>()?;
    Ok((process.to_owned(), cpus))
}
