//! `/v1/webhooks`: the endpoints, made and changed while the gateways run. Looking needs an API key of scope `read`,
//! changing `write`, and to be shown a secret again `admin`. Those of the config file are shown too; the file alone
//! changes them.
//!
//! Errors are RFC 9457. Beside those of the rest of the API: `413` for a body over
//! 64 KiB, `422` for one that is no JSON object, and for a field that is unknown or wrong, which is named, and `409` where the endpoint is the config file's,
//! where an overlap is running, and where there is no master key to seal a secret with. A change is in force on every
//! gateway when it is answered.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

pub(super) use self::bodies::{changed, new, object};
use self::change::{Step, Target, change, current, find};
pub(super) use self::paths::{changes, changes_by_body, makes, paths};
pub(super) use self::view::WebhookView;
use super::auth::authorize;
use super::lists::{List, ListQuery};
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::endpoint::Endpoint;
use crate::domain::id::EndpointId;
use crate::store::{Page, PageQuery, StoreError};

mod bodies;
mod change;
mod fields;
mod logs;
mod paths;
mod sample;
mod secrets;
pub(super) mod service;
mod stats;
mod view;

type Answer = Result<HttpResponse, Problem>;

/// `GET /v1/webhooks?limit=&cursor=`: all, latest made first.
async fn list(request: HttpRequest, gateway: Data<Gateway>) -> Result<Json<List<WebhookView>>, Problem> {
    let key = authorize(&request, &gateway, Scope::Read)?;
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
    let key = authorize(&request, &gateway, Scope::Write)?;
    let given = service::object(&request, payload, &gateway).await?;
    let (endpoint, secret) = service::create(&gateway, key, &request, given, None).await?;
    let view = view(&gateway, endpoint, key.may(Scope::Admin));
    Ok(view.with_secret(secret).answer(StatusCode::CREATED))
}

/// `GET /v1/webhooks/{id}`.
pub(super) async fn show(request: HttpRequest, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    let key = authorize(&request, &gateway, Scope::Read)?;
    let all = current(&gateway).await?;
    let endpoint = find(&all, &Target::new(&request, &id))?.clone();
    Ok(view(&gateway, endpoint, key.may(Scope::Admin)).answer(StatusCode::OK))
}

/// `PUT` and `PATCH /v1/webhooks/{id}`: changes the fields that are given. `null` is a field's default; of a static
/// header, the value that it has.
async fn update(request: HttpRequest, payload: Payload, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let given = service::object(&request, payload, &gateway).await?;
    let endpoint = service::update(&gateway, key, &Target::new(&request, &id), given).await?;
    Ok(view(&gateway, endpoint, key.may(Scope::Admin)).answer(StatusCode::OK))
}

/// `DELETE /v1/webhooks/{id}`: `204`. What is pending for it ends as canceled. One of the config file can be deleted
/// when the file no longer has it.
pub(super) async fn delete(request: HttpRequest, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    let key = authorize(&request, &gateway, Scope::Write)?;
    service::delete(&gateway, key, &Target::new(&request, &id)).await?;
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
    let key = authorize(request, gateway, Scope::Write)?;
    let (target, now) = (Target::new(request, id), gateway.clock.now());
    let endpoint = change(gateway, key, |all| {
        find(all, &target)?.switched(on, now).map(Step::Put).map_err(|_| Problem::ManagedByFile)
    })
    .await?;
    tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), on, "webhook switched");
    Ok(view(gateway, endpoint, key.may(Scope::Admin)).answer(StatusCode::OK))
}

pub(super) fn view(gateway: &Gateway, endpoint: Endpoint, is_admin: bool) -> WebhookView {
    let keys = gateway.endpoints.keyring().keys();
    WebhookView::new(endpoint, is_admin.then_some(&keys), gateway.clock.now())
}
