//! The gateway under test: built, configured, started, waited for.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::load::SOURCES;
use crate::process::Process;
use crate::receiver::ledger::SECRET;
use crate::{Failure, clock};

/// How long a gateway may take to be ready.
const READY_WITHIN_NS: u64 = 60_000_000_000;

/// Where it logs, in the directory of the run.
pub(crate) const LOG: &str = "gateway.log";

/// How a gateway is set up.
pub(crate) struct Setup<'a> {
    /// The program.
    pub(crate) program: &'a Path,
    /// Where its config goes.
    pub(crate) dir: &'a Path,
    /// `embedded:DIR` or `redis://…`.
    pub(crate) store: &'a str,
    /// Where each endpoint is.
    pub(crate) endpoints: &'a [SocketAddr],
    /// More lines for each endpoint.
    pub(crate) endpoint_lines: &'a str,
    /// Sections and keys of one's own: lines such as `server.requests_in_flight_max = 64`.
    pub(crate) lines: &'a [String],
    /// What is logged, as `RUST_LOG` says it.
    pub(crate) log: &'a str,
    /// On which CPUs; on all, if none are given.
    pub(crate) cpus: &'a [usize],
}

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// Builds the program in the profile of this one, or takes the one beside this one when there is no cargo to ask.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe()?.with_file_name("waypost");
    let folder = beside.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    let profile = if folder == "debug" { "dev" } else { folder };
    if let Some(cargo) = std::env::var_os("CARGO") {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new(cargo);
        command.args(["build", "--profile", profile, "--package", "waypost", "--quiet"]).current_dir(root);
        if !command.status()?.success() {
            return Err("the gateway cannot be built".into());
        }
    }
    if !beside.is_file() {
        return Err(
            format!("no gateway at {}; build it with `cargo build --profile {profile}`", beside.display()).into()
        );
    }
    Ok(beside)
}

impl Gateway {
    /// Starts one and waits until it can take work.
    pub(crate) fn start(setup: &Setup<'_>) -> Result<Self, Failure> {
        let address = free_address()?;
        let config = setup.dir.join("waypost.toml");
        std::fs::write(&config, text(setup, address)?)?;
        let mut command = Command::new(setup.program);
        command.arg("serve").arg("--config").arg(&config).env("RUST_LOG", setup.log);
        let log = setup.dir.join(LOG);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut process = Process::start("gateway", &mut command, setup.cpus)?;
        let began = clock::now();
        while !is_ready(address) {
            if process.has_ended() || clock::now() - began > READY_WITHIN_NS {
                return Err(format!("the gateway does not come up:\n{}", std::fs::read_to_string(log)?).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { process, address })
    }
}

/// A port of the loopback that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

fn text(setup: &Setup<'_>, listen: SocketAddr) -> Result<String, Failure> {
    let mut text = String::new();
    for line in setup.lines {
        writeln!(text, "{line}")?;
    }
    writeln!(text, "server.listen = \"{listen}\"\nstore.url = \"{}\"", setup.store)?;
    writeln!(text, "delivery.allow_networks = [\"127.0.0.0/8\"]")?;
    for (name, source) in SOURCES {
        writeln!(text, "\n[sources.{name}]\nprovider = \"{name}\"")?;
        let source: toml::Table = source.parse()?;
        for (field, keys) in source.iter().filter(|(_, value)| value.is_array()) {
            writeln!(text, "{field} = {}", serde_json::to_string(keys)?)?;
        }
    }
    for (place, endpoint) in setup.endpoints.iter().enumerate() {
        writeln!(text, "\n[[endpoints]]\nid = \"wh_{place}\"\nurl = \"http://{endpoint}/hooks/{place}\"")?;
        writeln!(text, "secret = \"{SECRET}\"\n{}", setup.endpoint_lines)?;
    }
    Ok(text)
}
