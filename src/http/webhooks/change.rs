//! Changes of the endpoint set, and what is sealed on the way into it.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use actix_web::http::header::{EntityTag, Header, IF_MATCH, IfMatch};

use super::fields::Headers;
use crate::domain::access::AccessKey;
use crate::domain::audit::of_endpoint;
use crate::domain::endpoint::Endpoint;
use crate::domain::field::FieldError;
use crate::domain::id::{EndpointId, hash128};
use crate::domain::kept::Kept;
use crate::domain::plan::Generation;
use crate::domain::seal::{MasterKeys, OpenError, Place, Sealed, seal};
use crate::domain::secret::SigningSecret;
use crate::http::body::API_BYTES_MAX;
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::keyring::random;
use crate::store::Endpoints;

/// How often a change is decided before it is given up; each time somebody else was first.
const TRIES_MAX: usize = 20;

/// What is to change.
pub(super) enum Step {
    /// It is given the next number.
    Add(Endpoint),
    /// Nothing: it is as it is wanted.
    Keep(Endpoint),
    Put(Endpoint),
    Remove(Endpoint),
}

/// All endpoints, as the store has them now.
pub(in crate::http) async fn current(gateway: &Gateway) -> Result<Vec<Endpoint>, Problem> {
    Ok(read(gateway).await?.all)
}

/// A store that has never been given the endpoints of the config file, or has lost them, is given them first: a change
/// before that would hide from other gateways that it lacks them.
async fn read(gateway: &Gateway) -> Result<Endpoints, Problem> {
    let store = gateway.store.as_ref();
    let endpoints = store.endpoints().await?;
    if endpoints.generation != Generation::default() {
        return Ok(endpoints);
    }
    gateway.endpoints.refresh(store).await?;
    Ok(store.endpoints().await?)
}

/// Decides a change on the set as it is, again if somebody else was first. When it answers, what it answers is in force
/// on every gateway.
pub(super) async fn change(
    gateway: &Gateway,
    key: &AccessKey,
    decide: impl Fn(&[Endpoint]) -> Result<Step, Problem>,
) -> Result<Endpoint, Problem> {
    let store = gateway.store.as_ref();
    for _ in 0..TRIES_MAX {
        let set = read(gateway).await?;
        let (endpoint, is_there) = match decide(&set.all)? {
            Step::Add(endpoint) => (Endpoint { number: set.numbered + 1, ..endpoint }, true),
            Step::Keep(endpoint) => return Ok(endpoint),
            Step::Put(endpoint) => (endpoint, true),
            Step::Remove(endpoint) => (endpoint, false),
        };
        let before = set.all.iter().find(|known| known.id == endpoint.id);
        let after = is_there.then_some(&endpoint);
        let entries = of_endpoint(gateway.clock.now(), key.name(), before, after);
        let removed = std::slice::from_ref(&endpoint.id);
        let (changes, removed) =
            (after.map(std::slice::from_ref).unwrap_or_default(), if is_there { &[] } else { removed });
        if store.replace_endpoints(set.generation, changes, removed, &entries).await?.is_some() {
            // Whoever uses the old set finds out by the generation; this gateway need not wait for that.
            if let Err(error) = gateway.endpoints.refresh(store).await {
                tracing::warn!(%error, "the endpoints have changed and cannot be read again yet");
            }
            return Ok(endpoint);
        }
    }
    Err(Problem::Unsettled)
}

/// The endpoint that somebody means: by its id, and by what they last saw of it if they say so with `If-Match`.
pub(in crate::http) struct Target<'a> {
    id: &'a str,
    seen: Option<IfMatch>,
}

impl<'a> Target<'a> {
    /// As a request says. What is no ETag matches nothing.
    pub(in crate::http) fn new(request: &HttpRequest, id: &'a str) -> Self {
        let given = request.headers().contains_key(IF_MATCH);
        let seen = given.then(|| IfMatch::parse(request).unwrap_or(IfMatch::Items(Vec::new())));
        Self { id, seen }
    }

    /// The same, whatever they last saw.
    pub(super) fn unseen(&self) -> Self {
        Self { id: self.id, seen: None }
    }
}

/// What changes whenever an endpoint does.
pub(super) fn etag(endpoint: &Endpoint) -> EntityTag {
    // What cannot be written is never in a store.
    let json = serde_json::to_vec(endpoint).unwrap_or_default();
    EntityTag::new_strong(hex::encode(hash128(&[&json])))
}

/// The endpoint of this id.
pub(super) fn find<'a>(all: &'a [Endpoint], target: &Target<'_>) -> Result<&'a Endpoint, Problem> {
    let found = all.iter().find(|endpoint| endpoint.id.as_str() == target.id);
    let endpoint = found.ok_or(Problem::NotFound("webhook"))?;
    match &target.seen {
        Some(IfMatch::Items(seen)) if !seen.iter().any(|seen| seen.strong_eq(&etag(endpoint))) => {
            Err(Problem::HasChanged)
        }
        _ => Ok(endpoint),
    }
}

/// The endpoint of this id, if the API may change it, and what it keeps.
pub(super) fn api_endpoint<'a>(all: &'a [Endpoint], target: &Target<'_>) -> Result<(&'a Endpoint, &'a Kept), Problem> {
    let endpoint = find(all, target)?;
    Ok((endpoint, endpoint.origin.kept().ok_or(Problem::ManagedByFile)?))
}

/// The master keys where something is to be sealed: there is one at least.
pub(super) async fn keys_to_seal(gateway: &Gateway) -> Result<MasterKeys, Problem> {
    let keyring = gateway.endpoints.keyring();
    // A key that is made while another is missing would be in its place when it is restored.
    if keyring.keys().first().is_none()
        && let Some(missing) =
            gateway.endpoints.snapshot().all().iter().find_map(|endpoint| {
                endpoint.origin.kept().and_then(|kept| kept.keys().next().map(std::sync::Arc::from))
            })
    {
        return Err(Problem::NotOpened(OpenError::UnknownKey(missing)));
    }
    let keys = keyring.keys_to_seal().await?;
    if keys.first().is_some() { Ok(keys) } else { Err(Problem::NoMasterKey) }
}

/// Seals a signing secret for an endpoint.
pub(super) fn seal_secret(keys: &MasterKeys, id: &EndpointId, secret: &SigningSecret) -> Result<Sealed, Problem> {
    sealed(keys, Place::Secret(id), secret.text())
}

/// Seals the static headers of an endpoint; one without a value keeps the one that it has.
pub(super) fn seal_headers(
    keys: &MasterKeys,
    id: &EndpointId,
    headers: Headers,
    has: Option<&BTreeMap<String, Sealed>>,
) -> Result<BTreeMap<String, Sealed>, Problem> {
    let seal = |(name, value): (String, Option<String>)| {
        let sealed = match value {
            Some(value) => sealed(keys, Place::Header(id, &name), &value)?,
            None => has.and_then(|has| has.get(&name)).cloned().ok_or_else(|| {
                FieldError::new(format!("headers.{name}"), "has no value yet that could be kept", "give it one")
            })?,
        };
        Ok((name, sealed))
    };
    headers.into_iter().map(seal).collect()
}

fn sealed(keys: &MasterKeys, place: Place<'_>, text: &str) -> Result<Sealed, Problem> {
    let key = keys.first().ok_or(Problem::NoMasterKey)?;
    seal(key, place, text, random()?).ok_or(Problem::BodyTooLarge(API_BYTES_MAX))
}
