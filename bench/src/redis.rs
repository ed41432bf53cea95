//! A Redis server of the run's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Failure;
use crate::gateway::free_address;
use crate::process::Process;

/// One server; it is gone when this is dropped.
pub(crate) struct Redis {
    pub(crate) process: Process,
    address: SocketAddr,
}

impl Redis {
    /// Starts one with an append-only file that is synced `always` or `everysec`.
    pub(crate) fn start(dir: &Path, fsync: &str, cpus: &[usize]) -> Result<Self, Failure> {
        let address = free_address()?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
        // As docs/operating-redis.md has it.
        command.args(["--appendonly", "yes", "--appendfsync", fsync, "--maxmemory-policy", "noeviction"]);
        command.args(["--auto-aof-rewrite-min-size", "1gb", "--dir"]);
        command.arg(dir).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::start("redis-server", &mut command, cpus)?;
        let redis = Self { process, address };
        for _ in 0..500 {
            if redis.ask("PING").is_ok() {
                return Ok(redis);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("redis-server does not come up".into())
    }

    /// Its URL for the gateway.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Bytes that its data takes.
    pub(crate) fn used_memory(&self) -> Result<u64, Failure> {
        let info = self.ask("INFO memory")?;
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(line.ok_or("Redis does not tell its memory")?.trim().parse()?)
    }

    /// From now on [`Redis::script_us`] tells of what follows.
    pub(crate) fn forget_latencies(&self) -> Result<(), Failure> {
        self.ask("CONFIG RESETSTAT").map(drop)
    }

    /// How long scripts took in the server, in microseconds: of 99 in 100, and of 999 in 1,000, as it tells.
    pub(crate) fn script_us(&self) -> Result<[f64; 2], Failure> {
        let info = self.ask("INFO latencystats")?;
        let line = info.lines().find_map(|line| line.strip_prefix("latency_percentiles_usec_evalsha:"));
        let line = line.ok_or("Redis ran no script")?;
        let of = |name: &str| line.split(',').find_map(|part| part.trim().strip_prefix(name)?.parse().ok());
        of("p99=").zip(of("p99.9=")).map(|(one, other)| [one, other]).ok_or_else(|| line.into())
    }

    /// One command on a connection of its own.
    pub(crate) fn ask(&self, command: &str) -> Result<String, Failure> {
        self.session()?.ask(command)
    }

    /// A connection for several commands.
    pub(crate) fn session(&self) -> Result<Session, Failure> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        Ok(Session(BufReader::new(stream)))
    }
}

/// A connection.
pub(crate) struct Session(BufReader<TcpStream>);

impl Session {
    /// One command, whose words hold no blanks; a list is answered line by line.
    pub(crate) fn ask(&mut self, command: &str) -> Result<String, Failure> {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        read(&mut self.0)
    }
}

/// Reads an answer; a list as its parts, line by line.
fn read(stream: &mut BufReader<TcpStream>) -> Result<String, Failure> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let rest = line.get(1..).unwrap_or_default().trim_end();
    match line.as_bytes().first() {
        Some(b'+' | b':') => Ok(rest.to_owned()),
        Some(b'$') if rest == "-1" => Ok(String::new()),
        Some(b'$') => {
            let mut bytes = vec![0; rest.parse::<usize>()? + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        Some(b'*') => {
            let parts = (0..rest.parse::<usize>()?).map(|_| read(stream));
            Ok(parts.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
        _ => Err(format!("Redis answers {rest:?}").into()),
    }
}
