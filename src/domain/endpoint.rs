//! Endpoints: who wants to be told of what, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format::Format;
use super::id::EndpointId;
use super::kept::Kept;
use super::subscription::Subscription;

/// One receiver, as the store keeps it. Its URL is plain text, with whatever credentials it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// For clients that know endpoints by a small number. The store never has two with the same.
    pub number: u64,
    /// How it is to be served.
    #[serde(flatten)]
    pub settings: EndpointSettings,
    /// Where it comes from, and with that where its secrets are.
    pub origin: Origin,
    /// Why it gets nothing, if it is disabled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disabled: Option<Disabled>,
    /// When it was last enabled again: what failed before that says nothing about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub enabled_at: Option<Timestamp>,
    /// When it was first seen.
    pub created_at: Timestamp,
}

/// Where an endpoint comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The config file, which alone changes it. Its secrets stay in the gateways that read the file; its headers are in
    /// its settings, in plain text.
    File,
    /// The API. Its secrets and headers are here, sealed, and no header is in its settings.
    Api(Kept),
}

impl Origin {
    /// What an endpoint of the API keeps sealed.
    pub fn kept(&self) -> Option<&Kept> {
        match self {
            Self::File => None,
            Self::Api(kept) => Some(kept),
        }
    }
}

/// What the operator says of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointSettings {
    /// Where to post.
    pub url: String,
    /// The body it is sent.
    #[serde(default)]
    pub format: Format,
    /// What it subscribes to.
    #[schemars(with = "Vec<String>")]
    pub events: Subscription,
    /// Only events of these sources; all, when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Only events that carry one of these tags; all, when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How each request is signed.
    pub signatures: Vec<Scheme>,
    /// The header of `hex` and `sha256`, if not `X-Webhook-Signature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_header: Option<String>,
    /// Static headers of the operator's own.
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
    /// Nobody is told: what it gets is the content of its one source's mail, fetched from the provider.
    #[serde(skip_serializing_if = "is_false", default)]
    pub fetches: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !*flag
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

    /// [`Self::TIMEOUT_S_DEFAULT`], for what is read without it.
    pub const fn timeout_s_default() -> u64 {
        Self::TIMEOUT_S_DEFAULT
    }

    /// [`Self::MAX_IN_FLIGHT_DEFAULT`], likewise.
    pub const fn max_in_flight_default() -> u32 {
        Self::MAX_IN_FLIGHT_DEFAULT
    }

    /// An endpoint is served unless it is said otherwise.
    pub const fn active_default() -> bool {
        true
    }

    /// The deadline over the whole exchange.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

/// A way to sign a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disabled {
    /// Why.
    pub reason: DisabledReason,
    /// Since when.
    pub at: Timestamp,
}

/// Why an endpoint is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// It was disabled through the API, though the config file has it.
    Api,
}

/// Only the config file can enable the endpoint: it says `active = false`, or no longer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldByFile;

impl Endpoint {
    /// The same as the API enables or disables it.
    ///
    /// # Errors
    /// When it is to be enabled and the config file says otherwise, which would have its way at the next reload.
    pub fn switched(&self, on: bool, now: Timestamp) -> Result<Self, HeldByFile> {
        let mut next = self.clone();
        let (reason, held) = match (&self.origin, &self.disabled) {
            (Origin::Api(_), _) => {
                next.settings.active = on;
                (DisabledReason::Operator, false)
            }
            (Origin::File, Some(Disabled { reason: DisabledReason::Operator | DisabledReason::Removed, .. })) => {
                (DisabledReason::Api, true)
            }
            (Origin::File, _) => (DisabledReason::Api, false),
        };
        if on && held {
            return Err(HeldByFile);
        }
        if on && next.disabled.take().is_some() {
            next.enabled_at = Some(now);
        }
        if !on {
            next.disabled = next.disabled.or(Some(Disabled { reason, at: now }));
        }
        Ok(next)
    }
}

impl DisabledReason {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Gone, Self::Failing, Self::Removed, Self::Operator, Self::Api];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
            Self::Removed => "removed",
            Self::Operator => "operator",
            Self::Api => "api",
        }
    }

    /// Whether the endpoint brought it upon itself: then it lasts until the operator changes something.
    pub(super) fn is_its_own(self) -> bool {
        match self {
            Self::Gone | Self::Failing => true,
            Self::Removed | Self::Operator | Self::Api => false,
        }
    }

    /// Why an endpoint is disabled, and how to enable it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Gone => "it answered 410 Gone; enable it through the API, or change it in the config file and reload",
            Self::Failing => {
                "it failed for days; enable it through the API, or change it in the config file and reload"
            }
            Self::Removed => "it has gone from the config file; put it back and reload",
            Self::Operator => {
                "it is set inactive; set `active` to true where it was made, in the config file or through the API"
            }
            Self::Api => "it was disabled through the API; enable it there",
        }
    }
}
