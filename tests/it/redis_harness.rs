//! A Redis server of the test's own, on a free port of the loopback, killed when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;
use waypost::clock::SystemClock;
use waypost::domain::redis_url::{Durability, Redis, RedisUrl};
use waypost::domain::retention::Lifetimes;
use waypost::domain::risk::Risk;
use waypost::store::redis::RedisStore;

use crate::port;
use crate::signal::{kill, signal};

/// One server.
pub(crate) struct Server {
    process: Option<Child>,
    port: u16,
    /// In memory where it can be: it outlives a kill as well, and a disk that other tests keep busy stalls no `appendfsync`.
    dir: TempDir,
    policy: &'static str,
    aof: &'static str,
    /// Its `appendfsync`. With `everysec` a sync that stalls keeps writes in the server, which its kill then loses.
    sync: &'static str,
    /// What else it is started with.
    more: Vec<String>,
    program: PathBuf,
}

impl Server {
    /// Starts one that keeps what it is given.
    pub(crate) async fn start() -> Self {
        Self::start_with("noeviction", "yes").await
    }

    /// One that syncs as this says: `always`, as the others do, `everysec` or `no`.
    pub(crate) async fn start_syncing(sync: &'static str) -> Self {
        let mut server = Self::stopped("noeviction", "yes");
        server.sync = sync;
        server.up().await;
        server
    }

    pub(crate) async fn start_with(policy: &'static str, aof: &'static str) -> Self {
        let mut server = Self::stopped(policy, aof);
        server.up().await;
        server
    }

    /// One that is yet to be started.
    pub(crate) fn stopped(policy: &'static str, aof: &'static str) -> Self {
        let port = port::free();
        let dir = ["/dev/shm", "/tmp"].into_iter().find_map(|parent| TempDir::new_in(parent).ok());
        let (dir, program) = (dir.expect("/tmp is there"), "redis-server".into());
        Self { process: None, port, dir, policy, aof, sync: "always", more: Vec::new(), program }
    }

    /// One that is started with these settings too.
    pub(crate) async fn start_as(more: &[&str]) -> Self {
        let mut server = Self::stopped("noeviction", "yes");
        server.more = more.iter().map(|word| (*word).to_owned()).collect();
        server.up().await;
        server
    }

    /// The same of another program than Debian's.
    pub(crate) async fn start_of(program: PathBuf, sync: &'static str) -> Self {
        let mut server = Self::stopped("noeviction", "yes");
        (server.program, server.sync) = (program, sync);
        server.up().await;
        server
    }

    /// From its next start it has these settings too.
    pub(crate) fn also(&mut self, more: &[&str]) {
        self.more.extend(more.iter().map(|word| (*word).to_owned()));
    }

    /// Starts it (again), on the same port and data.
    pub(crate) async fn up(&mut self) {
        let port = self.port.to_string();
        // So that a file that it may not write to is an error to it, not its end: see `take_room`.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(&self.program);
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", self.aof]);
        command.args(["--appendfsync", self.sync, "--maxmemory-policy", self.policy, "--dir"]);
        command.arg(self.dir.path()).args(&self.more).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().expect("redis-server is installed"));
        for _ in 0..500 {
            if let Ok(pong) = self.try_command(&["PING"]).await
                && pong == redis::Value::SimpleString("PONG".into())
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server did not start");
    }

    /// Kills it.
    pub(crate) fn down(&mut self) {
        kill(&mut self.process);
    }

    /// Stops it in mid-air (`STOP`), or lets it go on (`CONT`).
    pub(crate) fn signal(&self, name: &str) {
        signal(self.process.as_ref().unwrap(), name);
    }

    /// From now on its files may have so many bytes, as on a disk that is full then; or as many as they want.
    pub(crate) fn take_room(&self, left: Option<u64>) {
        let id = Pid::from_child(self.process.as_ref().unwrap());
        prlimit(Some(id), Resource::Fsize, Rlimit { current: left, maximum: None }).unwrap();
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// The file that it appends its commands to.
    pub(crate) fn log(&self) -> PathBuf {
        let files = fs::read_dir(self.dir().join("appendonlydir")).unwrap().map(|entry| entry.unwrap().path());
        let mut logs = files.filter(|path| path.to_string_lossy().ends_with(".incr.aof"));
        let log = logs.next().expect("it has one");
        assert_eq!(logs.next(), None, "it is being rewritten");
        log
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) async fn store(&self) -> RedisStore {
        self.connect(&[]).await.unwrap()
    }

    pub(crate) async fn connect(&self, accepted: &[Risk]) -> waypost::store::Result<RedisStore> {
        let day = Duration::from_secs(24 * 3600);
        let lifetimes = Lifetimes { events: day * 30, requests: day * 7, tokens: day * 2 };
        self.connect_for(lifetimes, accepted).await
    }

    pub(crate) async fn connect_for(
        &self,
        lifetimes: Lifetimes,
        accepted: &[Risk],
    ) -> waypost::store::Result<RedisStore> {
        connect(&redis_at(&self.url()), lifetimes, accepted).await
    }

    /// Sends a command as an operator would.
    pub(crate) async fn command(&self, words: &[&str]) -> redis::Value {
        self.try_command(words).await.unwrap()
    }

    /// The same, if it is not refused.
    pub(crate) async fn try_command(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut cmd = redis::Cmd::new();
        for word in words {
            cmd.arg(*word);
        }
        cmd.query_async(&mut connection).await
    }
}

/// A store on a Redis, with the machine's clocks.
pub(crate) async fn connect(
    redis: &Redis,
    lifetimes: Lifetimes,
    accepted: &[Risk],
) -> waypost::store::Result<RedisStore> {
    RedisStore::connect(redis, Arc::new(SystemClock::new()), lifetimes, accepted).await
}

/// A Redis as the config tells it by its URL.
pub(crate) fn redis_at(url: &str) -> Redis {
    let url = RedisUrl::parse(url).unwrap().unwrap();
    Redis { url, authorities: Vec::new(), durability: Durability::default() }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}
