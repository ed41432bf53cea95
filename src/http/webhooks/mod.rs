//! `/v1/webhooks`: the endpoints, made and changed while the gateways run. Looking needs an API key of scope `read`,
//! changing `write`, and to be shown a secret again `admin`. Those of the config file are shown too; the file alone
//! changes them.
//!
//! Errors are RFC 9457. Beside those of the rest of the API: `413` for a body over
//! 64 KiB, `422` for one that is no JSON object, and for a field that is unknown or wrong, which is named, and `409` where the endpoint is the config file's,
//! where an overlap is running, and where there is no master key to seal a secret with. A change is in force on every
//! gateway when it is answered.

use actix_web::http::{StatusCode, Uri};
use actix_web::web::{self, Data, Json, Path, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::Value;

use self::change::{Step, api_endpoint, change, current, find, keys_to_seal, seal_headers, seal_secret};
use self::fields::{Given, Known};
use self::view::WebhookView;
use super::auth::authorize;
use super::body;
use super::lists::{List, ListQuery};
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::endpoint::{DisabledReason, Endpoint, Origin};
use crate::domain::field::FieldError;
use crate::domain::id::EndpointId;
use crate::domain::kept::Kept;
use crate::domain::seal::MasterKeys;
use crate::domain::secret::SigningSecret;
use crate::keyring::random;
use crate::store::{Page, PageQuery, StoreError};

mod change;
mod fields;
mod secrets;
mod view;

/// The most endpoints that there can be: every gateway holds them all in memory.
const ENDPOINTS_MAX: usize = 10_000;

type Answer = Result<HttpResponse, Problem>;

/// Adds the routes.
pub(super) fn configure(app: &mut ServiceConfig) {
    let other = |allowed| web::to(move || async move { Err::<HttpResponse, _>(Problem::MethodNotAllowed(allowed)) });
    app.service(
        web::resource("/v1/webhooks")
            .route(web::get().to(list))
            .route(web::post().to(create))
            .default_service(other("GET, POST")),
    )
    .service(
        web::resource("/v1/webhooks/{id}")
            .route(web::get().to(show))
            .route(web::put().to(update))
            .route(web::patch().to(update))
            .route(web::delete().to(delete))
            .default_service(other("GET, PUT, PATCH, DELETE")),
    )
    .service(web::resource("/v1/webhooks/{id}/enable").route(web::post().to(enable)).default_service(other("POST")))
    .service(web::resource("/v1/webhooks/{id}/disable").route(web::post().to(disable)).default_service(other("POST")))
    .service(
        web::resource("/v1/webhooks/{id}/secret").route(web::get().to(secrets::show)).default_service(other("GET")),
    )
    .service(
        web::resource("/v1/webhooks/{id}/secrets/old")
            .route(web::delete().to(secrets::revoke_old))
            .default_service(other("DELETE")),
    )
    .service(
        web::resource("/v1/webhooks/{id}/rotate").route(web::post().to(secrets::rotate)).default_service(other("POST")),
    );
}

/// `GET /v1/webhooks?limit=&cursor=`: all, latest made first.
async fn list(request: HttpRequest, gateway: Data<Gateway>) -> Result<Json<List<WebhookView>>, Problem> {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Read)?;
    let page = ListQuery::read(request.query_string())?.page_alone()?;
    let page = part(current(&gateway).await?, &page)?;
    let items = page.items.into_iter().map(|endpoint| view(&gateway, endpoint, key.may(Scope::Admin))).collect();
    Ok(Json(Page { items, next: page.next }.into()))
}

/// A part of the list; its cursor is the last that was shown.
fn part(mut all: Vec<Endpoint>, page: &PageQuery) -> Result<Page<Endpoint>, StoreError> {
    let place = |endpoint: &Endpoint| (std::cmp::Reverse(endpoint.created_at.as_microsecond()), endpoint.id.clone());
    all.sort_by_cached_key(place);
    if let Some(cursor) = &page.cursor {
        let (micros, id) = cursor.split_once('.').ok_or(StoreError::BadCursor)?;
        let micros: i64 = micros.parse().map_err(|_| StoreError::BadCursor)?;
        let last = (std::cmp::Reverse(micros), EndpointId::from(id));
        all.retain(|endpoint| place(endpoint) > last);
    }
    let has_more = all.len() > page.limit;
    all.truncate(page.limit);
    let next = all.last().filter(|_| has_more);
    let next = next.map(|last| format!("{}.{}", last.created_at.as_microsecond(), last.id));
    Ok(Page { items: all, next })
}

/// `POST /v1/webhooks`: `201` and the endpoint. Without a `secret` one is generated, and shown in this answer.
async fn create(request: HttpRequest, payload: Payload, gateway: Data<Gateway>) -> Answer {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Write)?;
    let mut given = object(&request, payload, &gateway).await?;
    let Chosen { secret, shown } = choose_secret(&mut given)?;
    let known = Known { sources: &gateway.sources.all(), networks: &gateway.networks };
    let (settings, headers) = fields::settings(given, std::slice::from_ref(&secret), &known, |_| true)?;
    let keys = keys_to_seal(&gateway).await?;
    let id = EndpointId::random(random()?);
    let now = gateway.clock.now();
    // Whole seconds, as the users of this API know it.
    let created_at = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    let sealed = seal_secret(&keys, &id, &secret)?;
    let kept = Kept::new(sealed, seal_headers(&keys, &id, headers, None)?, now);
    let active = settings.active;
    let endpoint = Endpoint { id, settings, origin: Origin::Api(kept), disabled: None, enabled_at: None, created_at };
    let endpoint = endpoint.switched(active, now).map_err(|_| Problem::ManagedByFile)?;
    let endpoint = change(&gateway, |all| {
        if all.len() >= ENDPOINTS_MAX {
            return Err(Problem::TooManyWebhooks(ENDPOINTS_MAX));
        }
        Ok(Step::Put(endpoint.clone()))
    })
    .await?;
    tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), "webhook created");
    let view = view(&gateway, endpoint, key.may(Scope::Admin));
    Ok(view.with_secret(shown).answer(StatusCode::CREATED))
}

/// `GET /v1/webhooks/{id}`.
async fn show(request: HttpRequest, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Read)?;
    let all = current(&gateway).await?;
    let endpoint = find(&all, &id)?.clone();
    Ok(view(&gateway, endpoint, key.may(Scope::Admin)).answer(StatusCode::OK))
}

/// `PUT` and `PATCH /v1/webhooks/{id}`: changes the fields that are given. `null` is a field's default; of a static
/// header, the value that it has.
async fn update(request: HttpRequest, payload: Payload, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Write)?;
    let given = object(&request, payload, &gateway).await?;
    let needs_key = given.get("headers").and_then(|headers| headers.as_object());
    let keys = if needs_key.is_some_and(|headers| headers.values().any(|value| !value.is_null())) {
        keys_to_seal(&gateway).await?
    } else {
        gateway.endpoints.keyring().keys()
    };
    let endpoint = change(&gateway, |all| {
        let (endpoint, kept) = api_endpoint(all, &id)?;
        updated(&gateway, endpoint, kept, &given, &keys, key.may(Scope::Admin)).map(Step::Put)
    })
    .await?;
    tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), "webhook changed");
    Ok(view(&gateway, endpoint, key.may(Scope::Admin)).answer(StatusCode::OK))
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
    let known = Known { sources: &gateway.sources.all(), networks: &gateway.networks };
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

/// `DELETE /v1/webhooks/{id}`: `204`. What is pending for it ends as canceled. One of the config file can be deleted
/// when the file no longer has it.
async fn delete(request: HttpRequest, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Write)?;
    let endpoint = change(&gateway, |all| {
        let endpoint = find(all, &id)?;
        let has_gone = endpoint.disabled.as_ref().is_some_and(|why| why.reason == DisabledReason::Removed);
        if endpoint.origin == Origin::File && !has_gone {
            return Err(Problem::ManagedByFile);
        }
        Ok(Step::Remove(endpoint.clone()))
    })
    .await?;
    tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), "webhook deleted");
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /v1/webhooks/{id}/enable`: it gets what comes in from now on.
async fn enable(request: HttpRequest, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    switch(&request, &gateway, &id, true).await
}

/// `POST /v1/webhooks/{id}/disable`: what comes in and what is pending for it is skipped.
async fn disable(request: HttpRequest, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    switch(&request, &gateway, &id, false).await
}

async fn switch(request: &HttpRequest, gateway: &Gateway, id: &str, on: bool) -> Answer {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Write)?;
    let now = gateway.clock.now();
    let endpoint =
        change(gateway, |all| find(all, id)?.switched(on, now).map(Step::Put).map_err(|_| Problem::ManagedByFile))
            .await?;
    tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), on, "webhook switched");
    Ok(view(gateway, endpoint, key.may(Scope::Admin)).answer(StatusCode::OK))
}

fn json(value: &impl Serialize) -> Result<Value, StoreError> {
    serde_json::to_value(value).map_err(|_| StoreError::Corrupt("an endpoint that cannot be written".into()))
}

fn view(gateway: &Gateway, endpoint: Endpoint, is_admin: bool) -> WebhookView {
    let keys = gateway.endpoints.keyring().keys();
    WebhookView::new(endpoint, is_admin.then_some(&keys), gateway.clock.now())
}

/// The JSON object of a body; an empty body is an empty object.
async fn object(request: &HttpRequest, payload: Payload, gateway: &Gateway) -> Result<Given, Problem> {
    let bytes = body::of_api(request, payload, gateway).await?;
    if bytes.is_empty() {
        return Ok(Given::new());
    }
    serde_json::from_slice(&bytes).map_err(|_| Problem::BadBody("it is no JSON object".into()))
}

/// A new secret, and what is shown of it: nothing if the caller gave it.
struct Chosen {
    secret: SigningSecret,
    shown: Option<String>,
}

fn choose_secret(given: &mut Given) -> Result<Chosen, Problem> {
    if let Some(secret) = fields::take_secret(given)? {
        return Ok(Chosen { secret, shown: None });
    }
    let secret = SigningSecret::generated(random()?);
    let shown = Some(secret.text().to_owned());
    Ok(Chosen { secret, shown })
}
