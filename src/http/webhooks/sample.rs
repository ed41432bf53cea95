//! A sample for an endpoint.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::domain::access::Scope;
use crate::domain::audit::Action;
use crate::domain::field::FieldError;
use crate::domain::id::{DeliveryId, EndpointId, EventId};
use crate::domain::sample;
use crate::domain::subscription::Subscription;
use crate::http::audit::note;
use crate::http::auth::authorize;
use crate::http::body;
use crate::http::idempotency::Once;
use crate::http::openapi::AnyEventWord;
use crate::http::problem::Problem;
use crate::http::replays::{check_endpoint, refresh};
use crate::http::state::Gateway;
use crate::store::Ingested;

/// How often it is planned before it is given up; each time the endpoint set has just changed.
const PLANS_MAX: usize = 5;

/// A sample to be sent.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedSample {
    /// Its type; left out, the first that the endpoint asks for.
    #[serde(rename = "type")]
    #[schemars(with = "Option<AnyEventWord>")]
    kind: Option<String>,
}

/// A sample that is on its way.
#[derive(Serialize, JsonSchema)]
pub(super) struct Sample {
    event_id: EventId,
    delivery_id: DeliveryId,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// `POST /v1/webhooks/{id}/test` with `{"type": "email.bounced"}`: sends the endpoint a sample of this type, which may be
/// any and has any of its names; left out, it is the first that the endpoint asks for. `202` with the ids of the event and
/// of its delivery, which is signed, tried again and logged like any other. The event is made up (`provider.test`), is in
/// no list and no feed, and suppresses nobody. `404` where there is no such endpoint, `409` when it is disabled.
pub(super) async fn send(
    request: HttpRequest,
    payload: Payload,
    gateway: Data<Gateway>,
    id: Path<EndpointId>,
) -> Answer {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let body = body::of_api(&request, payload, &gateway).await?;
    let AskedSample { kind } = body::fields(&body)?;
    let asked = kind.map(|word| Subscription::new(vec![word])).transpose();
    let asked = asked.map_err(|error| FieldError::told("type", &error))?;
    let once = Once::begin(&gateway, key, &request, &body).await?;
    let event_id = EventId::operational(&[b"sample", &once.bits]);
    let mut is_told = once.made.is_some();
    let now = gateway.clock.now();
    for _ in 0..PLANS_MAX {
        refresh(&gateway).await?;
        let snapshot = gateway.endpoints.snapshot();
        let endpoint = snapshot.endpoint(&id).ok_or(Problem::NotFound("webhook"))?;
        check_endpoint(&gateway, &id)?;
        if endpoint.settings.fetches {
            return Err(Problem::NotReplayable(format!("`{id}` fetches the content of mails, and is sent nothing")));
        }
        let asked = asked.as_ref().unwrap_or(&endpoint.settings.events);
        let kind = sample::kind(asked).ok_or(Problem::NotFound("type that the webhook asks for"))?;
        if !std::mem::replace(&mut is_told, true) {
            note(&gateway, key, Action::WebhookTested, Some(id.as_str())).await?;
        }
        let planned = sample::plan(event_id.clone(), kind, endpoint.id.clone(), snapshot.generation(), now)?;
        if gateway.store.ingest(planned).await? != Ingested::Stale {
            once.settle(&gateway, event_id.as_str()).await?;
            let delivery_id = DeliveryId::of(&event_id, &id, None);
            tracing::info!(endpoint.id = %endpoint.id, api_key.name = key.name(), "sample sent");
            return Ok(HttpResponse::Accepted().json(Sample { event_id, delivery_id, kind: kind.as_str() }));
        }
    }
    Err(Problem::Unsettled)
}
