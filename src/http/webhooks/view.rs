//! An endpoint as the API shows it.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ETag, EntityTag, LOCATION};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::change::etag;
use crate::domain::endpoint::{Disabled, Endpoint, EndpointSettings, Origin};
use crate::domain::id::EndpointId;
use crate::domain::seal::{MasterKeys, Place, open};

/// A webhook: an endpoint, and how it is served.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
pub(in crate::http) struct WebhookView {
    /// Its id.
    pub(super) id: EndpointId,
    // `active` is whether it gets anything; its headers are below.
    #[serde(flatten)]
    settings: EndpointSettings,
    /// Its static headers. A value may be a credential: it is null but for scope `admin`.
    headers: BTreeMap<String, Option<String>>,
    /// When it was made.
    created_at: Timestamp,
    /// `api`, or `file`: then the config file alone changes it.
    managed_by: &'static str,
    /// Why it gets nothing, if it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled: Option<Disabled>,
    /// Until when the secret before this one signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_expires_at: Option<Timestamp>,
    /// What requests are signed with, where it was generated: shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip)]
    etag: EntityTag,
}

/// Fields that it shows and nobody sets.
pub(super) const SHOWN_ONLY: [&str; 5] = ["id", "created_at", "managed_by", "disabled", "old_secret_expires_at"];

impl WebhookView {
    /// What is shown of an endpoint at this moment; the values of its headers only with the keys to open them.
    pub(super) fn new(endpoint: Endpoint, keys: Option<&MasterKeys>, now: Timestamp) -> Self {
        let etag = etag(&endpoint);
        let Endpoint { id, mut settings, origin, disabled, created_at, .. } = endpoint;
        settings.active = disabled.is_none();
        let plain = std::mem::take(&mut settings.headers);
        let mut headers: BTreeMap<_, _> =
            plain.into_iter().map(|(name, value)| (name, keys.is_some().then_some(value))).collect();
        let mut old_secret_expires_at = None;
        if let Origin::Api(kept) = &origin {
            old_secret_expires_at = kept.old(now).map(|(_, until)| until);
            headers.extend(kept.headers.iter().map(|(name, sealed)| {
                let value = keys.and_then(|keys| open(keys, Place::Header(&id, name), sealed).ok());
                (name.clone(), value)
            }));
        }
        let managed_by = match origin {
            Origin::File => "file",
            Origin::Api(_) => "api",
        };
        Self { id, settings, headers, created_at, managed_by, disabled, old_secret_expires_at, secret: None, etag }
    }

    /// The same with a secret that was generated, to be shown this once.
    #[must_use]
    pub(in crate::http) fn with_secret(self, secret: Option<String>) -> Self {
        Self { secret, ..self }
    }

    /// An answer that nobody on the way keeps.
    pub(in crate::http) fn answer(&self, status: StatusCode) -> HttpResponse {
        let mut answer = HttpResponse::build(status);
        if status == StatusCode::CREATED {
            answer.insert_header((LOCATION, format!("/v1/webhooks/{}", self.id)));
        }
        answer.insert_header(ETag(self.etag.clone())).insert_header((CACHE_CONTROL, "no-store")).json(self)
    }
}
