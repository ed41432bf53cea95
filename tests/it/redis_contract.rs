//! The Redis store keeps the contract.

use std::sync::Arc;

use waypost::domain::retention::Lifetimes;
use waypost::store::Store;

use crate::contract::{Harness, run_contract};
use crate::redis_harness::Server;

/// Reopening kills the server and starts it again on its append-only file, and connects anew.
struct OnRedis {
    server: Server,
    store: Arc<dyn Store>,
}

impl Harness for OnRedis {
    async fn start() -> Self {
        let server = Server::start().await;
        let store = Arc::new(server.store().await);
        Self { server, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    async fn reopen_for(&mut self, lifetimes: Lifetimes) {
        self.server.down();
        self.server.up().await;
        self.store = Arc::new(self.server.connect_for(lifetimes, &[]).await.unwrap());
    }
}

run_contract!(OnRedis);
