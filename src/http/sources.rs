//! What comes in at each source: counted here, added to the store every second, shown by `/v1/sources`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;
use waypost_providers::{Parsed, Verified};

use super::auth::authorize;
use super::keys;
use super::lists::List;
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::source::Source;
use crate::domain::tally::{Count, Outcome, Tallies, Tally};
use crate::metrics::AtSource;
use crate::store::{Fate, Page, StoreError};

/// A gateway that is killed loses what it counted since.
const ADD_EVERY: Duration = Duration::from_secs(1);

/// What this gateway has counted and not yet added.
#[derive(Debug, Default)]
pub(super) struct Counting(Mutex<Tallies>);

impl Counting {
    fn lock(&self) -> MutexGuard<'_, Tallies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request that was taken, and what became of each of its events.
    pub(super) fn taken(&self, verified: &Verified, parsed: &[Parsed], fates: &[Fate], at: &AtSource) {
        let (request, mut fates) = (verified.request(), fates.iter());
        let mut tallies = self.lock();
        let tally = of(&mut tallies, &request.source);
        tally.taken(request.received_at, verified.signed_at());
        for part in parsed {
            match part {
                Parsed::Event(found) => {
                    let outcome = if fates.next() == Some(&Fate::New) { Outcome::Stored } else { Outcome::Repeat };
                    tally.read(outcome, Some(found.event.kind), &found.event.data.provider.kind);
                    at.read(outcome, Some(found.event.kind));
                }
                Parsed::Unmapped { kind } | Parsed::Snapshot { kind, .. } => {
                    tally.read(Outcome::Unmapped, None, kind);
                    at.read(Outcome::Unmapped, None);
                }
                Parsed::Unreadable { .. } => {
                    tally.read(Outcome::Unreadable, None, "");
                    at.read(Outcome::Unreadable, None);
                }
            }
        }
    }

    /// Notes a request at a source that was not taken.
    pub(super) fn refused(&self, source: &str, problem: &Problem) {
        let outcome = match problem {
            Problem::NotProven { .. } | Problem::Forged => Outcome::Unverified,
            _ => Outcome::Refused,
        };
        of(&mut self.lock(), source).refused(outcome);
    }
}

fn of<'a>(tallies: &'a mut Tallies, source: &str) -> &'a mut Tally {
    tallies.entry(source.to_owned()).or_default()
}

/// Adds what was counted to the store, and when API keys were used, every second until it is told to stop, and once more
/// then.
pub async fn add_counts(gateway: Data<Gateway>, mut stopped: watch::Receiver<bool>) {
    let mut is_failing = false;
    loop {
        let is_over = tokio::time::timeout(ADD_EVERY, stopped.wait_for(|stopped| *stopped)).await.is_ok();
        let added = add(&gateway).await.and(keys::add(&gateway).await);
        if let (Err(error), false) = (&added, is_failing) {
            tracing::warn!(%error, "what was counted here is not in the store yet; it is tried again");
        }
        is_failing = added.is_err();
        if is_over {
            return;
        }
    }
}

async fn add(gateway: &Gateway) -> Result<(), StoreError> {
    let tallies = std::mem::take(&mut *gateway.counting.lock());
    if tallies.is_empty() {
        return Ok(());
    }
    let added = gateway.store.count(&tallies).await;
    if added.is_err() {
        let mut kept = gateway.counting.lock();
        tallies.into_iter().for_each(|(source, tally)| of(&mut kept, &source).merge(tally));
    }
    added
}

/// A source as the API shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Source")]
pub(super) struct SourceView {
    /// Its name in the config.
    name: String,
    /// The provider that calls it.
    provider: &'static str,
    /// How that proves itself.
    verify: &'static str,
    /// When a request was last answered `200`.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_at: Option<Timestamp>,
    /// What came in.
    counts: Vec<Count>,
    /// How many signatures were so old when they came in, at most.
    signature_ages: BTreeMap<&'static str, u64>,
}

/// `GET /v1/sources`: the sources of the config, by name, and what came in at each, with a key of scope `read`.
pub(super) async fn sources(request: HttpRequest, gateway: Data<Gateway>) -> Result<Json<List<SourceView>>, Problem> {
    authorize(&request, &gateway, Scope::Read)?;
    let sources = gateway.sources.all();
    let tallies = gateway.store.tallies(sources.keys().cloned().collect()).await?;
    let view = |((name, source), tally): ((&String, &Source), Tally)| SourceView {
        name: name.clone(),
        provider: source.provider.name(),
        verify: source.proof.way().as_str(),
        last_success_at: tally.last_success(),
        counts: tally.counts(),
        signature_ages: tally.ages(),
    };
    let items = sources.iter().zip(tallies).map(view).collect();
    Ok(Json(Page { items, next: None }.into()))
}
