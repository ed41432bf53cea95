//! A receiver of deliveries that believes nobody: it checks each default signature that it finds.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use aws_lc_rs::constant_time::verify_slices_are_equal;
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
    /// Whether it is proven; the reason, if not.
    pub(super) verdict: Result<(), &'static str>,
}

/// Decides what to answer to what is proven; is told of what is not, too.
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
            let answer = answer(&received);
            let status = if received.verdict.is_ok() { answer } else { 401 };
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
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let headers = Signatures {
        id: header("webhook-id").unwrap_or_default(),
        drin: header("drin-signature"),
        seconds: header("webhook-timestamp").unwrap_or_default(),
        standard: header("webhook-signature"),
    };
    let verdict = verdict(secret, &headers, &body, now);
    let (id, attempt) = (headers.id.to_owned(), header("waypost-attempt").unwrap_or_default().to_owned());
    Received { id, attempt, body, verdict }
}

/// The headers that prove a delivery.
struct Signatures<'a> {
    id: &'a str,
    drin: Option<&'a str>,
    seconds: &'a str,
    standard: Option<&'a str>,
}

/// Checks each scheme that is there, of which there must be one. An endpoint may sign in one way only, and with two
/// secrets while it changes them: one signature with ours is enough.
fn verdict(secret: &Secret, headers: &Signatures<'_>, body: &[u8], now: Timestamp) -> Result<(), &'static str> {
    let made_by = |scheme, at, name: &str, parting: char, value: &str| {
        let made = sign(&[scheme], std::slice::from_ref(secret), headers.id, at, body);
        let made = made.iter().find(|(known, _)| *known == name).and_then(|(_, made)| made.rsplit(parting).next());
        // Compared in constant time.
        let is_same = |one: &str, made: &str| verify_slices_are_equal(one.as_bytes(), made.as_bytes()).is_ok();
        made.is_some_and(|made| value.split(parting).any(|one| is_same(one, made)))
    };
    if let Some(drin) = headers.drin {
        let seconds = drin.strip_prefix("t=").and_then(|rest| rest.split(',').next()).unwrap_or_default();
        let at = fresh(seconds, now).ok_or("Drin-Signature is stale or malformed")?;
        if !made_by(Scheme::Drin, at, "drin-signature", ',', drin) {
            return Err("Drin-Signature is wrong");
        }
    }
    match headers.standard {
        None if headers.drin.is_none() => Err("neither Drin-Signature nor webhook-signature is there"),
        Some(_) if secret.key().is_none() && headers.drin.is_none() => {
            Err("webhook-signature cannot be checked with a secret that is not whsec_ and base64")
        }
        Some(standard) if secret.key().is_some() => {
            let at = fresh(headers.seconds, now).ok_or("webhook-timestamp is missing or stale")?;
            let is_made = made_by(Scheme::Standard, at, "webhook-signature", ' ', standard);
            if is_made { Ok(()) } else { Err("webhook-signature is wrong") }
        }
        // What proves it is Drin-Signature.
        None | Some(_) => Ok(()),
    }
}

/// The time that a header tells in Unix seconds, unless that is too far from now.
fn fresh(seconds: &str, now: Timestamp) -> Option<Timestamp> {
    let at = seconds.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok())?;
    (at.duration_since(now).as_secs().abs() <= TOLERANCE_S).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const TEXT: &str = "a secret in plain text";
    const BODY: &[u8] = b"{}";
    const BOTH: [Scheme; 2] = [Scheme::Drin, Scheme::Standard];

    /// What `secret` says of a delivery that was signed so, so long ago.
    fn judged(secret: &str, schemes: &[Scheme], secrets: &[&str], age_s: i64, body: &[u8]) -> Result<(), &'static str> {
        let now = Timestamp::from_second(1_773_480_413).unwrap();
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::parse(secret).unwrap()).collect();
        let at = Timestamp::from_second(now.as_second() - age_s).unwrap();
        let headers = sign(schemes, &secrets, "evt_1", at, BODY);
        let header = |name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        let headers = Signatures {
            id: "evt_1",
            drin: header("drin-signature"),
            seconds: header("webhook-timestamp").unwrap_or_default(),
            standard: header("webhook-signature"),
        };
        verdict(&Secret::parse(secret).unwrap(), &headers, body, now)
    }

    #[test]
    fn each_way_to_sign_is_believed_with_either_of_two_secrets() {
        for schemes in [&BOTH[..], &BOTH[..1], &BOTH[1..]] {
            for secrets in [&[NEW][..], &[NEW, OLD], &[OLD, NEW]] {
                assert_eq!(judged(NEW, schemes, secrets, 0, BODY), Ok(()), "{schemes:?}");
            }
        }
        assert_eq!(judged(TEXT, &BOTH, &[TEXT], 0, BODY), Ok(()));
        // Only one of the two is good for `standard`.
        assert_eq!(judged(TEXT, &BOTH, &[NEW, TEXT], 0, BODY), Ok(()));
        assert_eq!(judged(NEW, &BOTH, &[NEW, TEXT], 0, BODY), Ok(()));
    }

    #[test]
    fn what_is_not_signed_with_the_secret_is_refused() {
        let (drin, standard) = (&BOTH[..1], &BOTH[1..]);
        assert_eq!(judged(NEW, &[], &[], 0, BODY), Err("neither Drin-Signature nor webhook-signature is there"));
        assert_eq!(judged(NEW, &BOTH, &[OLD], 0, BODY), Err("Drin-Signature is wrong"));
        assert_eq!(judged(NEW, drin, &[NEW], 0, b"{ }"), Err("Drin-Signature is wrong"));
        assert_eq!(judged(NEW, standard, &[OLD], 0, BODY), Err("webhook-signature is wrong"));
        assert_eq!(judged(NEW, standard, &[NEW], 0, b"{ }"), Err("webhook-signature is wrong"));
        assert!(judged(TEXT, standard, &[NEW], 0, BODY).is_err_and(|why| why.contains("cannot be checked")));
        for (age_s, is_good) in [(300, true), (301, false), (-300, true), (-301, false)] {
            assert_eq!(judged(NEW, drin, &[NEW], age_s, BODY).is_ok(), is_good, "{age_s}");
            assert_eq!(judged(NEW, standard, &[NEW], age_s, BODY).is_ok(), is_good, "{age_s}");
        }
    }
}
