//! `/v1/recipients`: the persons of whom something was received. Errors are as everywhere under `/v1`; `422` for what is no
//! address.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::auth::authorize;
use super::idempotency::Once;
use super::inbound;
use super::jobs::begin;
use super::lists::read_query;
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::audit::Action;
use crate::domain::erasure::{Erasure, OnList};
use crate::domain::id::ReplayId;
use crate::domain::job::Job;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    suppression: OnList,
}

/// `DELETE /v1/recipients/{address}?suppression=`: a job that erases all that was received until now and names the address,
/// with a key of scope `admin`. `202` with the job, which is watched at `/v1/replays/{id}` and never tells the address;
/// `gone_by` says by when at the latest the bytes have left the disk. Events and requests that name it are given to nobody
/// any more, and a provider's resend of them is a repeat; what is pending of them is canceled; what endpoints answered is
/// blanked. On the suppression list the address stays as the hash that it is, or with `suppression=remove` is taken off it.
/// `409` when too many jobs are under way.
pub(super) async fn erase(
    request: HttpRequest,
    gateway: Data<Gateway>,
    address: Path<String>,
) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Admin)?;
    let Asked { suppression } = read_query(request.query_string())?;
    let address = Address::parse(&address).ok_or(Problem::NotAnAddress)?;
    let once = Once::begin(&gateway, key, &request, request.query_string().as_bytes()).await?;
    let (id, now) = (ReplayId::from_bits(once.bits), gateway.clock.now());
    tracing::info!(api_key.name = key.name(), replay.id = %id, "the erasure of a person was asked for");
    let erasure = Erasure::new(address, suppression, now, inbound::committed_within(&gateway));
    let job = Job::erasure(id.clone(), erasure, now);
    begin(&gateway, key, &once, (Action::RecipientErased, Some(id.as_str())), job).await
}
