//! The Redis store keeps the contract.

use std::sync::Arc;

use waypost::domain::retention::Lifetimes;
use waypost::store::Store;

use crate::contract::{Harness, run_contract};
use crate::redis_harness::Server;

/// Reopening kills the server and starts it again on its append-only file, and connects anew.
pub(crate) struct OnRedis {
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

    async fn reopen_holding(&mut self, log_bytes: u64) {
        self.store = Arc::new(self.server.store().await.with_attempt_log(log_bytes));
    }
}

run_contract!(OnRedis);

/// Where it keeps large bodies in files.
mod in_files {
    use tempfile::TempDir;
    use waypost::clock::SystemClock;
    use waypost::store::blobs::Blobs;

    use super::*;
    use crate::embedded::LIFETIMES;

    struct OnRedisAndFiles {
        server: Server,
        dir: TempDir,
        store: Option<Arc<dyn Store>>,
    }

    impl OnRedisAndFiles {
        async fn open(&mut self, lifetimes: Lifetimes) {
            let blobs = Blobs::open(self.dir.path(), Arc::new(SystemClock::new())).unwrap();
            let store = self.server.connect_for(lifetimes, &[]).await.unwrap();
            self.store = Some(Arc::new(store.with_blobs(blobs)));
        }
    }

    impl Harness for OnRedisAndFiles {
        async fn start() -> Self {
            let mut harness = Self { server: Server::start().await, dir: tempfile::tempdir().unwrap(), store: None };
            harness.open(LIFETIMES).await;
            harness
        }

        fn store(&self) -> Arc<dyn Store> {
            Arc::clone(self.store.as_ref().unwrap())
        }

        async fn reopen_for(&mut self, lifetimes: Lifetimes) {
            self.server.down();
            self.server.up().await;
            self.open(lifetimes).await;
        }

        async fn reopen_holding(&mut self, log_bytes: u64) {
            self.store = Some(Arc::new(self.server.store().await.with_attempt_log(log_bytes)));
        }
    }

    run_contract!(OnRedisAndFiles, ingest: [a_raw_request_comes_back, the_length_of_a_request_is_told]);
    run_contract!(OnRedisAndFiles, erasures: [
        an_erased_request_is_blank_and_brings_nothing, what_is_erased_before_it_comes_is_never_kept,
        what_is_barred_is_a_repeat_when_it_comes, a_body_that_something_refers_to_is_no_leftover,
    ]);
    run_contract!(OnRedisAndFiles, requests: [
        a_large_one_is_read_again_whole, what_brought_a_mail_lives_as_long_as_its_event,
    ]);
}
