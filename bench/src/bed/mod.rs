//! Everything that runs for a measurement: store, gateway, receiver.

mod directory;
mod measure;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub(crate) use directory::Directory;
pub(crate) use measure::{Answering, Plan};

use crate::Failure;
use crate::args::{Options, StoreKind};
use crate::gateway::{self, Gateway, Setup};
use crate::process::Process;
use crate::receiver::Behaviour;
use crate::receiver::ledger::Counts;
use crate::redis::Redis;

/// A gateway with its store and its endpoints. Dropped, all of it ends and the directory goes.
pub(crate) struct Bed {
    pub(crate) gateway: Gateway,
    pub(crate) redis: Option<Redis>,
    receiver: Process,
    pub(crate) options: Options,
    /// Which endpoints are expected to get everything.
    live: Vec<bool>,
    /// The number of the next event.
    next: u64,
    /// Last, so that it goes when nobody writes into it any more.
    dir: Directory,
}

impl Bed {
    /// Starts everything; all endpoints live.
    pub(crate) fn start(options: &Options) -> Result<Self, Failure> {
        Self::start_with(options, &[])
    }

    /// Starts everything, with endpoints beside those of `options` that get nothing, at these addresses.
    pub(crate) fn start_with(options: &Options, dead: &[SocketAddr]) -> Result<Self, Failure> {
        let program = match &options.gateway {
            Some(program) => program.clone(),
            None => gateway::build()?,
        };
        let dir = Directory::make(options.dir.as_deref())?;
        let count = options.endpoints.to_string();
        let mut receiver = Process::own("receiver", &["receive", &count], options.cpus("receiver"))?;
        let ports: Vec<u16> = serde_json::from_str(&receiver.hear()?)?;
        let mut endpoints: Vec<_> = ports.iter().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).collect();
        endpoints.extend(dead);
        let redis = redis(options, dir.path())?;
        let store = match &redis {
            Some(redis) => redis.url(),
            None => format!("embedded:{}", dir.path().join("data").display()),
        };
        let gateway = Gateway::start(&Setup {
            program: &program,
            dir: dir.path(),
            store: &store,
            endpoints: &endpoints,
            endpoint_lines: &options.endpoint_lines.join("\n"),
            lines: &options.lines,
            log: &options.log,
            cpus: options.cpus("gateway"),
        })?;
        let live = (0..endpoints.len()).map(|place| place < ports.len()).collect();
        Ok(Self { gateway, redis, receiver, options: options.clone(), live, next: 0, dir })
    }

    /// How the endpoints answer from now on.
    pub(crate) fn behave(&mut self, behaviour: Behaviour) -> Result<(), Failure> {
        let behaviours = vec![behaviour; self.options.endpoints];
        let answer = self.receiver.ask(&format!("behave {}", serde_json::to_string(&behaviours)?))?;
        if answer == "done" { Ok(()) } else { Err(answer.into()) }
    }

    /// What the endpoints have got so far.
    pub(crate) fn counts(&mut self) -> Result<Counts, Failure> {
        let answer = self.receiver.ask("count")?;
        serde_json::from_str(&answer).map_err(|_| answer.into())
    }

    /// Bytes that the store holds: on the disk, or in the memory of Redis.
    pub(crate) fn store_bytes(&self) -> Result<u64, Failure> {
        match &self.redis {
            Some(redis) => redis.used_memory(),
            None => directory::bytes(&self.dir.path().join("data")),
        }
    }

    /// Lines that the gateway has logged.
    fn log_lines(&self) -> Result<usize, Failure> {
        Ok(std::fs::read(self.file(gateway::LOG))?.iter().filter(|byte| **byte == b'\n').count())
    }

    /// Whether the endpoints are expected to get what is posted from now on.
    pub(crate) fn expects(&mut self, everything: bool) {
        self.live.iter_mut().take(self.options.endpoints).for_each(|live| *live = everything);
    }

    fn live(&self) -> usize {
        self.live.iter().filter(|live| **live).count()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn redis(options: &Options, dir: &Path) -> Result<Option<Redis>, Failure> {
    let fsync = match options.store {
        StoreKind::Embedded => return Ok(None),
        StoreKind::RedisEverysec => "everysec",
        StoreKind::RedisAlways => "always",
    };
    Redis::start(dir, fsync, options.cpus("redis")).map(Some)
}
