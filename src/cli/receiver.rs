//! A receiver of deliveries that believes nobody: it checks each signature that it finds.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::domain::endpoint::Scheme;
use crate::domain::header::BODY_SIGNATURE;
use crate::outbound::sign::{Secret, can_sign, sign};

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
    pub(super) verdict: Result<(), String>,
}

/// Decides what to answer to what is proven; is told of what is not, too.
pub(super) type Answer = Arc<dyn Fn(&Received) -> u16 + Send + Sync>;

/// Serves until it is dropped. Answers `401` to what is not signed with `secret`, else what `answer` says. The signature
/// of the body alone may be in a header of the endpoint's own.
pub(super) fn start(
    address: SocketAddr,
    secret: Secret,
    signature_header: Option<String>,
    clock: Arc<dyn Clock>,
    answer: Answer,
) -> std::io::Result<(SocketAddr, actix_web::dev::Server)> {
    let server = HttpServer::new(move || {
        let (secret, clock, answer) = (secret.clone(), Arc::clone(&clock), Arc::clone(&answer));
        let own = signature_header.clone();
        let handle = move |request: HttpRequest, body: Bytes| {
            let received = received(&request, body, &secret, own.as_deref(), clock.now());
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

fn received(request: &HttpRequest, body: Bytes, secret: &Secret, own: Option<&str>, now: Timestamp) -> Received {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let verdict = verdict(secret, &Signed { header: &header, own, body: &body }, now);
    let [id, attempt] = ["webhook-id", "waypost-attempt"].map(|name| header(name).unwrap_or_default().to_owned());
    Received { id, attempt, body, verdict }
}

/// A header that proves a delivery.
struct Proof {
    name: &'static str,
    /// What it may hold, each with what leads the value.
    schemes: &'static [(Scheme, &'static str)],
    /// What stands between its values.
    parting: char,
    /// The headers of the id and the time that are signed with the body, where these are not in it.
    beside: Option<[&'static str; 2]>,
}

const PROOFS: [Proof; 4] = [
    Proof { name: "Drin-Signature", schemes: &[(Scheme::Drin, "")], parting: ',', beside: None },
    Proof {
        name: "webhook-signature",
        schemes: &[(Scheme::Standard, ""), (Scheme::Ed25519, "")],
        parting: ' ',
        beside: Some(["webhook-id", "webhook-timestamp"]),
    },
    Proof {
        name: "svix-signature",
        schemes: &[(Scheme::Svix, "")],
        parting: ' ',
        beside: Some(["svix-id", "svix-timestamp"]),
    },
    Proof {
        name: "X-Webhook-Signature",
        schemes: &[(Scheme::Sha256, "sha256="), (Scheme::Hex, "")],
        parting: ' ',
        beside: None,
    },
];

/// A request as far as it is signed.
struct Signed<'a> {
    /// A header's value, by its name.
    header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The name that the endpoint has for the header of a signature of the body alone.
    own: Option<&'a str>,
    body: &'a [u8],
}

/// Checks each signature that is there and that the secret can make, of which there must be one. An endpoint may sign in
/// one way only, and with two secrets while it changes them: one signature with ours is enough.
fn verdict(secret: &Secret, signed: &Signed<'_>, now: Timestamp) -> Result<(), String> {
    let mut is_proven = false;
    let mut unknown = None;
    for proof in &PROOFS {
        let name = signed.own.filter(|_| proof.name.eq_ignore_ascii_case(BODY_SIGNATURE)).unwrap_or(proof.name);
        let Some(value) = (signed.header)(name) else { continue };
        let can = |scheme| can_sign(&[scheme], std::slice::from_ref(secret));
        let scheme = proof.schemes.iter().find(|(scheme, lead)| value.starts_with(lead) && can(*scheme));
        let Some((scheme, _)) = scheme else {
            unknown.get_or_insert(name);
            continue;
        };
        let at = signed_at(proof, *scheme, value, signed, now)?;
        let id = proof.beside.and_then(|[id, _]| (signed.header)(id)).unwrap_or_default();
        let made = sign(&[*scheme], std::slice::from_ref(secret), id, at, signed.body);
        let made = made.iter().find(|(name, _)| name.eq_ignore_ascii_case(proof.name));
        let made = made.and_then(|(_, made)| made.rsplit(proof.parting).next()).unwrap_or_default();
        // Compared in constant time.
        let is_made = |one: &str| verify_slices_are_equal(one.as_bytes(), made.as_bytes()).is_ok();
        if !value.split(proof.parting).any(is_made) {
            return Err(format!("{name} is wrong"));
        }
        is_proven = true;
    }
    match unknown {
        _ if is_proven => Ok(()),
        Some(name) => Err(format!("{name} cannot be checked with a secret of this kind")),
        None => Err("no signature is there".into()),
    }
}
/// The time that is signed; now, where none is.
fn signed_at(
    proof: &Proof,
    scheme: Scheme,
    value: &str,
    signed: &Signed<'_>,
    now: Timestamp,
) -> Result<Timestamp, String> {
    let seconds = match (scheme, proof.beside) {
        (Scheme::Drin, _) => value.strip_prefix("t=").and_then(|rest| rest.split(',').next()),
        (_, Some([_, time])) => (signed.header)(time),
        (_, None) => return Ok(now),
    };
    seconds
        .and_then(|seconds| fresh(seconds, now))
        .ok_or_else(|| format!("{} is stale, or without its time", proof.name))
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
    const PRIVATE: &str = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=";
    const BODY: &[u8] = b"{}";
    const BOTH: [Scheme; 2] = [Scheme::Drin, Scheme::Standard];

    /// What `secret` says of a delivery that was signed so, so long ago.
    fn judged(secret: &str, schemes: &[Scheme], secrets: &[&str], age_s: i64, body: &[u8]) -> Result<(), String> {
        let now = Timestamp::from_second(1_773_480_413).unwrap();
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::parse(secret).unwrap()).collect();
        let at = Timestamp::from_second(now.as_second() - age_s).unwrap();
        let mut headers = sign(schemes, &secrets, "evt_1", at, BODY);
        headers.push(("webhook-id", "evt_1".to_owned()));
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str())
        };
        verdict(&Secret::parse(secret).unwrap(), &Signed { header: &header, own: None, body }, now)
    }

    #[test]
    fn each_way_to_sign_is_believed_with_either_of_two_secrets() {
        let (hex, sha256) = (&[Scheme::Hex][..], &[Scheme::Sha256][..]);
        for schemes in [&BOTH[..], &BOTH[..1], &BOTH[1..], &[Scheme::Svix]] {
            for secrets in [&[NEW][..], &[NEW, OLD], &[OLD, NEW]] {
                assert_eq!(judged(NEW, schemes, secrets, 0, BODY), Ok(()), "{schemes:?}");
            }
        }
        for (secret, schemes) in [(TEXT, &BOTH[..]), (TEXT, hex), (NEW, sha256), (PRIVATE, &[Scheme::Ed25519])] {
            assert_eq!(judged(secret, schemes, &[secret], 0, BODY), Ok(()), "{schemes:?}");
        }
        // Only one of the two is good for `standard`.
        assert_eq!(judged(TEXT, &BOTH, &[NEW, TEXT], 0, BODY), Ok(()));
        assert_eq!(judged(NEW, &BOTH, &[NEW, TEXT], 0, BODY), Ok(()));
        // Each half of a header that two schemes share is believed alone.
        let shared = [Scheme::Standard, Scheme::Ed25519];
        for secret in [NEW, PRIVATE] {
            assert_eq!(judged(secret, &shared, &[NEW, PRIVATE], 0, BODY), Ok(()));
        }
    }

    #[test]
    fn what_is_not_signed_with_the_secret_is_refused() {
        assert_eq!(judged(NEW, &[], &[], 0, BODY), Err("no signature is there".into()));
        assert_eq!(judged(NEW, &BOTH, &[OLD], 0, BODY), Err("Drin-Signature is wrong".into()));
        let unknown = judged(TEXT, &[Scheme::Standard], &[NEW], 0, BODY).unwrap_err();
        assert_eq!(unknown, "webhook-signature cannot be checked with a secret of this kind");
        let names = [
            (Scheme::Drin, "Drin-Signature"),
            (Scheme::Standard, "webhook-signature"),
            (Scheme::Svix, "svix-signature"),
            (Scheme::Hex, "X-Webhook-Signature"),
            (Scheme::Sha256, "X-Webhook-Signature"),
        ];
        for (scheme, name) in names {
            let wrong = Err(format!("{name} is wrong"));
            assert_eq!(judged(NEW, &[scheme], &[OLD], 0, BODY), wrong);
            assert_eq!(judged(NEW, &[scheme], &[NEW], 0, b"{ }"), wrong);
            let has_time = !matches!(scheme, Scheme::Hex | Scheme::Sha256);
            for (age_s, is_good) in [(300, true), (301, false), (-300, true), (-301, false)] {
                let judged = judged(NEW, &[scheme], &[NEW], age_s, BODY);
                assert_eq!(judged.is_ok(), is_good || !has_time, "{name} {age_s}");
            }
        }
    }
}
