//! The signing secrets of an endpoint: shown, rotated, revoked.

use std::cell::Cell;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change::{Step, Target, api_endpoint, change, current, find, keys_to_seal, seal_secret};
use super::service::{Chosen, choose_secret, object, shown_again};
use super::{Answer, fields, view};
use crate::domain::access::Scope;
use crate::domain::audit::Action;
use crate::domain::endpoint::{Endpoint, Origin};
use crate::domain::field::within;
use crate::domain::kept::{OVERLAP_DEFAULT, OVERLAP_MAX, OverlapRuns, open_secret};
use crate::http::audit::note;
use crate::http::auth::authorize;
use crate::http::idempotency::Once;
use crate::http::problem::Problem;
use crate::http::state::Gateway;

/// The live secrets of a webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Secrets")]
pub(super) struct Shown {
    secret: String,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<Old>,
}

/// The secret before, while it signs too.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OldSecret")]
struct Old {
    secret: String,
    created_at: Timestamp,
    expires_at: Timestamp,
}

/// `GET /v1/webhooks/{id}/secret`: the secrets that sign now. Scope `admin`.
pub(super) async fn show(request: HttpRequest, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    let key = authorize(&request, &gateway, Scope::Admin)?;
    let all = current(&gateway).await?;
    let (endpoint, kept) = api_endpoint(&all, &Target::new(&request, &id))?;
    let (keys, now) = (gateway.endpoints.keyring().keys(), gateway.clock.now());
    let mut shown: Option<Shown> = None;
    for secret in kept.live(now) {
        let text = open_secret(&endpoint.id, &keys, &secret.sealed).map_err(Problem::NotOpened)?.text().to_owned();
        match (&mut shown, secret.expires_at) {
            (Some(shown), Some(expires_at)) => {
                shown.old = Some(Old { secret: text, created_at: secret.created_at, expires_at });
            }
            _ => shown = Some(Shown { secret: text, created_at: secret.created_at, old: None }),
        }
    }
    note(&gateway, key, Action::SecretShown, Some(endpoint.id.as_str())).await?;
    tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), "webhook secret shown");
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(shown))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// For how long the secret before signs too.
    #[schemars(range(max = OVERLAP_MAX.as_secs()))]
    overlap_s: Option<u64>,
}

/// `POST /v1/webhooks/{id}/rotate` with `{"overlap_s": 86400, "secret": …}`, both optional: `200` and the endpoint, with
/// the new secret if it was generated. For `overlap_s` (0 to 7 days, 24 h unless told) both secrets sign. While an
/// overlap runs another rotation is `409`, for at most two secrets sign at a time; with `overlap_s` of 0 it is done, and
/// ends both others. Scope `write`: who may give the endpoint another URL may give it another secret. The same asked again
/// with its `Idempotency-Key` rotates nothing.
pub(super) async fn rotate(request: HttpRequest, payload: Payload, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let mut given = object(&request, payload, &gateway).await?;
    let asked = serde_json::to_vec(&given).map_err(|_| Problem::BadBody("it is no JSON object".into()))?;
    let Chosen { secret, shown } = choose_secret(&mut given)?;
    let Rotation { overlap_s } = fields::read(given)?;
    let overlap_s = overlap_s.unwrap_or(OVERLAP_DEFAULT.as_secs());
    within("overlap_s", overlap_s, 0, OVERLAP_MAX.as_secs())?;
    // One that could not go on does not have a key made first.
    let target = Target::new(&request, &id);
    api_endpoint(&current(&gateway).await?, &target.unseen())?;
    let keys = keys_to_seal(&gateway).await?;
    let once = Once::begin(&gateway, key, &request, &asked).await?;
    let (now, mark, is_again) = (gateway.clock.now(), once.mark(), Cell::new(false));
    let endpoint = change(&gateway, key, |all| {
        let (endpoint, kept) = api_endpoint(all, &target.unseen())?;
        is_again.set(once.made.is_some() || kept.has_of(&mark));
        if is_again.get() {
            return Ok(Step::Keep(endpoint.clone()));
        }
        find(all, &target)?;
        fields::check_secret(&endpoint.settings, &secret)?;
        let sealed = seal_secret(&keys, &endpoint.id, &secret)?;
        // One that does not open cannot sign on, and would keep the new one from signing.
        let is_lost = kept.open(&endpoint.id, &keys).live(now).is_err();
        let overlap = Duration::from_secs(if is_lost { 0 } else { overlap_s });
        let kept = kept.rotated(sealed, overlap, now);
        let kept = kept.map_err(|OverlapRuns { until }| Problem::OverlapRuns(until))?.made_by(&mark);
        Ok(Step::Put(Endpoint { origin: Origin::Api(kept), ..endpoint.clone() }))
    })
    .await?;
    once.settle(&gateway, "").await?;
    let shown = if is_again.get() && shown.is_some() {
        shown_again(&gateway, key, &endpoint, &once).await?
    } else {
        tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), overlap_s, "webhook secret rotated");
        shown
    };
    let view = view(&gateway, endpoint, key.may(Scope::Admin));
    Ok(view.with_secret(shown).answer(StatusCode::OK))
}

/// `DELETE /v1/webhooks/{id}/secrets/old`: ends an overlap now; `404` when none is running.
pub(super) async fn revoke_old(request: HttpRequest, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let (target, now) = (Target::new(&request, &id), gateway.clock.now());
    let endpoint = change(&gateway, key, |all| {
        let (endpoint, kept) = api_endpoint(all, &target)?;
        kept.old(now).ok_or(Problem::NotFound("old secret"))?;
        Ok(Step::Put(Endpoint { origin: Origin::Api(kept.pruned(true, now)), ..endpoint.clone() }))
    })
    .await?;
    tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), "old webhook secret revoked");
    Ok(HttpResponse::NoContent().finish())
}
