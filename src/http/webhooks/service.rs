//! What is done to endpoints, whichever API it is asked of. Who asks has been authorized.

use actix_web::HttpRequest;
use actix_web::http::Uri;
use actix_web::web::Payload;
use serde::Serialize;
use serde_json::Value;

use super::change::{Step, api_endpoint, change, find, keys_to_seal, seal_headers, seal_secret};
pub(in crate::http) use super::change::{Target, current};
pub(in crate::http) use super::fields::Given;
use super::fields::{self, Known};
use super::view::{self, WebhookView};
use crate::domain::access::{AccessKey, Scope};
use crate::domain::audit::Action;
use crate::domain::endpoint::{DisabledReason, Endpoint, Origin};
use crate::domain::field::FieldError;
use crate::domain::format::Format;
use crate::domain::id::EndpointId;
use crate::domain::kept::{Kept, open_secret};
use crate::domain::seal::MasterKeys;
use crate::domain::secret::SigningSecret;
use crate::http::audit::note;
use crate::http::body;
use crate::http::idempotency::Once;
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::keyring::random;
use crate::store::StoreError;

/// Above it a float is not exact.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// The most endpoints that there can be: every gateway holds them all in memory.
const ENDPOINTS_MAX: usize = 10_000;

/// The JSON object of a body; an empty body is an empty object.
pub(in crate::http) async fn object(
    request: &HttpRequest,
    payload: Payload,
    gateway: &Gateway,
) -> Result<Given, Problem> {
    let bytes = body::of_api(request, payload, gateway).await?;
    if bytes.is_empty() {
        return Ok(Given::new());
    }
    let mut given: Given =
        serde_json::from_slice(&bytes).map_err(|_| Problem::BadBody("it is no JSON object".into()))?;
    given.values_mut().for_each(whole);
    Ok(given)
}

/// `10.0` is the number `10`, in JSON; some write it so.
fn whole(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(whole),
        Value::Number(number) => {
            let whole =
                number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < WHOLE_MAX);
            if let Some(float) = whole {
                *value = (float as i64).into();
            }
        }
        _ => {}
    }
}

/// Makes an endpoint. `route` is the format of the route it is asked on, where that is one format's own. Answers it with
/// its secret, if that was generated: it is shown this once. The same asked again with its `Idempotency-Key` makes nothing.
pub(in crate::http) async fn create(
    gateway: &Gateway,
    key: &AccessKey,
    request: &HttpRequest,
    mut given: Given,
    route: Option<Format>,
) -> Result<(Endpoint, Option<String>), Problem> {
    let asked = serde_json::to_vec(&given).map_err(|_| Problem::BadBody("it is no JSON object".into()))?;
    let Chosen { secret, shown } = choose_secret(&mut given)?;
    let known = Known { sources: &gateway.sources.all(), networks: &gateway.networks, route };
    let (settings, headers) = fields::settings(given, std::slice::from_ref(&secret), &known, |_| true)?;
    let keys = keys_to_seal(gateway).await?;
    let once = Once::begin(gateway, key, request, &asked).await?;
    let id = EndpointId::random(once.bits);
    let now = gateway.clock.now();
    // Whole seconds, as the users of this API know it.
    let created_at = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    let sealed = seal_secret(&keys, &id, &secret)?;
    let kept = Kept::new(sealed, seal_headers(&keys, &id, headers, None)?, now).made_by(&once.mark());
    let active = settings.active;
    let origin = Origin::Api(kept.clone());
    // Numbered when it is added.
    let endpoint = Endpoint { id, number: 0, settings, origin, disabled: None, enabled_at: None, created_at };
    let endpoint = endpoint.switched(active, now).map_err(|_| Problem::ManagedByFile)?;
    let endpoint = change(gateway, key, |all| {
        if let Some(made) = all.iter().find(|made| made.id == endpoint.id) {
            return Ok(Step::Keep(made.clone()));
        }
        if once.made.is_some() {
            return Err(Problem::NotFound("webhook: this `Idempotency-Key` made it, and it was deleted since"));
        }
        if all.len() >= ENDPOINTS_MAX {
            return Err(Problem::TooManyWebhooks(ENDPOINTS_MAX));
        }
        Ok(Step::Add(endpoint.clone()))
    })
    .await?;
    once.settle(gateway, endpoint.id.as_str()).await?;
    if endpoint.origin.kept() == Some(&kept) {
        tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), "webhook created");
        return Ok((endpoint, shown));
    }
    let secret = if shown.is_some() { shown_again(gateway, key, &endpoint, &once).await? } else { None };
    Ok((endpoint, secret))
}

/// The secret that was generated for a request, when that is made again: its first answer may have been lost. One that has
/// taken its place since is for scope `admin`.
pub(super) async fn shown_again(
    gateway: &Gateway,
    key: &AccessKey,
    endpoint: &Endpoint,
    once: &Once,
) -> Result<Option<String>, Problem> {
    let Some(made) = endpoint.origin.kept().and_then(|kept| kept.newest_of(&once.mark())) else { return Ok(None) };
    let keys = gateway.endpoints.keyring().keys();
    let secret = open_secret(&endpoint.id, &keys, &made.sealed).map_err(Problem::NotOpened)?;
    note(gateway, key, Action::SecretShown, Some(endpoint.id.as_str())).await?;
    tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), "webhook secret shown again");
    Ok(Some(secret.text().to_owned()))
}

/// Changes the fields that are given.
pub(in crate::http) async fn update(
    gateway: &Gateway,
    key: &AccessKey,
    target: &Target<'_>,
    given: Given,
) -> Result<Endpoint, Problem> {
    let needs_key = given.get("headers").and_then(|headers| headers.as_object());
    let keys = if needs_key.is_some_and(|headers| headers.values().any(|value| !value.is_null())) {
        keys_to_seal(gateway).await?
    } else {
        gateway.endpoints.keyring().keys()
    };
    let endpoint = change(gateway, key, |all| {
        let (endpoint, kept) = api_endpoint(all, target)?;
        updated(gateway, endpoint, kept, &given, &keys, key.may(Scope::Admin)).map(Step::Put)
    })
    .await?;
    tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), "webhook changed");
    Ok(endpoint)
}

/// Deletes it. One of the config file can be deleted when the file no longer has it.
pub(in crate::http) async fn delete(gateway: &Gateway, key: &AccessKey, target: &Target<'_>) -> Result<(), Problem> {
    let endpoint = change(gateway, key, |all| {
        let endpoint = find(all, target)?;
        let has_gone = endpoint.disabled.as_ref().is_some_and(|why| why.reason == DisabledReason::Removed);
        if endpoint.origin == Origin::File && !has_gone {
            return Err(Problem::ManagedByFile);
        }
        Ok(Step::Remove(endpoint.clone()))
    })
    .await?;
    tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), "webhook deleted");
    Ok(())
}

fn updated(
    gateway: &Gateway,
    endpoint: &Endpoint,
    kept: &Kept,
    given: &Given,
    keys: &MasterKeys,
    is_admin: bool,
) -> Result<Endpoint, Problem> {
    let now = gateway.clock.now();
    let given = without_shown(given, &json(&WebhookView::new(endpoint.clone(), None, now))?)?;
    let names: Vec<_> = kept.headers.keys().map(String::as_str).collect();
    let fields = fields::merged(&json(&endpoint.settings)?, &names, &given);
    let opened = kept.open(&endpoint.id, keys);
    // A header that does not open may be what is given again.
    let secrets = opened.live(now).map_err(|error| Problem::NotOpened(error.clone()))?;
    let known = Known { sources: &gateway.sources.all(), networks: &gateway.networks, route: None };
    let (settings, headers) = fields::settings(fields, secrets, &known, |name| given.contains_key(name))?;
    // Else whoever may not see a credential could have it sent to a host of their own.
    if !is_admin && headers.values().any(Option::is_none) && !is_same_host(&settings.url, &endpoint.settings.url) {
        let remedy = "give their values again, or use an API key of scope `admin`";
        return Err(FieldError::new("headers", "were set for another host than that of the new `url`", remedy).into());
    }
    let mut kept = kept.pruned(false, now);
    kept.headers = seal_headers(keys, &endpoint.id, headers, Some(&kept.headers))?;
    let active = settings.active;
    let next = Endpoint { settings, origin: Origin::Api(kept), ..endpoint.clone() };
    if !given.contains_key("active") {
        return Ok(next);
    }
    next.switched(active, now).map_err(|_| Problem::ManagedByFile)
}

fn is_same_host(one: &str, other: &str) -> bool {
    let host = |url: &str| url.parse::<Uri>().ok().map(|url| (url.scheme().cloned(), url.authority().cloned()));
    host(one) == host(other)
}

/// What was given without the fields that are shown only, which may come back as they were shown.
fn without_shown(given: &Given, shown: &Value) -> Result<Given, Problem> {
    let mut given = given.clone();
    for name in view::SHOWN_ONLY {
        if given.remove(name).is_some_and(|value| value != shown[name]) {
            return Err(FieldError::new(name, "cannot be set", "leave it out").into());
        }
    }
    if given.contains_key("secret") {
        let remedy = "use POST /v1/webhooks/{id}/rotate, which lets the old one sign on for a while";
        return Err(FieldError::new("secret", "is not changed here", remedy).into());
    }
    Ok(given)
}

fn json(value: &impl Serialize) -> Result<Value, StoreError> {
    serde_json::to_value(value).map_err(|_| StoreError::Corrupt("an endpoint that cannot be written".into()))
}

/// A new secret, and what is shown of it: nothing if the caller gave it.
pub(super) struct Chosen {
    pub(super) secret: SigningSecret,
    pub(super) shown: Option<String>,
}

pub(super) fn choose_secret(given: &mut Given) -> Result<Chosen, Problem> {
    if let Some(secret) = fields::take_secret(given)? {
        return Ok(Chosen { secret, shown: None });
    }
    let secret = SigningSecret::generated(random()?);
    let shown = Some(secret.text().to_owned());
    Ok(Chosen { secret, shown })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::whole;

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        let mut value = json!([10.0, [0.0, -3.0], 2.5, 1e300, 7, "1.0", { "x": 1.0 }]);
        whole(&mut value);
        assert_eq!(value, json!([10, [0, -3], 2.5, 1e300, 7, "1.0", { "x": 1.0 }]));
    }
}
