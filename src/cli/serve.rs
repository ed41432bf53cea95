//! `waypost serve`: the gateway.

use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, asked_to_stop};
use crate::app::{App, Reloader};
use crate::clock::SystemClock;
use crate::config::{ConfigError, Settings};

/// Runs until it is told to stop. SIGHUP reads the config again; one that does not check out changes nothing.
pub(super) async fn run(config: Option<&Path>) -> Result<(), Failure> {
    let settings = load(config)?;
    open_more_files();
    let app = App::build(&settings, Arc::new(SystemClock::new())).await?;
    tracing::info!(listen = %app.address(), sources = settings.sources.len(), "waypost serves");
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
        }
    };
    app.run(stop).await?;
    tracing::info!("waypost has stopped");
    Ok(())
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

/// Reads the config, and says what of it has no effect.
fn load(config: Option<&Path>) -> Result<Settings, ConfigError> {
    let settings = Settings::load_here(config)?;
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
