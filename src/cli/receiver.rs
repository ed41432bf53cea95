//! A receiver of deliveries that believes nobody: it checks both default signatures.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use jiff::Timestamp;

use crate::clock::Clock;
use crate::domain::endpoint::Scheme;
use crate::outbound::sign::{Secret, sign};

/// How old or how new a signature may be, in seconds, as Stripe's and Svix's libraries have it.
const TOLERANCE_S: i64 = 300;

/// One verified delivery, or what is wrong with it.
pub(super) struct Received {
    /// `webhook-id`: the event's id.
    pub(super) id: String,
    /// `Waypost-Attempt`.
    pub(super) attempt: String,
    /// The body, as received.
    pub(super) body: Bytes,
    /// Whether every signature holds; the reason, if not.
    pub(super) verdict: Result<(), &'static str>,
}

/// Decides what to answer.
pub(super) type Answer = Arc<dyn Fn(&Received) -> u16 + Send + Sync>;

/// Serves until it is dropped. Answers `401` to what is not signed with `secret`, else what `answer` says.
pub(super) fn start(
    address: SocketAddr,
    secret: Secret,
    clock: Arc<dyn Clock>,
    answer: Answer,
) -> std::io::Result<(SocketAddr, actix_web::dev::Server)> {
    let server = HttpServer::new(move || {
        let (secret, clock, answer) = (secret.clone(), Arc::clone(&clock), Arc::clone(&answer));
        let handle = move |request: HttpRequest, body: Bytes| {
            let received = received(&request, body, &secret, clock.now());
            let status = if received.verdict.is_ok() { answer(&received) } else { 401 };
            let status = actix_web::http::StatusCode::from_u16(status);
            std::future::ready(HttpResponse::new(status.unwrap_or(actix_web::http::StatusCode::OK)))
        };
        App::new().app_data(web::PayloadConfig::new(16 << 20)).default_service(web::to(handle))
    });
    let server = server.workers(1).disable_signals().bind(address)?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok((bound, server.run()))
}

fn received(request: &HttpRequest, body: Bytes, secret: &Secret, now: Timestamp) -> Received {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let id = header("webhook-id");
    let drin = header("drin-signature");
    let seconds = drin.strip_prefix("t=").and_then(|rest| rest.split(',').next());
    let standard = (header("webhook-timestamp"), header("webhook-signature"));
    let verdict = verdict(secret, id, (seconds.unwrap_or_default(), drin), standard, &body, now);
    Received { id: id.to_owned(), attempt: header("waypost-attempt").to_owned(), body, verdict }
}

fn verdict(
    secret: &Secret,
    id: &str,
    drin: (&str, &str),
    standard: (&str, &str),
    body: &[u8],
    now: Timestamp,
) -> Result<(), &'static str> {
    let fresh = |seconds: &str| {
        let at = seconds.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok())?;
        (at.duration_since(now).as_secs().abs() <= TOLERANCE_S).then_some(at)
    };
    let made = |scheme, at, name: &str, value: &str| {
        let headers = sign(&[scheme], std::slice::from_ref(secret), id, at, body);
        let made = headers.iter().find(|(known, _)| *known == name);
        made.is_some_and(|(_, made)| {
            // The whole header is compared, in constant time.
            aws_lc_rs::constant_time::verify_slices_are_equal(made.as_bytes(), value.as_bytes()).is_ok()
        })
    };
    let at = fresh(drin.0).ok_or("Drin-Signature is missing or stale")?;
    if !made(Scheme::Drin, at, "drin-signature", drin.1) {
        return Err("Drin-Signature is wrong");
    }
    if secret.key().is_some() {
        let at = fresh(standard.0).ok_or("webhook-timestamp is missing or stale")?;
        if !made(Scheme::Standard, at, "webhook-signature", standard.1) {
            return Err("webhook-signature is wrong");
        }
    }
    Ok(())
}
