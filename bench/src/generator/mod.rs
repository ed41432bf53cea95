//! The generator: a process that makes all requests beforehand, and then only writes and reads sockets.

mod connection;
mod drive;
pub(crate) mod record;

use std::io::BufRead;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use connection::value;
use serde::{Deserialize, Serialize};

use crate::load::Stock;
use crate::{Failure, cpu};

/// What to post, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Who is called.
    pub(crate) target: SocketAddr,
    /// The path before the source's name.
    pub(crate) path: String,
    /// The load, by its name.
    pub(crate) load: String,
    /// The number of the first event.
    pub(crate) first: u64,
    /// At most so many requests.
    pub(crate) requests: u64,
    /// For so long.
    pub(crate) duration_ms: u64,
    /// Connections at once.
    pub(crate) connections: usize,
    /// Requests a second, whatever is answered; without it, each connection sends when it is answered.
    pub(crate) rate: Option<f64>,
    /// Whether requests are used again when all have been, which only a floor takes.
    pub(crate) cycle: bool,
    /// Where the records go.
    pub(crate) records: PathBuf,
}

/// What the generator says when it is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// When it began, and when the last answer was in.
    pub(crate) began: u64,
    /// When the last answer was in.
    pub(crate) ended: u64,
    /// CPU nanoseconds in between.
    pub(crate) cpu: u64,
    /// Whether it ran out of requests before the time was over.
    pub(crate) ran_out: bool,
}

/// `bench generate`: a spec comes in, `ready` goes out, `go` comes in, and what was sent goes out.
#[expect(clippy::print_stdout, reason = "the way it talks to its parent")]
pub(crate) fn main() -> Result<(), Failure> {
    let mut lines = std::io::stdin().lock().lines();
    let mut hear = || lines.next().ok_or("the parent is gone")?.map_err(Failure::from);
    let spec: Spec = serde_json::from_str(&hear()?)?;
    let host = spec.target.to_string();
    let stock = Stock::make(spec.load.parse()?, spec.first, spec.requests, (&host, &spec.path))?;
    println!("ready");
    hear()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let before = cpu::own();
    let (mut sent, records) = runtime.block_on(drive::drive(&spec, stock))?;
    sent.cpu = cpu::own() - before;
    record::write(&spec.records, &records)?;
    println!("{}", serde_json::to_string(&sent)?);
    // Until the parent has read what it wants of this process.
    let _ = hear();
    Ok(())
}
