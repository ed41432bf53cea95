//! API keys: `Authorization: Bearer KEY`, or `X-API-Key: KEY`; and how often wrong ones may be tried.

use std::hash::RandomState;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use super::keys::Uses;
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::{self, AccessKey, Scope};
use crate::domain::guesses::{Client, Guesses, Verdict};
use crate::domain::target::Networks;

/// Who may use the API.
pub(super) struct Access {
    pub(super) keys: Vec<AccessKey>,
    /// Proxies that are believed when they tell whom they call for.
    pub(super) trusted_proxies: Networks,
    pub(super) uses: Uses,
    guesses: Mutex<Guesses>,
}

impl Default for Access {
    fn default() -> Self {
        let guesses = Mutex::new(Guesses::new(RandomState::new()));
        Self { keys: Vec::new(), trusted_proxies: Networks::default(), uses: Uses::default(), guesses }
    }
}

impl Access {
    /// Who asks.
    fn client(&self, request: &HttpRequest) -> Client {
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let headers: Vec<_> = request.headers().get_all("x-forwarded-for").collect();
        // One that is no text ends the search, as any entry does that is no address.
        let entries = headers.iter().rev().flat_map(|header| header.to_str().unwrap_or_default().rsplit(','));
        Client::of(peer, entries, &self.trusted_proxies)
    }
}

/// The key that came with a request, if it is known and good for `scope`.
///
/// # Errors
/// [`Problem::Unauthorized`] without a known key, [`Problem::TooManyWrongKeys`] after too many of those,
/// [`Problem::Forbidden`] without the scope.
pub(super) fn authorize<'a>(
    request: &HttpRequest,
    gateway: &'a Gateway,
    scope: Scope,
) -> Result<&'a AccessKey, Problem> {
    let access = &gateway.access;
    let text = presented(request.headers()).ok_or(Problem::Unauthorized)?;
    let key = access::find(&access.keys, text);
    let (client, elapsed) = (access.client(request), gateway.clock.elapsed());
    let mut guesses = access.guesses.lock().unwrap_or_else(PoisonError::into_inner);
    let verdict = guesses.judge(client, key.map(AccessKey::name), elapsed);
    drop(guesses);
    match (verdict, key) {
        (Verdict::Wait(wait), _) => Err(Problem::TooManyWrongKeys(wait)),
        (Verdict::Right, Some(key)) => {
            access.uses.note(key, gateway.clock.now());
            if key.may(scope) { Ok(key) } else { Err(Problem::Forbidden(scope)) }
        }
        (Verdict::Right | Verdict::Wrong, _) => Err(Problem::Unauthorized),
    }
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok()).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use actix_web::test::TestRequest;

    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::guesses::TRIES;
    use crate::domain::retention::Lifetimes;
    use crate::http::state::Limits;
    use crate::store::embedded::Embedded;

    const OPS: &str = "ops-0123456789abcdef0123456789abcdef";
    const HOUR: Duration = Duration::from_secs(3_600);

    /// With one key, of scope `read`.
    fn gateway() -> Gateway {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(SystemClock::new()));
        let lifetimes = Lifetimes { events: HOUR, requests: HOUR, tokens: HOUR };
        let store = Arc::new(Embedded::open(dir.path(), Arc::clone(&clock) as _, lifetimes).unwrap());
        let keys = vec![AccessKey::new("ops".into(), OPS, vec![Scope::Read]).unwrap()];
        let trusted = Networks::parse(&["10.0.0.0/8"]).unwrap();
        Gateway::new(store, clock, Arc::default(), Limits::NONE).with_api_keys(keys).with_trusted_proxies(trusted)
    }

    fn status(gateway: &Gateway, request: TestRequest, scope: Scope) -> u16 {
        match authorize(&request.to_http_request(), gateway, scope) {
            Ok(_) => 200,
            Err(problem) => problem.plain().status().as_u16(),
        }
    }

    fn with(name: &str, value: &str) -> TestRequest {
        TestRequest::get().insert_header((name, value))
    }

    #[test]
    fn a_key_comes_in_either_header() {
        let gateway = gateway();
        for request in [
            with("authorization", &format!("Bearer {OPS}")),
            with("authorization", &format!("bearer {OPS}")),
            with("x-api-key", OPS),
        ] {
            assert_eq!(status(&gateway, request, Scope::Read), 200);
        }
    }

    #[test]
    fn an_unknown_key_is_401_and_one_without_the_scope_403() {
        let gateway = gateway();
        assert_eq!(status(&gateway, with("x-api-key", "ops"), Scope::Read), 401);
        assert_eq!(status(&gateway, with("authorization", &format!("Basic {OPS}")), Scope::Read), 401);
        assert_eq!(status(&gateway, with("accept", "*/*"), Scope::Read), 401);
        assert_eq!(status(&gateway, with("x-api-key", OPS), Scope::Write), 403);
        assert_eq!(status(&gateway, with("x-api-key", OPS), Scope::Admin), 403);
    }

    #[test]
    fn wrong_keys_are_counted_by_who_sends_them() {
        let gateway = gateway();
        let ask = |peer: &str, forwarded: &str, key: &str| {
            let request = with("x-api-key", key).peer_addr(format!("{peer}:4711").parse().unwrap());
            status(&gateway, request.append_header(("x-forwarded-for", forwarded)), Scope::Read)
        };
        for number in 0..TRIES {
            // What it says of itself does not make it another.
            assert_eq!(ask("198.51.100.7", &format!("203.0.113.{number}"), "guess"), 401);
        }
        assert_eq!(ask("198.51.100.7", "203.0.113.99", "guess"), 429);
        assert_eq!(ask("198.51.100.7", "", OPS), 429, "a right key is not told from a wrong one");
        assert_eq!(ask("198.51.100.8", "", OPS), 200);
        // Behind a proxy that is trusted, it is the same, and others are others.
        assert_eq!(ask("10.0.0.1", "198.51.100.7", "guess"), 429);
        assert_eq!(ask("10.0.0.1", "198.51.100.9", "guess"), 401);
        for _ in 0..2 * TRIES {
            assert_eq!(status(&gateway, with("accept", "*/*"), Scope::Read), 401, "no key is no guess");
        }
    }
}
