//! `waypost secrets rotate`: seals what the store holds with the first master key.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::Failure;
use crate::app;
use crate::clock::{Clock, SystemClock};
use crate::config::{Settings, StoreUrl};
use crate::crash;
use crate::domain::endpoint::{Endpoint, Origin};
use crate::domain::kept::Kept;
use crate::domain::seal::{MasterKey, MasterKeys, Place, Sealed, open, seal};
use crate::keyring::random;
use crate::store::Store;

/// The most endpoints that one commit changes.
const STEP_LEN_MAX: usize = 100;
/// How often in a row somebody else may be first.
const TRIES_MAX: usize = 100;

/// Re-seals in steps, each of which is all or nothing; tells how many endpoints, and which keys can go.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(super) async fn rotate(config: Option<&Path>) -> Result<(), Failure> {
    let settings = Settings::load_here(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = open_store(&settings, &clock).await?;
    let keys = app::keyring(&settings)?.keys();
    let Some(first) = keys.first() else {
        return Err("store.master_keys: there is no key to seal with; `waypost key new` prints one".into());
    };
    let (mut resealed, mut raced) = (0, 0);
    let end = loop {
        let set = store.endpoints().await?;
        let step = Step::next(&set.all, &keys, first, clock.now());
        if step.changes.is_empty() {
            break End { step, needed: needed(&set.all) };
        }
        if store.change_endpoints(set.generation, &step.changes).await?.is_some() {
            (resealed, raced) = (resealed + step.changes.len(), 0);
            crash::point("secrets.resealed");
        } else {
            // A gateway changed something meanwhile; that is read, and kept.
            raced += 1;
        }
        if raced >= TRIES_MAX {
            return Err(format!("{resealed} endpoints re-sealed; the others change all the time; run it again").into());
        }
    };
    println!("{resealed} endpoints re-sealed with the key `{}`", first.id());
    for id in keys.ids().filter(|id| *id != first.id()) {
        let is_needed = if end.needed.contains(id) { "still needed" } else { "no longer needed" };
        println!("  key `{id}`: {is_needed}");
    }
    if end.step.failures.is_empty() { Ok(()) } else { Err(end.step.failures.join("\n").into()) }
}

async fn open_store(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Store>, Failure> {
    let StoreUrl::Embedded(directory) = &settings.store.url else { return app::open(settings, clock).await };
    if !directory.is_dir() {
        return Err(format!("store.url: there is no store in {} yet", directory.display()).into());
    }
    let opened = app::open(settings, clock).await;
    opened.map_err(|error| format!("{error}; to re-seal an embedded store, stop its gateway for as long").into())
}

struct End {
    step: Step,
    needed: BTreeSet<String>,
}

/// What one commit is to change, and what cannot be.
#[derive(Default)]
struct Step {
    changes: Vec<Endpoint>,
    failures: Vec<String>,
}

impl Step {
    fn next(all: &[Endpoint], keys: &MasterKeys, first: &MasterKey, now: Timestamp) -> Self {
        let mut step = Self::default();
        for endpoint in all {
            let Some(kept) = endpoint.origin.kept() else { continue };
            if step.changes.len() == STEP_LEN_MAX {
                break;
            }
            match resealed(endpoint, kept, keys, first, now) {
                Ok(next) if next == *kept => {}
                Ok(next) => step.changes.push(Endpoint { origin: Origin::Api(next), ..endpoint.clone() }),
                Err(error) => step.failures.push(format!("endpoint {}: not re-sealed: {error}", endpoint.id)),
            }
        }
        step
    }
}

fn resealed(
    endpoint: &Endpoint,
    kept: &Kept,
    keys: &MasterKeys,
    first: &MasterKey,
    now: Timestamp,
) -> Result<Kept, Failure> {
    kept.resealed(&endpoint.id, now, |place: Place<'_>, sealed: &Sealed| {
        let text = open(keys, place, sealed)?;
        if *sealed.key == *first.id() {
            return Ok(sealed.clone());
        }
        seal(first, place, &text, random()?).ok_or_else(|| "it is too long".into())
    })
}

/// The ids of the master keys that seal something.
fn needed(all: &[Endpoint]) -> BTreeSet<String> {
    all.iter().filter_map(|endpoint| endpoint.origin.kept()).flat_map(Kept::keys).map(str::to_owned).collect()
}
