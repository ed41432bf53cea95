//! Where things are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;

use super::checks::{check_id, within};
use super::delivery::authorities;
use super::file::{self, Store};
use super::{ConfigError, StoreSettings, StoreUrl};
use crate::domain::redis_url::{BadUrl, Durability, Redis, RedisUrl};
use crate::domain::seal::{KEY_LEN, MasterKey, MasterKeys};

type Env = BTreeMap<String, String>;

const URL: &str = "store.url";
/// A primary has no more replicas that one commit could wait for.
const REPLICAS_MAX: u64 = 16;

/// Reads and checks the section.
pub(super) fn read(store: Store, env: &Env) -> Result<StoreSettings, ConfigError> {
    let url = url(&store, env)?;
    if store.blobs.as_ref().is_some_and(|dir| dir.as_os_str().is_empty()) {
        return Err(ConfigError::new("store.blobs", "names no directory", "write its path, or leave it out"));
    }
    Ok(StoreSettings {
        url,
        blobs: store.blobs,
        accept_risk: store.accept_risk,
        master_keys: master_keys(&store.master_keys, env)?,
    })
}

fn url(store: &Store, env: &Env) -> Result<StoreUrl, ConfigError> {
    let text = store.url.resolve(URL, env)?;
    let text = text.expose();
    within("store.durability.replicas", store.durability.replicas, 0, REPLICAS_MAX)?;
    let durability = Durability {
        replicas: u16::try_from(store.durability.replicas).unwrap_or(u16::MAX),
        wait_aof: store.durability.wait_aof,
    };
    let directory = text.strip_prefix("embedded:").filter(|directory| !directory.is_empty());
    if let Some(directory) = directory {
        if durability.waits() {
            let problem = "waits for replicas of a Redis, and store.url names none";
            return Err(ConfigError::new("store.durability", problem, "leave it out: each commit is synced to disk"));
        }
        without_authorities(store, "names no Redis")?;
        return Ok(StoreUrl::Embedded(PathBuf::from(directory)));
    }
    let Some(read) = RedisUrl::parse(text) else {
        let remedy = "write `embedded:DIRECTORY` or `redis://HOST:PORT`, or as config/default.toml has it";
        return Err(ConfigError::new(URL, "names no store", remedy));
    };
    let url = read.map_err(|BadUrl { problem, remedy }| ConfigError::new(URL, problem, remedy))?;
    let authorities = match &store.ca_file {
        Some(path) if url.is_tls => authorities("store.ca_file", path)?,
        _ => without_authorities(store, "does not begin with `rediss`")?,
    };
    Ok(StoreUrl::Redis(Box::new(Redis { url, authorities, durability })))
}

/// A certificate that nobody looks at would be taken for a safe connection.
fn without_authorities(store: &Store, why: &str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    match &store.ca_file {
        None => Ok(Vec::new()),
        Some(path) => {
            let problem = format!("`{}` is of no use, for store.url {why}", path.display());
            Err(ConfigError::new("store.ca_file", problem, "write `rediss://` in store.url, or leave it out"))
        }
    }
}

fn master_keys(keys: &[file::MasterKey], env: &Env) -> Result<MasterKeys, ConfigError> {
    let mut ids = BTreeSet::new();
    let read = |(index, file::MasterKey { id, key }): (usize, &file::MasterKey)| {
        let place = |field: &str| format!("store.master_keys[{index}].{field}");
        check_id(&place("id"), id)?;
        if !ids.insert(id.clone()) {
            return Err(ConfigError::new(place("id"), format!("`{id}` is there twice"), "give each its own id"));
        }
        let text = key.resolve(&place("key"), env)?;
        MasterKey::read(id, text.expose()).map_err(|error| {
            let remedy = format!("use the base64 of {KEY_LEN} random bytes; `waypost key new` prints one");
            ConfigError::new(place("key"), error.to_string(), remedy)
        })
    };
    keys.iter().enumerate().map(read).collect()
}
