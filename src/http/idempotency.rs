//! `Idempotency-Key`: a request that is made again, because its answer was lost, makes nothing twice. A key is good for one
//! request (API key, method, path and body) and for 24 h, counted from when it was first sent.

use actix_web::HttpRequest;

use super::audit::note;
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::AccessKey;
use crate::domain::audit::Action;
use crate::keyring::random;
use crate::store::access::{Bits, Claim};

/// A request to make something, once.
pub(super) struct Once {
    /// What it makes is named after this: the same for the same request with the same `Idempotency-Key`, so that it is
    /// found to be there; else drawn.
    pub(super) bits: Bits,
    /// What it made, if it is known to have been made before.
    pub(super) made: Option<String>,
    key: Option<Bits>,
}

impl Once {
    /// Remembers the request, if it comes with a key. `asked` is what its body says.
    ///
    /// # Errors
    /// [`Problem::KeyReused`] when the key came with another request before.
    pub(super) async fn begin(
        gateway: &Gateway,
        key: &AccessKey,
        request: &HttpRequest,
        asked: &[u8],
    ) -> Result<Self, Problem> {
        let bits = random()?;
        let given = request.headers().get("idempotency-key").filter(|given| !given.is_empty());
        let Some(given) = given else {
            return Ok(Self { bits, made: None, key: None });
        };
        // There may be a weak secret in the body, which whoever reads the store is not to find by trying.
        let (secret, given) = (gateway.store.link_key().await?, given.as_bytes());
        let (method, path) = (request.method().as_str().as_bytes(), request.path().as_bytes());
        let digest = secret.tag(&[b"idempotent request", given, method, path, asked]);
        let key = secret.tag(&[b"idempotency key", key.name().as_bytes(), given]);
        let known = gateway.store.claim(key, &Claim { digest, bits, made: None }).await?;
        if known.digest != digest {
            return Err(Problem::KeyReused);
        }
        Ok(Self { bits: known.bits, made: known.made, key: Some(key) })
    }

    /// Tells of what it is about to make, unless it is known to have made it.
    pub(super) async fn tell(
        &self,
        gateway: &Gateway,
        key: &AccessKey,
        action: Action,
        target: Option<&str>,
    ) -> Result<(), Problem> {
        if self.made.is_some() { Ok(()) } else { note(gateway, key, action, target).await }
    }

    /// What names the request where something says who made it.
    pub(super) fn mark(&self) -> String {
        hex::encode(self.bits)
    }

    /// Notes what it made. One that dies before finds that it is there by its name.
    pub(super) async fn settle(&self, gateway: &Gateway, made: &str) -> Result<(), Problem> {
        match self.key {
            Some(key) if self.made.is_none() => Ok(gateway.store.settle(key, made).await?),
            _ => Ok(()),
        }
    }
}
