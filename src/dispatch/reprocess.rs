//! Bulk reprocessing: the steps of such a job.

use super::Shared;
use crate::domain::job::{Job, STEP_LEN, Step};
use crate::domain::reprocess::{Filter, IncompleteRequest, Outcome};
use crate::reprocess::{self, Error};
use crate::sources::Sources;
use crate::store::{First, PageQuery, Result, StoreError};

/// How many requests one step reads again: each may be as large as a body can be, and waits for its commit.
const REQUESTS_MAX: usize = 50;

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

/// Reads those of the next requests again, in the order they came in. When this is made again after a crash, those that
/// were understood are no longer among them.
pub(super) async fn run(shared: &Shared, job: &Job, filter: &Filter) -> Result<Step> {
    let (wanted, next) = wanted(shared, job, filter, REQUESTS_MAX).await?;
    let sources = shared.sources.all();
    let mut step = Step { matched: wanted.len() as u64, next, ..Step::default() };
    for request in wanted {
        match read(shared, &sources, &request).await {
            Ok(Some(outcome)) => {
                step.made += 1;
                step.outcome.add(outcome);
            }
            Ok(None) => {}
            Err(Error::Store(error)) if !matches!(error, StoreError::Corrupt(_)) => return Err(error),
            Err(error) => leave_out(&mut step.outcome, &request, error),
        }
    }
    Ok(step)
}

/// It must not hold back the others.
fn leave_out(outcome: &mut Outcome, request: &IncompleteRequest, error: Error) {
    match error {
        Error::SourceGone(source) => drop(outcome.sources_gone.insert(source)),
        Error::ProviderUnknown(provider) => drop(outcome.providers_unknown.insert(provider)),
        error => tracing::error!(request.id = %request.id, %error, "a request is not read again"),
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
