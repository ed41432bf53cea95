//! API keys: `Authorization: Bearer KEY`, or `X-API-Key: KEY`.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use super::problem::Problem;
use crate::domain::access::{self, AccessKey, Scope};

/// The key that came with a request, if it is known and good for `scope`.
///
/// # Errors
/// [`Problem::Unauthorized`] without a known key, [`Problem::Forbidden`] without the scope.
pub(super) fn authorize<'a>(
    keys: &'a [AccessKey],
    headers: &HeaderMap,
    scope: Scope,
) -> Result<&'a AccessKey, Problem> {
    let key = presented(headers).and_then(|text| access::find(keys, text)).ok_or(Problem::Unauthorized)?;
    if key.may(scope) { Ok(key) } else { Err(Problem::Forbidden(scope)) }
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const OPS: &str = "ops-0123456789abcdef0123456789abcdef";

    fn status(name: &str, value: &str, scope: Scope) -> u16 {
        let keys = [AccessKey::new("ops".into(), OPS, vec![Scope::Read]).unwrap()];
        let request = TestRequest::get().insert_header((name, value)).to_http_request();
        match authorize(&keys, request.headers(), scope) {
            Ok(_) => 200,
            Err(problem) => problem.plain().status().as_u16(),
        }
    }

    #[test]
    fn a_key_comes_in_either_header() {
        assert_eq!(status("authorization", &format!("Bearer {OPS}"), Scope::Read), 200);
        assert_eq!(status("authorization", &format!("bearer {OPS}"), Scope::Read), 200);
        assert_eq!(status("x-api-key", OPS, Scope::Read), 200);
    }

    #[test]
    fn an_unknown_key_is_401_and_one_without_the_scope_403() {
        assert_eq!(status("x-api-key", "ops", Scope::Read), 401);
        assert_eq!(status("authorization", &format!("Basic {OPS}"), Scope::Read), 401);
        assert_eq!(status("accept", "*/*", Scope::Read), 401);
        assert_eq!(status("x-api-key", OPS, Scope::Write), 403);
        assert_eq!(status("x-api-key", OPS, Scope::Admin), 403);
    }
}
