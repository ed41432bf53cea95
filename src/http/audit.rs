//! `/v1/audit`: who changed what, and when.
//!
//! A change of endpoints is told by the commit that makes it. Every other is told before it is made, when it has been
//! found that it can be: so none is made that is not told, and one that then failed, or whose gateway died, is told all
//! the same.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};

use super::auth::authorize;
use super::lists::{List, ListQuery};
use super::problem::Problem;
use super::state::Gateway;
use crate::crash;
use crate::domain::access::{AccessKey, Scope};
use crate::domain::audit::{Action, Entry};
use crate::store::access::Kept;

/// Tells of a change that is about to be made, to something of this id.
///
/// # Errors
/// When the store cannot take it; then the change is not to be made.
pub(super) async fn note(
    gateway: &Gateway,
    key: &AccessKey,
    action: Action,
    target: Option<&str>,
) -> Result<(), Problem> {
    gateway.store.note(&[Entry::new(gateway.clock.now(), key.name(), action, target)]).await?;
    crash::point("audit.noted");
    Ok(())
}

/// `GET /v1/audit?limit=&cursor=`: the log, latest first, with a key of scope `admin`.
pub(super) async fn audit(request: HttpRequest, gateway: Data<Gateway>) -> Result<Json<List<Kept>>, Problem> {
    authorize(&request, &gateway, Scope::Admin)?;
    let page = ListQuery::read(request.query_string())?.page_alone()?;
    Ok(Json(gateway.store.audit(&page).await?.into()))
}
