//! Reads a request that is kept again, and brings what it says now to the store.

use std::sync::Arc;

use waypost_providers::event::BounceClass;
use waypost_providers::{Parsed, Provider, Request, Verified, by_name};

use crate::domain::fan_out::{self, PlanError};
use crate::domain::plan::{Generation, StoredEvent};
use crate::domain::reprocess::{self, Outcome};
use crate::endpoints::EndpointCache;
use crate::sources::Sources;
use crate::store::{Committed, Fate, FirstFates, Store, StoreError, StoredRequest};

/// How often it is planned before it is given up; each time the endpoint set has just changed.
const PLANS_MAX: usize = 5;

/// Why a request was not read again. Nothing of it was stored that is not whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its source is no longer in the config.
    #[error("the source `{0}` is not in the config")]
    SourceGone(String),
    /// It came from a provider that this version does not know.
    #[error("the provider `{0}` is not known")]
    ProviderUnknown(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event could not be written.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Who reads what came in by this source from this provider. The source may have another provider now; one that is not in
/// the config any more is not taken from.
///
/// # Errors
/// [`Error::SourceGone`] and [`Error::ProviderUnknown`].
pub fn reader(sources: &Sources, source: &str, provider: &str) -> Result<&'static dyn Provider, Error> {
    if !sources.contains_key(source) {
        return Err(Error::SourceGone(source.to_owned()));
    }
    by_name(provider).ok_or_else(|| Error::ProviderUnknown(provider.to_owned()))
}

/// Reads it as the provider that it came from; bounces of the classes `suppress_on` put addresses on the suppression
/// list. None when it is no longer kept.
///
/// # Errors
/// See [`Error`]; what the store failed may be tried again.
pub async fn request(
    store: &dyn Store,
    endpoints: &EndpointCache,
    sources: &Sources,
    suppress_on: &[BounceClass],
    stored: StoredRequest,
) -> Result<Option<Outcome>, Error> {
    let (id, provider) = (stored.id, reader(sources, &stored.request.source, &stored.provider)?);
    let (verified, parsed) = read(stored.request, provider).await?;
    let mut first = FirstFates::default();
    for _ in 0..PLANS_MAX {
        let snapshot = endpoints.current(store).await?;
        let (generation, all) = (snapshot.generation(), snapshot.all());
        let again = fan_out::plan_again(id.clone(), provider, &verified, &parsed, generation, all, suppress_on)?;
        let (unmapped, unreadable) = again.raw.as_ref().map_or((0, 0), |raw| (raw.unmapped, raw.unreadable));
        match store.reprocess(again).await? {
            Some(Committed::Stored(fates)) => {
                let (all, fates) = (fates.len(), first.with(fates));
                let stored = fates.into_iter().filter(|fate| *fate == Fate::New).count();
                let (stored, repeats) = (stored as u64, (all - stored) as u64);
                let (unmapped, unreadable) = (unmapped.into(), unreadable.into());
                return Ok(Some(Outcome { stored, repeats, unmapped, unreadable, ..Outcome::default() }));
            }
            Some(Committed::Stale(fates)) => {
                first.add(fates);
                endpoints.refresh_from(snapshot.generation(), store).await?;
            }
            // It brings no token, so it cannot be forged.
            Some(Committed::Forged) | None => return Ok(None),
        }
    }
    Err(StoreError::Unavailable("the endpoint set changed again and again".into()).into())
}

/// The events that a request says, as those are stored that go to no endpoint: whichever source it came by.
///
/// # Errors
/// As those of [`request`].
pub async fn events(stored: StoredRequest) -> Result<Vec<StoredEvent>, Error> {
    let StoredRequest { id, provider, request, .. } = stored;
    let provider = by_name(&provider).ok_or_else(|| Error::ProviderUnknown(provider.to_string()))?;
    let (verified, parsed) = read(request, provider).await?;
    let planned = fan_out::plan_again(id, provider, &verified, &parsed, Generation::default(), &[], &[])?;
    Ok(planned.units.into_iter().map(|unit| Arc::unwrap_or_clone(unit.event)).collect())
}

async fn read(request: Request, provider: &'static dyn Provider) -> Result<(Verified, Vec<Parsed>), StoreError> {
    // A large one takes a while.
    let read = tokio::task::spawn_blocking(move || reprocess::read(request, provider)).await;
    read.map_err(|error| match error.is_panic() {
        true => StoreError::Corrupt("a request that cannot be read again".into()),
        false => StoreError::Unavailable("shutting down".into()),
    })
}
