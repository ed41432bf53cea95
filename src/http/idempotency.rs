//! `Idempotency-Key`: a request that is made again, because its answer was lost, makes nothing twice.

use actix_web::HttpRequest;

use super::problem::Problem;
use crate::domain::access::AccessKey;
use crate::domain::id::hash128;
use crate::keyring::random;

/// What the id of something new is made of: the same for the same request (API key, path and body) with the same
/// `Idempotency-Key`, so that it is found to be there; else drawn.
pub(super) fn bits(request: &HttpRequest, key: &AccessKey, body: &[u8]) -> Result<[u8; 16], Problem> {
    match request.headers().get("idempotency-key") {
        Some(given) => Ok(hash128(&[key.name().as_bytes(), request.path().as_bytes(), given.as_bytes(), body])),
        None => Ok(random()?),
    }
}
