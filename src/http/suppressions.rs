//! `/v1/suppressions`: may one write to this address? Errors are as everywhere under `/v1`; `422` for what is no address.
//! Upper and lower case are one, and a name before the address is passed over.

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::filtered;
use super::audit::note;
use super::auth::authorize;
use super::body;
use super::idempotency::Once;
use super::lists::{List, page, read_query};
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::audit::Action;
use crate::domain::id::SuppressionId;
use crate::domain::suppression::{Reason, Suppressed, Suppression};
use crate::store::Page;

/// An address that is on the suppression list.
#[derive(Debug, Serialize, JsonSchema)]
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
    authorize(&request, &gateway, Scope::Read)?;
    let address = Address::parse(&address).ok_or(Problem::NotAnAddress)?;
    let listed = listed(&gateway, address).await?;
    if listed.reasons.is_empty() { Err(Problem::NotFound("suppression")) } else { Ok(Json(listed)) }
}

async fn listed(gateway: &Gateway, address: Address) -> Result<Listed, Problem> {
    let reasons = gateway.store.suppressions(&address).await?;
    Ok(Listed { address: address.as_str().to_owned(), reasons })
}

/// What is asked of the list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    limit: Option<String>,
    cursor: Option<String>,
    reason: Option<String>,
}

/// An address of the list of all.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Suppressed")]
pub(super) struct Item {
    id: SuppressionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    reasons: Vec<Suppression>,
}

impl From<Suppressed> for Item {
    fn from(Suppressed { id, address, reasons }: Suppressed) -> Self {
        Self { id, address: address.map(|address| address.as_str().to_owned()), reasons }
    }
}

/// `GET /v1/suppressions?reason=&limit=&cursor=`: all that is on the list, in no order that means anything, with a key of
/// scope `read`. Addresses are kept as hashes, so an item has its `address` only while an event that gave a reason is kept.
/// With `reason`, a part may hold fewer than asked for and still have more after it.
pub(super) async fn suppressions(request: HttpRequest, gateway: Data<Gateway>) -> Result<Json<List<Item>>, Problem> {
    authorize(&request, &gateway, Scope::Read)?;
    let Query { limit, cursor, reason } = read_query(request.query_string())?;
    let page = page(limit.as_deref(), cursor)?;
    let reason = reason.map(|word| {
        Reason::by_name(&word).ok_or_else(|| {
            let words = Reason::ALL.map(|reason| format!("`{}`", reason.as_str())).join(", ");
            Problem::BadQuery(format!("`reason` is one of {words}"))
        })
    });
    let reason = reason.transpose()?;
    let wants = |item: &Suppressed| reason.is_none_or(|wanted| item.reasons.iter().any(|one| one.reason == wanted));
    let found = filtered(page, async |page| gateway.store.suppressed(page).await, wants).await?;
    Ok(Json(Page { items: found.items.into_iter().map(Item::from).collect(), next: found.next }.into()))
}

/// What a request made that put an address on the list for a reason that it was not there for.
const NEW: &str = "new";

/// An address to be put on the suppression list.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToSuppress {
    #[schemars(email)]
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
    let key = authorize(&request, &gateway, Scope::Write)?;
    let body = body::of_api(&request, payload, &gateway).await?;
    let ToSuppress { address, reason } = body::fields(&body)?;
    let address = Address::parse(&address).ok_or(Problem::NotAnAddress)?;
    let reason = reason.unwrap_or(Reason::Manual);
    let once = Once::begin(&gateway, key, &request, &body).await?;
    let is_new = match once.made.as_deref() {
        // It may have been taken off since.
        Some(made) => made == NEW,
        None => {
            let target = gateway.store.address_id(&address).await?;
            once.tell(&gateway, key, Action::AddressSuppressed, Some(target.as_str())).await?;
            let is_new = gateway.store.suppress(&address, reason, gateway.clock.now()).await?;
            tracing::info!(api_key.name = key.name(), reason = reason.as_str(), is_new, "address suppressed");
            once.settle(&gateway, if is_new { NEW } else { "known" }).await?;
            is_new
        }
    };
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
    let key = authorize(&request, &gateway, Scope::Write)?;
    let address = Address::parse(&address).ok_or(Problem::NotAnAddress)?;
    let gone = Problem::NotFound("suppression");
    if gateway.store.suppressions(&address).await?.is_empty() {
        return Err(gone);
    }
    let target = gateway.store.address_id(&address).await?;
    note(&gateway, key, Action::AddressUnsuppressed, Some(target.as_str())).await?;
    if !gateway.store.unsuppress(&address).await? {
        return Err(gone);
    }
    tracing::info!(api_key.name = key.name(), "address taken off the suppression list");
    Ok(HttpResponse::NoContent().finish())
}
