//! Whether the process lives, whether it can take work, and what an operator says when it cannot.

use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::Serialize;

use super::audit::note;
use super::auth::authorize;
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::audit::Action;

/// A prober does not wait for long.
const STORE_WITHIN: Duration = Duration::from_millis(900);

/// The process lives.
#[derive(Serialize, JsonSchema)]
pub(super) struct Alive {
    alive: bool,
}

/// The store can take work.
#[derive(Serialize, JsonSchema)]
pub(super) struct Ready {
    ready: bool,
}

/// What there was to confirm.
#[derive(Serialize, JsonSchema)]
pub(super) struct Confirmed {
    /// Whether endpoints were lost.
    lost: bool,
}

/// `GET /healthz`: `200` while the process lives.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(Alive { alive: true })
}

/// `GET /readyz`: `200` when the store can take work, and `503` with `Retry-After` when it cannot, or while the
/// gateway is shutting down.
pub(super) async fn readyz(gateway: Data<Gateway>) -> Result<HttpResponse, Problem> {
    if gateway.is_draining() {
        return Err(Problem::ShuttingDown);
    }
    ask(&gateway).await?;
    Ok(HttpResponse::Ok().json(Ready { ready: true }))
}

/// Whether the store can take work.
pub(super) async fn ask(gateway: &Gateway) -> Result<(), Problem> {
    Ok(tokio::time::timeout(STORE_WITHIN, gateway.store.ready()).await.map_err(|_| Problem::StoreSlow)??)
}

/// `POST /v1/store/confirm`: goes on although the store came back without endpoints that the API had made; until then
/// providers are answered `503`. `200` with whether there was such a loss. Scope `admin`, and said to each gateway.
pub(super) async fn confirm(request: HttpRequest, gateway: Data<Gateway>) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Admin)?;
    note(&gateway, key, Action::StoreConfirmed, None).await?;
    let lost = gateway.endpoints.confirm_loss(gateway.store.as_ref()).await?;
    tracing::warn!(lost, api_key.name = key.name(), "told to go on with what the store holds");
    Ok(HttpResponse::Ok().json(Confirmed { lost }))
}
