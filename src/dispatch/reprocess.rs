//! Bulk reprocessing: the steps of such a job.

use super::Shared;
use crate::domain::job::{Job, STEP_LEN, Step};
use crate::domain::reprocess::{Filter, IncompleteRequest, Outcome};
use crate::reprocess::{self, Error};
use crate::sources::Sources;
use crate::store::{First, PageQuery, Result, StoreError};

/// How many requests one step reads again: each may be as large as a body can be, and waits for its commit.
const REQUESTS_MAX: usize = 50;
/// How often one is tried that fails while the store works, a step each.
const TRIES_MAX: u32 = 5;

/// Counts those of the next requests that are asked for.
pub(super) async fn count(shared: &Shared, job: &Job, filter: &Filter) -> Result<Step> {
    let (wanted, next) = wanted(shared, job, filter, STEP_LEN).await?;
    let sources = shared.sources.all();
    let mut outcome = Outcome::default();
    for request in &wanted {
        let reader = reprocess::reader(&sources, &request.source, &request.provider);
        reader.map_or_else(|error| leave_out(&mut outcome, request, error), drop);
    }
    Ok(Step { matched: wanted.len() as u64, outcome, next, ..Step::default() })
}

/// Reads those of the next requests again, in the order they came in. One that fails ends the step before it, so that what
/// was done counts; one that goes on failing while the store works is left out. When this is made again after a crash,
/// those that were understood are no longer among them.
pub(super) async fn run(shared: &Shared, job: &Job, filter: &Filter) -> Result<Step> {
    let (wanted, next) = wanted(shared, job, filter, REQUESTS_MAX).await?;
    let sources = shared.sources.all();
    let mut step = Step { next: job.cursor.clone(), ..Step::default() };
    for request in wanted {
        match read(shared, &sources, &request).await {
            Ok(Some(outcome)) => {
                step.made += 1;
                step.outcome.add(outcome);
            }
            Ok(None) => {}
            Err(Error::Store(error)) if !matches!(error, StoreError::Corrupt(_)) => {
                let is_first = step.matched == 0;
                let before = job.failures.filter(|_| is_first).unwrap_or_default();
                let failures = match shared.store.ready().await {
                    Ok(()) => before + 1,
                    Err(_) if is_first => return Err(error),
                    Err(_) => 0,
                };
                if failures < TRIES_MAX {
                    tracing::warn!(request.id = %request.id, %error, failures, "a request is tried again");
                    return Ok(Step { failures: Some(failures), ..step });
                }
                leave_out(&mut step.outcome, &request, Error::Store(error));
            }
            Err(error) => leave_out(&mut step.outcome, &request, error),
        }
        step.matched += 1;
        step.next = Some(request.cursor);
    }
    Ok(Step { next, ..step })
}

/// It must not hold back the others.
fn leave_out(outcome: &mut Outcome, request: &IncompleteRequest, error: Error) {
    match error {
        Error::SourceGone(source) => drop(outcome.sources_gone.insert(source)),
        Error::ProviderUnknown(provider) => drop(outcome.providers_unknown.insert(provider)),
        error => {
            outcome.failed += 1;
            tracing::error!(request.id = %request.id, %error, "a request is not read again");
        }
    }
}

/// Those of the next `limit` requests that are asked for, and where to go on.
async fn wanted(
    shared: &Shared,
    job: &Job,
    filter: &Filter,
    limit: usize,
) -> Result<(Vec<IncompleteRequest>, Option<String>)> {
    let page = PageQuery { cursor: job.cursor.clone(), limit };
    let mut page = shared.store.incomplete(&page, First::Oldest).await?;
    page.items.retain(|request| filter.wants(request));
    Ok((page.items, page.next))
}

async fn read(
    shared: &Shared,
    sources: &Sources,
    request: &IncompleteRequest,
) -> std::result::Result<Option<Outcome>, Error> {
    let Some(stored) = shared.store.request(&request.id).await? else { return Ok(None) };
    reprocess::request(shared.store.as_ref(), &shared.endpoints, sources, &shared.suppress_on, stored).await
}
