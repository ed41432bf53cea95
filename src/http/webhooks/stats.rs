//! `GET /v1/webhooks/{id}/stats`: what became of an endpoint's attempts and deliveries, as numbers.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use schemars::JsonSchema;
use serde::Serialize;

use super::change::{Target, current, find};
use crate::domain::access::Scope;
use crate::domain::id::EndpointId;
use crate::http::auth::authorize;
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::http::stats::{DeliveryStats, asked, delivery_stats};

/// What is shown.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WebhookStats {
    endpoint_id: EndpointId,
    /// How many deliveries are pending now.
    pending: usize,
    #[serde(flatten)]
    stats: DeliveryStats,
}

/// `GET /v1/webhooks/{id}/stats?hours=`: of the last hours, 24 unless told, with a key of scope `read`. Why there was no
/// answer is told to scope `admin` only.
pub(super) async fn show(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<Json<WebhookStats>, Problem> {
    let key = authorize(&request, &gateway, Scope::Read)?;
    let hours = asked(&gateway, request.query_string())?;
    let endpoint = find(&current(&gateway).await?, &Target::new(&request, &id))?.id.clone();
    let stats = delivery_stats(&gateway, &endpoint, hours, key.may(Scope::Admin)).await?;
    let pending = gateway.store.pending_to(&endpoint).await?;
    Ok(Json(WebhookStats { endpoint_id: endpoint, pending, stats }))
}
