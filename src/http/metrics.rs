//! `GET /metrics`, and what a request at a source counts as there.

use actix_web::web::{Data, block};
use actix_web::{HttpRequest, HttpResponse};

use super::auth::authorize;
use super::health;
use super::problem::Problem;
use super::problem_types::ProblemType;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::metrics::{Answered, MEDIA_TYPE, Observed, Process};
use crate::store::Fate;

/// `GET /metrics`: what this gateway counted since it was started, for Prometheus. Scope `read`, at whichever address: it
/// tells which sources there are, and how much comes in.
pub(super) async fn metrics(request: HttpRequest, gateway: Data<Gateway>) -> Result<HttpResponse, Problem> {
    authorize(&request, &gateway, Scope::Read)?;
    // The names of all open files are read, which may be many.
    let process = block(Process::read).await.unwrap_or_default();
    let (sources, snapshot) = (gateway.sources.all(), gateway.endpoints.snapshot());
    let observed = Observed {
        sources: sources.keys().map(String::as_str).collect(),
        is_store_ready: health::ask(&gateway).await.is_ok(),
        endpoints: snapshot.all(),
        process,
    };
    Ok(HttpResponse::Ok().content_type(MEDIA_TYPE).body(gateway.metrics.text(&observed)))
}

/// Of a request that was taken, by what became of its events.
pub(super) fn taken(fates: &[Fate]) -> Answered {
    if fates.contains(&Fate::New) {
        Answered::Stored
    } else if fates.is_empty() {
        Answered::Kept
    } else {
        Answered::Repeat
    }
}

/// Of one that was not.
pub(super) fn refused(problem: &Problem) -> Answered {
    match problem.kind() {
        ProblemType::NotProven => Answered::NotProven,
        ProblemType::UnknownSource => Answered::UnknownSource,
        ProblemType::BodyBroken => Answered::BodyBroken,
        ProblemType::BodyTooSlow => Answered::BodyTooSlow,
        ProblemType::BodyTooLarge => Answered::BodyTooLarge,
        ProblemType::Overloaded => Answered::Overloaded,
        ProblemType::StoreUnavailable => Answered::StoreUnavailable,
        ProblemType::ShuttingDown => Answered::ShuttingDown,
        // What else there is, is answered to others than providers.
        _ => Answered::Internal,
    }
}

#[cfg(test)]
mod tests {
    use waypost_providers::{Refusal, VerifyError};

    use super::*;
    use crate::store::StoreError;

    #[test]
    fn a_request_counts_as_what_its_events_became() {
        assert_eq!(taken(&[Fate::Repeated, Fate::New, Fate::Unmet]), Answered::Stored);
        assert_eq!(taken(&[Fate::Repeated, Fate::Unmet]), Answered::Repeat);
        assert_eq!(taken(&[]), Answered::Kept);
    }

    #[test]
    fn a_refusal_counts_as_its_problem_whatever_the_status() {
        let down = StoreError::Unavailable("test".into());
        let forged = Problem::NotProven { error: VerifyError::Mismatch, refusal: Refusal::Unavailable };
        let refusals = [
            (forged, Answered::NotProven),
            (Problem::Forged, Answered::NotProven),
            (Problem::UnknownSource.again(), Answered::UnknownSource),
            (Problem::BodyBroken, Answered::BodyBroken),
            (Problem::BodyTooSlow, Answered::BodyTooSlow),
            (Problem::BodyTooLarge(1).again(), Answered::BodyTooLarge),
            (Problem::Overloaded, Answered::Overloaded),
            (Problem::BodiesOverBudget, Answered::Overloaded),
            (Problem::StoreSlow, Answered::StoreUnavailable),
            (Problem::Store(down), Answered::StoreUnavailable),
            (Problem::Unsettled, Answered::StoreUnavailable),
            (Problem::ShuttingDown, Answered::ShuttingDown),
            (Problem::ReadFailed, Answered::Internal),
        ];
        for (problem, answered) in refusals {
            assert_eq!(refused(&problem), answered, "{problem}");
        }
    }
}
