//! What the model is held against: an engine, its clock, and ways to disturb it.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use waypost::clock::{Clock, SystemClock};
use waypost::domain::risk::Risk;
use waypost::store::Store;
use waypost::store::embedded::Embedded;
use waypost::store::redis::RedisStore;

use crate::embedded::LIFETIMES;
use crate::redis_harness::Server;
use crate::support::TestClock;

/// An engine on data of its own.
pub(crate) trait Stage {
    /// Holds and waits are multiples of this.
    const UNIT: Duration;
    /// Whether the clock stands still, so that the model knows every time exactly.
    const EXACT: bool;

    async fn start() -> Self;

    fn store(&self) -> &dyn Store;

    /// The engine's clock, in microseconds.
    fn micros(&self) -> u64;

    /// Closes the store without warning and opens it again; `hard` takes down whatever can be.
    async fn crash(&mut self, hard: bool);

    /// Lets time pass.
    async fn ahead(&mut self, by: Duration);

    /// Sets the clock back, where that can be done.
    fn back(&mut self, by: Duration);
}

/// The embedded engine on a clock of the test's own.
pub(crate) struct OnDisk {
    dir: TempDir,
    clock: Arc<TestClock>,
    store: Option<Embedded>,
}

impl Stage for OnDisk {
    const UNIT: Duration = Duration::from_secs(1);
    const EXACT: bool = true;

    async fn start() -> Self {
        let mut stage = Self { dir: tempfile::tempdir().unwrap(), clock: TestClock::new(), store: None };
        stage.crash(true).await;
        stage
    }

    fn store(&self) -> &dyn Store {
        self.store.as_ref().unwrap()
    }

    fn micros(&self) -> u64 {
        self.clock.micros()
    }

    async fn crash(&mut self, _: bool) {
        self.store = None;
        self.store = Some(Embedded::open(self.dir.path(), self.clock.clone(), LIFETIMES).unwrap());
    }

    async fn ahead(&mut self, by: Duration) {
        self.clock.advance(by);
    }

    fn back(&mut self, by: Duration) {
        self.clock.step(-i64::try_from(by.as_micros()).unwrap());
    }
}

/// A real server, whose clock nobody can set: time passes as it does, and all that takes time is a thousandth of what
/// it is elsewhere.
pub(crate) struct OnRedis {
    server: Server,
    clock: SystemClock,
    store: RedisStore,
}

impl OnRedis {
    /// Each write goes to the operating system at once, where it outlives the server, and no sync of a busy disk is
    /// waited for.
    async fn connect(server: &Server) -> RedisStore {
        server.connect(&[Risk::NoAof]).await.unwrap()
    }
}

impl Stage for OnRedis {
    const UNIT: Duration = Duration::from_millis(1);
    const EXACT: bool = false;

    async fn start() -> Self {
        let server = Server::start_syncing("no").await;
        let store = Self::connect(&server).await;
        Self { server, clock: SystemClock::new(), store }
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    /// The server is on this machine, so it has the same clock.
    fn micros(&self) -> u64 {
        u64::try_from(self.clock.now().as_microsecond()).unwrap()
    }

    async fn crash(&mut self, hard: bool) {
        if hard {
            self.server.down();
            self.server.up().await;
        }
        self.store = Self::connect(&self.server).await;
    }

    async fn ahead(&mut self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn back(&mut self, _: Duration) {}
}
