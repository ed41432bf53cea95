//! `/v1/suppressions`: may one write to this address? Errors are as everywhere under `/v1`; `422` for what is no address.
//! Upper and lower case are one, and a name before the address is passed over.

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use super::auth::authorize;
use super::body;
use super::problem::Problem;
use super::replays::read;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::suppression::{Reason, Suppression};

/// An address that is on the suppression list.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    address: String,
    reasons: Vec<Suppression>,
}

/// `GET /v1/suppressions/{address}`: why it is on the suppression list, with a key of scope `read`. `404` where it is not
/// on the list.
pub(super) async fn suppression(
    request: HttpRequest,
    gateway: Data<Gateway>,
    address: Path<String>,
) -> Result<Json<Listed>, Problem> {
    authorize(&gateway.api_keys, request.headers(), Scope::Read)?;
    let address = Address::parse(&address).ok_or(Problem::NotAnAddress)?;
    let listed = listed(&gateway, address).await?;
    if listed.reasons.is_empty() { Err(Problem::NotFound("suppression")) } else { Ok(Json(listed)) }
}

async fn listed(gateway: &Gateway, address: Address) -> Result<Listed, Problem> {
    let reasons = gateway.store.suppressions(&address).await?;
    Ok(Listed { address: address.as_str().to_owned(), reasons })
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    address: String,
    reason: Option<Reason>,
}

/// `POST /v1/suppressions` with `{"address", "reason"}`: puts it on the list, for `manual` unless told, with a key of
/// scope `write`. `201`, or `200` where it was there for this reason, and all that it is on the list for.
pub(super) async fn suppress(
    request: HttpRequest,
    gateway: Data<Gateway>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Write)?;
    let Asked { address, reason } = read(&body::of_api(&request, payload, &gateway).await?)?;
    let address = Address::parse(&address).ok_or(Problem::NotAnAddress)?;
    let reason = reason.unwrap_or(Reason::Manual);
    let is_new = gateway.store.suppress(&address, reason, gateway.clock.now()).await?;
    tracing::info!(api_key.name = key.name(), reason = reason.as_str(), is_new, "address suppressed");
    let mut answer = if is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(answer.json(listed(&gateway, address).await?))
}

/// `DELETE /v1/suppressions/{address}`: takes it off the list, whatever it was there for, with a key of scope `write`:
/// `204`, `404` where it was not on it. The next event that suppresses it puts it there again.
pub(super) async fn unsuppress(
    request: HttpRequest,
    gateway: Data<Gateway>,
    address: Path<String>,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Write)?;
    let address = Address::parse(&address).ok_or(Problem::NotAnAddress)?;
    if !gateway.store.unsuppress(&address).await? {
        return Err(Problem::NotFound("suppression"));
    }
    tracing::info!(api_key.name = key.name(), "address taken off the suppression list");
    Ok(HttpResponse::NoContent().finish())
}
