//! The callback of the providers: verify, read, plan, commit, answer.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::{Data, Payload, ThinData};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use waypost_providers::{Headers, Parsed, Provider, Request, Verified};

use super::body;
use super::gather::Gatherer;
use super::problem::Problem;
use super::rejecting;
use super::state::Gateway;
use crate::domain::fan_out;
use crate::domain::plan::Generation;
use crate::domain::source::{DEFAULT_SOURCE, Source};
use crate::store::{Committed, Fate, FirstFates};

/// Names that end in this are of inbound mail, which a provider drops for good on any `4xx`.
const MAIL_SUFFIX: &str = "-inbound";
/// A provider is answered within a second, whatever the store does.
pub(super) const STORE_WITHIN: Duration = Duration::from_millis(900);
/// The most characters of a provider's own word that are logged.
const KIND_LEN_MAX: usize = 64;
/// How often an ingest is planned before it is given up; each time the endpoint set has just changed.
const PLANS_MAX: usize = 5;

/// `POST /in/{source}`.
///
/// | status | when |
/// | --- | --- |
/// | `200` `{"received":true}` | stored, or stored before; also what is unknown or unreadable, kept raw and logged |
/// | `400` | the body broke off or is malformed HTTP |
/// | `401` | the signature, login or token is wrong, missing or stale; worth another try (`503` to providers that never try again after a `4xx`) |
/// | `404` | there is no such source (`503` where its name ends in `-inbound`) |
/// | `406` | Mailgun: signature fields missing or of the wrong shape, or a token used again for other content |
/// | `408` | the body took longer than `server.body_timeout_s` |
/// | `413` | the body is over `server.body_bytes_max` |
/// | `500` | an event could not be written; nothing was stored |
/// | `503` with `Retry-After` | the store is down or slow, too much is under way, or the gateway is shutting down |
///
/// A head that cannot be read names no source: the framework answers it `400`, `408` (after 10 s) or `431`.
pub(super) async fn receive(
    request: HttpRequest,
    payload: Payload,
    gateway: Data<Gateway>,
    gatherer: ThinData<Gatherer>,
) -> HttpResponse {
    let source = request.match_info().unprocessed().trim_start_matches('/');
    take(&request, payload, &gateway, &gatherer, source).await
}

/// `POST /api/webhooks`: the same for the source named `default`, with the same answers.
pub(super) async fn receive_default(
    request: HttpRequest,
    payload: Payload,
    gateway: Data<Gateway>,
    gatherer: ThinData<Gatherer>,
) -> HttpResponse {
    take(&request, payload, &gateway, &gatherer, DEFAULT_SOURCE).await
}

async fn take(
    request: &HttpRequest,
    payload: Payload,
    gateway: &Gateway,
    gatherer: &Gatherer,
    source: &str,
) -> HttpResponse {
    let result = accept(request, payload, gateway, gatherer, source).await;
    // A name that is no source's was chosen by the caller, and would take room.
    if let Err(problem) = &result
        && gateway.source(source).is_some()
    {
        gateway.counting.refused(source, problem);
    }
    rejecting::note(gateway, source, &result).await;
    answer(gateway, source, result)
}

async fn accept(
    request: &HttpRequest,
    payload: Payload,
    gateway: &Gateway,
    gatherer: &Gatherer,
    name: &str,
) -> Result<(), Problem> {
    if gateway.is_draining() {
        return Err(Problem::ShuttingDown);
    }
    let source = gateway.source(name).ok_or_else(|| unknown(name))?;
    let (body, _held) =
        body::read(payload, body::length(request.headers()), gateway.limits, &gateway.body_budget).await?;
    // Not before: whoever sends slowly, proven or not, takes no place from those who do not.
    let _permit = gateway.admit()?;
    let received_at = gateway.clock.now();
    let headers = headers(request.headers());
    let request = Request { source: name.into(), received_at, headers, body };
    let Source { provider, proof } = source;
    let verified = proof.verify(provider, request, received_at).map_err(|error| {
        let refusal = provider.refusal(&error);
        Problem::NotProven { error, refusal }
    })?;
    let parsed = provider.parse(&verified);
    let stored = tokio::time::timeout(STORE_WITHIN, store(gateway, gatherer, provider, &verified, &parsed)).await;
    let fates = stored.map_err(|_| Problem::StoreSlow)??;
    gateway.counting.taken(&verified, &parsed, &fates);
    tell_kept(name, &parsed);
    Ok(())
}

/// Logs what is kept raw and is no event: one line for each word or reason, however large the batch.
fn tell_kept(source: &str, parsed: &[Parsed]) {
    let mut unmapped = BTreeMap::<String, usize>::new();
    let mut unreadable = BTreeMap::<&str, usize>::new();
    for part in parsed {
        match part {
            Parsed::Event(_) | Parsed::Snapshot { .. } => {}
            Parsed::Unmapped { kind } => {
                *unmapped.entry(kind.chars().take(KIND_LEN_MAX).collect()).or_default() += 1;
            }
            Parsed::Unreadable { reason } => *unreadable.entry(reason).or_default() += 1,
        }
    }
    for (kind, count) in unmapped {
        tracing::info!(source.name = source, provider.kind = kind, count, "kept raw: none of the event types");
    }
    for (reason, count) in unreadable {
        tracing::warn!(source.name = source, reason, count, "kept raw: unreadable");
    }
}

/// Commits what was read, against the endpoint set as it is. Answers what became of each event.
async fn store(
    gateway: &Gateway,
    gatherer: &Gatherer,
    provider: &dyn Provider,
    verified: &Verified,
    parsed: &[Parsed],
) -> Result<Vec<Fate>, Problem> {
    let cache = &gateway.endpoints;
    // Before the first refresh nothing can be planned: it might miss an endpoint.
    if cache.snapshot().generation() == Generation::default() {
        cache.refresh_from(Generation::default(), gateway.store.as_ref()).await?;
    }
    let mut first = FirstFates::default();
    for _ in 0..PLANS_MAX {
        let endpoints = cache.snapshot();
        let (generation, all) = (endpoints.generation(), endpoints.all());
        let ingest = fan_out::plan(provider, verified, parsed, generation, all, &gateway.suppress_on)?;
        match gatherer.ingest(ingest).await? {
            Committed::Stored(fates) => return Ok(first.with(fates)),
            Committed::Forged => return Err(Problem::Forged),
            Committed::Stale(fates) => {
                first.add(fates);
                cache.refresh_from(endpoints.generation(), gateway.store.as_ref()).await?;
            }
        }
    }
    Err(Problem::Unsettled)
}

fn unknown(name: &str) -> Problem {
    if name.ends_with(MAIL_SUFFIX) { Problem::UnknownMailSource } else { Problem::UnknownSource }
}

fn answer(gateway: &Gateway, source: &str, result: Result<(), Problem>) -> HttpResponse {
    match result {
        Ok(()) => received(),
        Err(problem) => {
            tell_refused(gateway, source, &problem);
            problem.plain()
        }
    }
}

fn received() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(r#"{"received":true}"#)
}

fn tell_refused(gateway: &Gateway, source: &str, problem: &Problem) {
    let status = problem.status_code();
    let more = match status {
        // There are as many as the providers send while it lasts.
        StatusCode::SERVICE_UNAVAILABLE => gateway.refusals.pass(gateway.clock.elapsed()),
        _ => Some(0),
    };
    let Some(more) = more else { return };
    // A name that is no source's was chosen by the caller, so it is not repeated.
    let source = match problem {
        Problem::UnknownSource | Problem::UnknownMailSource => "",
        _ => source,
    };
    tracing::warn!(source.name = source, http.status = status.as_u16(), error = %problem, more, "webhook refused");
}

pub(super) fn headers(fields: &HeaderMap) -> Headers {
    let text = |value: &[u8]| match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(value).into_owned(),
    };
    fields.iter().map(|(name, value)| (name.as_str(), text(value.as_bytes()))).collect()
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    use super::*;

    #[actix_web::test]
    async fn success_is_answered_to_the_letter() {
        let answer = received();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(to_bytes(answer.into_body()).await.unwrap(), r#"{"received":true}"#);
    }

    #[test]
    fn an_unknown_name_of_inbound_mail_does_not_lose_the_mail() {
        assert_eq!(unknown("x").status_code(), 404);
        assert_eq!(unknown("sendgrid-inbound").status_code(), 503);
    }

    #[test]
    fn headers_are_taken_over_as_received() {
        let request = TestRequest::post().append_header(("Svix-Id", "msg_1")).append_header(("content-length", "12"));
        let request = request.to_http_request();
        assert_eq!(headers(request.headers()).get("svix-id"), Some("msg_1"));
        assert_eq!(body::length(request.headers()), Some(12));
    }
}
