//! `waypost serve`: the gateway.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, asked_to_stop, run_to_end};
use crate::app::{App, Reloader};
use crate::clock::SystemClock;
use crate::config::{ConfigError, Settings, StoreUrl};

/// How often memory is given back.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(2);
/// A piece that mimalloc does not keep for the next who asks for one: they go up to half a MiB.
const LARGE_BYTES: usize = 1024 * 1024;

/// Serves on as many threads as suit the store that the config names.
pub(super) fn run(config: Option<&Path>) -> Result<(), Failure> {
    let settings = load(config)?;
    let threads = threads(&settings.store.url, available_parallelism().map_or(1, NonZero::get));
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    run_to_end(runtime, serve(config, settings))
}

/// How many threads deliver and call the store, beside the HTTP server's own, one for each CPU. On Redis one for two CPUs:
/// what they wait for is mostly Redis, and more of them only take turns with it where it is on the same machine.
fn threads(store: &StoreUrl, cpus: usize) -> usize {
    match store {
        StoreUrl::Embedded(_) => cpus,
        StoreUrl::Redis(_) => cpus.div_ceil(2),
    }
}

/// Runs until it is told to stop. SIGHUP reads the config again; one that does not check out changes nothing.
async fn serve(config: Option<&Path>, settings: Settings) -> Result<(), Failure> {
    open_more_files();
    take_small_pages();
    let app = App::build(&settings, Arc::new(SystemClock::new())).await?;
    let admin = app.admin_address().map(tracing::field::display);
    tracing::info!(listen = %app.address(), admin_listen = admin, sources = settings.sources.len(), "waypost serves");
    // With many endpoints it takes much memory, and was copied where it is needed.
    drop(settings);
    let reloader = app.reloader();
    let mut hangup = signal(SignalKind::hangup())?;
    let reload = async {
        while hangup.recv().await.is_some() {
            reload(config, &reloader).await;
        }
    };
    let stop = async {
        tokio::select! {
            result = asked_to_stop() => result,
            () = reload => Ok(()),
            () = give_memory_back() => Ok(()),
        }
    };
    app.run(stop).await?;
    tracing::info!("waypost has stopped");
    Ok(())
}

/// With huge pages, two MiB are taken for each few bytes that a thread has of a kind: several times as much as is needed.
fn take_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "transparent huge pages stay as the system has them");
    }
}

/// Makes the allocator give back what has been free for a while. It looks when somebody gives back a large piece, which an
/// idle gateway never does: what start-up, or a backlog, took would stay taken.
async fn give_memory_back() {
    loop {
        tokio::time::sleep(GIVE_BACK_EVERY).await;
        drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
    }
}

async fn reload(config: Option<&Path>, reloader: &Reloader) {
    match load(config) {
        Ok(settings) => match reloader.apply(&settings).await {
            Ok(()) => tracing::info!("config reloaded"),
            Err(error) => tracing::warn!(%error, "config reloaded; its endpoints follow when the store is back"),
        },
        Err(error) => tracing::error!(%error, "config not reloaded; the old one stays in force"),
    }
}

/// Reads the config, and says what of it has no effect, or not the one that is meant.
fn load(config: Option<&Path>) -> Result<Settings, ConfigError> {
    let settings = Settings::load_here(config)?;
    let has_links = settings.sources.values().any(|one| one.provider.receives_mail() || one.fetching.is_some());
    if has_links && !settings.endpoints.is_empty() && settings.server.public_url.is_none() {
        tracing::warn!(
            "server.public_url is not set, so that links to received mail are paths, which no endpoint can follow; set \
             it to what this gateway is called by from outside"
        );
    }
    for (id, entry) in settings.endpoints.iter().filter(|(_, entry)| !entry.left_out.is_empty()) {
        let left_out: Vec<_> = entry.left_out.iter().map(|scheme| scheme.as_str()).collect();
        tracing::warn!(endpoint.id = %id, ?left_out, "signatures are left out: the endpoint's secrets are not good for them");
    }
    Ok(settings)
}

/// Takes as many open files as the system allows: each connection is one, and the usual soft limit of 1,024, which is
/// there for programs that still use `select`, is fewer than the attempts that may be under way.
fn open_more_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it was");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::redis_url::{Durability, Redis, RedisUrl};

    #[test]
    fn a_gateway_on_redis_leaves_it_half_of_the_cpus() {
        let url = RedisUrl::parse("redis://127.0.0.1:6379").unwrap().unwrap();
        let durability = Durability { replicas: 0, wait_aof: false };
        let redis = StoreUrl::Redis(Box::new(Redis { url, authorities: Vec::new(), durability }));
        assert_eq!([1, 2, 3, 8].map(|cpus| threads(&redis, cpus)), [1, 1, 2, 4]);
        assert_eq!([1, 2, 3, 8].map(|cpus| threads(&StoreUrl::Embedded("data".into()), cpus)), [1, 2, 3, 8]);
    }
}
