//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::Failure;
use crate::floors::Committed;
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
    /// Measure what nothing can be faster than: a bare handler, a bare client, a bare commit.
    Floors {
        #[command(flatten)]
        options: Options,
    },
    /// Run the short set, and print it beside the committed figures and the targets.
    Table {
        /// Makes what is measured the committed figures.
        #[arg(long)]
        bless: bool,
        /// Takes what `--json` has written instead of running; may be given several times, to add a peer's figures.
        #[arg(long, value_name = "FILE")]
        from: Vec<PathBuf>,
        #[command(flatten)]
        options: Options,
    },
    /// Drive another server with the same bytes, to have its figures beside ours. Only the accepting is measured.
    Peer {
        /// What it is called in the report.
        name: String,
        /// Where it listens, such as `127.0.0.1:8071`.
        target: SocketAddr,
        /// The path of the requests, before the name of the source.
        #[arg(long, default_value = "/in")]
        path: String,
        #[command(flatten)]
        options: Options,
    },
    /// Count the instructions of each pure step, beside the committed counts; fails where one is 10 % over. Needs
    /// valgrind.
    Counts {
        /// Commit to the counts of this run.
        #[arg(long)]
        bless: bool,
    },
    /// Draw what `--json` has written, or the committed figures.
    Chart {
        /// The JSON.
        #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json"))]
        json: PathBuf,
        /// The picture.
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.svg"))]
        svg: PathBuf,
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
    /// One step, to be counted; the program starts it by itself.
    #[command(hide = true)]
    Step { name: String, times: u32 },
    /// The bare handler; the program starts it by itself.
    #[command(hide = true)]
    FloorServer,
    /// The bare gateway; the program starts it by itself.
    #[command(hide = true)]
    FloorGateway {
        /// A file that it makes.
        path: PathBuf,
    },
    /// The bare client; the program starts it by itself.
    #[command(hide = true)]
    FloorClient {
        /// Where the receiver is.
        port: u16,
        /// For how long.
        seconds: f64,
    },
    /// The bare commit; the program starts it by itself.
    #[command(hide = true)]
    FloorCommit {
        /// Where.
        dir: PathBuf,
        /// For how long.
        seconds: f64,
        /// What.
        what: Committed,
    },
    /// The bare sync; the program starts it by itself.
    #[command(hide = true)]
    FloorSync {
        /// A file that it makes.
        path: PathBuf,
        /// For how long.
        seconds: f64,
    },
}

/// A run that is worth a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Everything answers at once. With `--endpoints 0`, only the accepting is measured.
    Healthy,
    /// Every endpoint takes 200 ms to answer.
    Slow,
    /// One endpoint of ten is dead: it hangs, then it refuses connections.
    Dead,
    /// A thousand endpoints, healthy; then thirty of them are dead, slow or dripping.
    Crowd,
    /// One answer of five is a 500.
    Errors,
    /// Endpoints answer nothing until `--count` events are in; then they do.
    Backlog,
    /// Twice what it can take.
    Overload,
    /// Ten thousand endpoints, and nothing to do.
    Idle,
    /// The cost of an event while the store grows.
    Flat,
    /// What an event and a pending delivery take in Redis.
    Memory,
    /// Half of what it can take.
    Half,
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
    /// What is posted: resend, sendgrid-N (batches of N), mailgun or mixed. By default what the scenario is meant for.
    #[arg(long, value_parser = load)]
    pub(crate) load: Option<Load>,
    /// How many endpoints get every event.
    #[arg(long, default_value_t = 1)]
    pub(crate) endpoints: usize,
    /// How many events: the backlog, or what the memory is measured with.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) count: u64,
    /// Measure up to 10 million events (2 million on Redis) where the store grows.
    #[arg(long)]
    pub(crate) whole: bool,
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
    /// Before each measurement, wait so many seconds at most until nobody else uses the machine.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) quiet_within: u64,
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
    /// Records the gateway with `perf record -g` while it is measured. Callers are told right if the gateway (see
    /// `--gateway`) was built with RUSTFLAGS="-C force-frame-pointers=yes".
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
