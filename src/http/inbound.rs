//! The callback of the providers: verify, read, plan, commit, answer.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::{Data, Payload, ThinData};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use waypost_providers::{Headers, Parsed, Provider, Request, Verified, VerifyError};

use super::body::{self, Held};
use super::gather::Gatherer;
use super::metrics::{refused, taken};
use super::problem::Problem;
use super::rejecting;
use super::state::Gateway;
use crate::domain::fan_out;
use crate::domain::source::{DEFAULT_SOURCE, Source};
use crate::metrics::{Answered, AtSource};
use crate::store::{Committed, Fate, FirstFates};

/// Names that end in this are of inbound mail, which a provider drops for good on any `4xx`.
const MAIL_SUFFIX: &str = "-inbound";
/// A provider is answered within a second, whatever the store does; but see [`store_within`].
pub(super) const STORE_WITHIN: Duration = Duration::from_millis(900);
/// For each so many bytes of a body the store gets a second more.
const STORE_BYTES_PER_S: usize = 4 << 20;
/// Larger bodies are read on a thread of their own, for the others of this one would wait.
const READ_HERE_MAX: usize = 1 << 20;
/// Such a body is decoded as a whole; of others no part is copied that is large.
const URL_ENCODED: &str = "application/x-www-form-urlencoded";
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
/// | `401` | the signature, login or token is wrong, missing or stale; worth another try |
/// | `404` | there is no such source (`503` where its name ends in `-inbound`) |
/// | `406` | Mailgun: signature fields missing or of the wrong shape, or a token used again for other content |
/// | `408` | the body took longer than `server.body_timeout_s`, or nearly stood still |
/// | `413` | the body is over `server.body_bytes_max` |
/// | `500` | an event could not be read or written; nothing was stored |
/// | `503` with `Retry-After` | the store is down or slow, too much is under way, or the gateway is shutting down |
///
/// A source of inbound mail answers `503` in the place of all the others but `200` and `406`, for a mail is dropped for good
/// on any `4xx`; its limits are `server.mail_bytes_max` and `server.mail_timeout_s`. `postmark` answers `503` in the place of
/// `401`. The store is given 900 ms, and a second more for each whole 4 MiB of the body;
/// of these a body of 16 KiB or more waits up to 400 for room beside others of its size.
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

/// What is below a source and nothing. A mail that is posted there, by a URL with a slash too many, is to come again.
pub(super) async fn nothing(request: HttpRequest, gateway: Data<Gateway>) -> HttpResponse {
    let name = request.path().split('/').nth(2).unwrap_or_default();
    let source = gateway.source(name);
    gateway.metrics.inbound.unknown();
    if is_of_mail(name, source.as_ref()) {
        return answer(&gateway, name, source.as_ref(), Err(Problem::UnknownSource));
    }
    Problem::NotFound("route").error_response()
}

async fn take(
    request: &HttpRequest,
    payload: Payload,
    gateway: &Gateway,
    gatherer: &Gatherer,
    name: &str,
) -> HttpResponse {
    let began = gateway.clock.elapsed();
    let source = gateway.source(name);
    let at = source.as_ref().map(|_| gateway.metrics.inbound.at(name));
    let result = accept(request, payload, gateway, gatherer, name, source.as_ref().zip(at.as_deref())).await;
    // A name that is no source's was chosen by the caller, and would take room.
    if let Err(problem) = &result
        && source.is_some()
    {
        gateway.counting.refused(name, problem);
    }
    let answered = result.as_ref().map_or_else(refused, |answered| *answered);
    let result = result.map(|_| ());
    rejecting::note(gateway, name, &result).await;
    let answer = answer(gateway, name, source.as_ref(), result);
    match at {
        Some(at) => at.answered(answered, gateway.clock.elapsed().saturating_sub(began)),
        None => gateway.metrics.inbound.unknown(),
    }
    answer
}

async fn accept(
    request: &HttpRequest,
    payload: Payload,
    gateway: &Gateway,
    gatherer: &Gatherer,
    name: &str,
    source: Option<(&Source, &AtSource)>,
) -> Result<Answered, Problem> {
    if gateway.is_draining() {
        return Err(Problem::ShuttingDown);
    }
    let (source, at) = source.ok_or(Problem::UnknownSource)?;
    let headers = headers(request.headers());
    let precheck = source.proof.precheck(source.provider, name, &headers, gateway.clock.now());
    precheck.map_err(|error| not_proven(source.provider, error))?;
    let (size, share) = gateway.limits.of(source.provider);
    let held = Held::nothing(&gateway.body_budget, Some(gateway.shares.of(name, share)))?;
    let body = body::read(payload, body::length(request.headers()), size, held).await?;
    at.body_read(body.len());
    // Not before: whoever sends slowly, proven or not, takes no place from those who do not.
    let _permit = gateway.admit()?;
    let began = gateway.clock.elapsed();
    let _place = match source.provider.receives_mail() {
        true => None,
        false => gateway.batches.enter(body.len()).await?,
    };
    let store_within = store_within(body.len()).saturating_sub(gateway.clock.elapsed().saturating_sub(began));
    let received_at = gateway.clock.now();
    let request = Request { source: name.into(), received_at, headers, body };
    let read = tokio::time::timeout(size.within, read(gateway, source, request)).await;
    let read = Arc::new(read.map_err(|_| Problem::Overloaded)??);
    let stored = tokio::time::timeout(store_within, store(gateway, gatherer, source.provider, &read)).await;
    let fates = stored.map_err(|_| Problem::StoreSlow)??;
    let Read { verified, parsed } = &*read;
    gateway.counting.taken(verified, parsed, &fates, at);
    tell_kept(name, parsed);
    Ok(taken(&fates))
}

/// How long the store gets for a request whose body has so many bytes. What is too large for it to write in less would be
/// refused each time it comes.
pub(super) fn store_within(len: usize) -> Duration {
    STORE_WITHIN + Duration::from_secs((len / STORE_BYTES_PER_S) as u64)
}

/// Within how long after its receipt any request of these sources is stored, or given up.
pub(super) fn committed_within(gateway: &Gateway) -> Duration {
    let sizes = gateway.sources.all().values().map(|source| gateway.limits.of(source.provider).0).collect::<Vec<_>>();
    let longest = sizes.iter().map(|size| size.within + store_within(size.bytes_max)).max();
    longest.unwrap_or(gateway.limits.mail_timeout)
}

/// A request that is proven, and what it says.
#[derive(Debug)]
struct Read {
    verified: Verified,
    parsed: Vec<Parsed>,
}

/// Does it here, or elsewhere if a body of this length takes a while.
async fn work<T: Send + 'static>(
    len: usize,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if len <= READ_HERE_MAX {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Problem::ReadFailed))
}

/// Proves a request and reads it.
async fn read(gateway: &Gateway, source: &Source, request: Request) -> Result<Read, Problem> {
    let (Source { provider, proof, .. }, len) = (source.clone(), request.body.len());
    let is_encoded = request.headers.get("content-type").is_some_and(|it| it.starts_with(URL_ENCODED));
    let room = if is_encoded && len > READ_HERE_MAX { Some(body::room_to_decode(gateway, len)?) } else { None };
    let read = move || {
        let _room = room;
        let received_at = request.received_at;
        let verified = proof.verify(provider, request, received_at)?;
        let parsed = provider.parse(&verified);
        Ok(Read { verified, parsed })
    };
    // A panic fails this request, and is answered.
    let read = || catch_unwind(AssertUnwindSafe(read)).map_err(|_| Problem::ReadFailed);
    let read = match len > READ_HERE_MAX && provider.receives_mail() {
        true => gateway.large_mails.run(read).await?,
        false => work(len, read).await?,
    };
    read.map_err(|error| not_proven(provider, error))
}

fn not_proven(provider: &dyn Provider, error: VerifyError) -> Problem {
    Problem::NotProven { refusal: provider.refusal(&error), error }
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
    provider: &'static dyn Provider,
    read: &Arc<Read>,
) -> Result<Vec<Fate>, Problem> {
    let cache = &gateway.endpoints;
    let mut first = FirstFates::default();
    for _ in 0..PLANS_MAX {
        let endpoints = cache.current(gateway.store.as_ref()).await?;
        let generation = endpoints.generation();
        // It may have gone from the config meanwhile, and these are the endpoints of the config that lacks it.
        if !gateway.sources.all().contains_key(&*read.verified.request().source) {
            return Err(Problem::UnknownSource);
        }
        let (read, suppress_on) = (Arc::clone(read), gateway.suppress_on.clone());
        let len = read.verified.request().body.len();
        // It hashes the whole body, and may take it apart for the links of a mail. Not behind those that are being read, for the
        // store's time is running.
        let plan = move || {
            let Read { verified, parsed } = &*read;
            Ok(fan_out::plan(provider, verified, parsed, generation, endpoints.all(), &suppress_on)?)
        };
        match gatherer.ingest(work(len, plan).await?).await? {
            Committed::Stored(fates) => return Ok(first.with(fates)),
            Committed::Forged => return Err(Problem::Forged),
            Committed::Stale(fates) => {
                first.add(fates);
                cache.refresh_from(generation, gateway.store.as_ref()).await?;
            }
        }
    }
    Err(Problem::Unsettled)
}

fn answer(gateway: &Gateway, name: &str, source: Option<&Source>, result: Result<(), Problem>) -> HttpResponse {
    match result {
        Ok(()) => received(),
        Err(problem) => {
            let problem = if is_of_mail(name, source) { problem.again() } else { problem };
            // A name that is no source's was chosen by the caller, so it is not repeated.
            tell_refused(gateway, if source.is_some() { name } else { "" }, &problem);
            problem.plain()
        }
    }
}

fn is_of_mail(name: &str, source: Option<&Source>) -> bool {
    source.map_or(name.ends_with(MAIL_SUFFIX), |source| source.provider.receives_mail())
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
    use base64::{Engine, engine::general_purpose::STANDARD};
    use jiff::Timestamp;
    use waypost_providers::{Login, Proof, Samples};

    use super::super::state::Limits;
    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::retention::Lifetimes;
    use crate::store::embedded::Embedded;

    #[actix_web::test]
    async fn success_is_answered_to_the_letter() {
        let answer = received();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(to_bytes(answer.into_body()).await.unwrap(), r#"{"received":true}"#);
    }

    /// Bodies that nothing comes of.
    struct Panics;

    impl Provider for Panics {
        fn name(&self) -> &'static str {
            "panics"
        }

        fn parse(&self, _verified: &Verified) -> Vec<Parsed> {
            panic!("as asked")
        }

        fn samples(&self) -> Samples {
            unreachable!("nobody asks")
        }
    }

    #[actix_web::test]
    async fn what_panics_fails_one_request_and_is_told() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(SystemClock::new()));
        let life = Duration::from_secs(60);
        let lifetimes = Lifetimes { events: life, requests: life, tokens: life };
        let store = Arc::new(Embedded::open(dir.path(), Arc::clone(&clock) as _, lifetimes).unwrap());
        let gateway = Gateway::new(store, clock, Arc::default(), Limits::NONE);
        let login = "user:a password for this test";
        let (user, password) = login.split_once(':').unwrap();
        let proof = Arc::new(Proof::Basic(vec![Login::new(user, password).unwrap()]));
        let source = Source { provider: &Panics, proof, fetching: None };
        for len in [1, READ_HERE_MAX + 1] {
            let headers = [("authorization", format!("Basic {}", STANDARD.encode(login)))].into_iter().collect();
            let (received_at, body) = (Timestamp::UNIX_EPOCH, vec![b' '; len].into());
            let request = Request { source: "a".into(), received_at, headers, body };
            assert!(matches!(read(&gateway, &source, request).await, Err(Problem::ReadFailed)), "{len}");
        }
    }

    #[test]
    fn the_store_gets_longer_for_what_is_larger() {
        let within = [0, (4 << 20) - 1, 4 << 20, 30 << 20].map(store_within);
        assert_eq!(within.map(|within| within.as_millis()), [900, 900, 1_900, 7_900]);
    }

    #[test]
    fn headers_are_taken_over_as_received() {
        let request = TestRequest::post().append_header(("Svix-Id", "msg_1")).append_header(("content-length", "12"));
        let request = request.to_http_request();
        assert_eq!(headers(request.headers()).get("svix-id"), Some("msg_1"));
        assert_eq!(body::length(request.headers()), Some(12));
    }
}
