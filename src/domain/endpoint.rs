//! Endpoints: who wants to be told of what, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::format::Format;
use super::id::EndpointId;
use super::subscription::Subscription;

/// One receiver, as the store keeps it, in plain text. Signing secrets are not in it: a config file's stay in the gateway
/// that read them. Its URL and its headers are, with whatever credentials they hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// How it is to be served.
    #[serde(flatten)]
    pub settings: EndpointSettings,
    /// Why it gets nothing, if it is disabled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disabled: Option<Disabled>,
    /// When it was first seen.
    pub created_at: Timestamp,
}

/// What the operator says of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSettings {
    /// Where to post.
    pub url: String,
    /// The body it is sent.
    #[serde(default)]
    pub format: Format,
    /// What it subscribes to.
    pub events: Subscription,
    /// Only events of these sources; all, when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Only events that carry one of these tags; all, when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How each request is signed.
    pub signatures: Vec<Scheme>,
    /// The header of `hex` and `sha256`, if not [`header::BODY_SIGNATURE`](super::header::BODY_SIGNATURE).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_header: Option<String>,
    /// Static headers of the operator's own; not sealed, so no place for a credential.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Seconds to wait after each failed attempt.
    pub retry: Vec<u64>,
    /// Seconds for the whole exchange, 1 to 60.
    pub timeout_s: u64,
    /// How many attempts may be under way at once.
    pub max_in_flight: u32,
    /// How many requests a second it is sent at most, retries among them; none is no limit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate_limit: Option<u32>,
    /// The operator's note.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// Whether the operator wants it served.
    pub active: bool,
}

impl EndpointSettings {
    /// At once, then 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h.
    pub const RETRY_DEFAULT: [u64; 7] = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
    /// The most waits that `retry` may have.
    pub const RETRY_LEN_MAX: usize = 20;
    /// Seconds for the whole exchange.
    pub const TIMEOUT_S_DEFAULT: u64 = 15;
    /// The most seconds that `timeout_s` may have.
    pub const TIMEOUT_S_MAX: u64 = 60;
    /// Attempts under way at once.
    pub const MAX_IN_FLIGHT_DEFAULT: u32 = 32;

    /// The deadline over the whole exchange.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

/// A way to sign a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `Drin-Signature: t=…,v1=…`.
    Drin,
    /// Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature` with `v1`.
    Standard,
    /// The same headers with `v1a`, for receivers that hold a public key only.
    Ed25519,
    /// As `standard`, in `svix-id`, `svix-timestamp`, `svix-signature`.
    Svix,
    /// `X-Webhook-Signature`: hex of the HMAC of the body.
    Hex,
    /// `X-Webhook-Signature`: `sha256=` and the same.
    Sha256,
}

/// Why and since when an endpoint gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// Why.
    pub reason: DisabledReason,
    /// Since when.
    pub at: Timestamp,
}

/// Why an endpoint is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// It answered `410 Gone`.
    Gone,
    /// Nothing succeeded for five days.
    Failing,
    /// The config file no longer has it.
    Removed,
    /// The operator set `active = false`.
    Operator,
}

impl DisabledReason {
    /// Whether the endpoint brought it upon itself: then it lasts until the operator changes something.
    fn is_its_own(self) -> bool {
        match self {
            Self::Gone | Self::Failing => true,
            Self::Removed | Self::Operator => false,
        }
    }

    /// Why an endpoint is disabled, and how to enable it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Gone => "it answered 410 Gone; change it in the config file and reload",
            Self::Failing => "it failed for days; change it in the config file and reload",
            Self::Removed => "it has gone from the config file; put it back and reload",
            Self::Operator => "it is set `active = false`; set `active = true` and reload",
        }
    }
}

/// What must change in the store for it to hold the endpoints of the config file.
///
/// An endpoint that has gone from the file is disabled, never deleted. One that answered `410`, or failed for
/// days, stays disabled until the operator changes it.
pub fn reconcile(stored: &[Endpoint], file: &BTreeMap<EndpointId, EndpointSettings>, now: Timestamp) -> Vec<Endpoint> {
    let mut changes = Vec::new();
    for (id, settings) in file {
        let known = stored.iter().find(|endpoint| endpoint.id == *id);
        let disabled = if settings.active {
            let unchanged = known.filter(|endpoint| endpoint.settings == *settings);
            let reason = unchanged.and_then(|endpoint| endpoint.disabled.as_ref()).map(|disabled| disabled.reason);
            reason.filter(|reason| reason.is_its_own())
        } else {
            Some(DisabledReason::Operator)
        };
        let since = |reason| match known.and_then(|endpoint| endpoint.disabled.clone()) {
            Some(disabled) if disabled.reason == reason => disabled,
            _ => Disabled { reason, at: now },
        };
        let wanted = Endpoint {
            id: id.clone(),
            settings: settings.clone(),
            disabled: disabled.map(since),
            created_at: known.map_or(now, |endpoint| endpoint.created_at),
        };
        if known != Some(&wanted) {
            changes.push(wanted);
        }
    }
    let gone = stored.iter().filter(|endpoint| !file.contains_key(&endpoint.id) && endpoint.disabled.is_none());
    changes.extend(gone.map(|endpoint| Endpoint {
        disabled: Some(Disabled { reason: DisabledReason::Removed, at: now }),
        ..endpoint.clone()
    }));
    changes
}
