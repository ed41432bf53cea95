//! `/v1/suppressions`: may one write to this address?

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use serde::Serialize;

use super::auth::authorize;
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::suppression::Suppression;

/// An address that is on the suppression list.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    address: String,
    reasons: Vec<Suppression>,
}

/// `GET /v1/suppressions/{address}`: why it is on the suppression list, with a key of scope `read`. Upper and lower case
/// are one. `404` where it is not on the list, `422` for what is no address.
pub(super) async fn suppression(
    request: HttpRequest,
    gateway: Data<Gateway>,
    address: Path<String>,
) -> Result<Json<Listed>, Problem> {
    authorize(&gateway.api_keys, request.headers(), Scope::Read)?;
    let address = Address::parse(&address).ok_or(Problem::NotAnAddress)?;
    let reasons = gateway.store.suppressions(&address).await?;
    if reasons.is_empty() {
        return Err(Problem::NotFound("suppression"));
    }
    Ok(Json(Listed { address: address.as_str().to_owned(), reasons }))
}
