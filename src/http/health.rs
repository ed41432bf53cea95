//! Whether the process lives, and whether it can take work.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::problem::Problem;
use super::state::Gateway;

/// A prober does not wait for long.
const STORE_WITHIN: Duration = Duration::from_millis(900);

/// `GET /healthz`: `200` while the process lives.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "alive": true }))
}

/// `GET /readyz`: `200` when the store can take work, and `503` with `Retry-After` when it cannot, or while the
/// gateway is shutting down.
pub(super) async fn readyz(gateway: Data<Gateway>) -> Result<HttpResponse, Problem> {
    if gateway.is_draining() {
        return Err(Problem::ShuttingDown);
    }
    tokio::time::timeout(STORE_WITHIN, gateway.store.ready()).await.map_err(|_| Problem::StoreSlow)??;
    Ok(HttpResponse::Ok().json(json!({ "ready": true })))
}
