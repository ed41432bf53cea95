//! Endpoints: who wants to be told of what, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
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
    /// Whether the endpoint brought it upon itself: then it lasts until the operator changes something.
    fn is_its_own(self) -> bool {
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

/// What must change in the store for it to hold the endpoints of the config file.
///
/// An endpoint that has gone from the file is disabled, whatever it was before, and never deleted; one that the API made
/// is none of the file's, until the file names its id. One that answered `410`, or failed for days, stays disabled until
/// the operator changes it, and one that was disabled through the API until it is enabled there.
pub fn reconcile(stored: &[Endpoint], file: &BTreeMap<EndpointId, EndpointSettings>, now: Timestamp) -> Vec<Endpoint> {
    let mut changes = Vec::new();
    for (id, settings) in file {
        let known = stored.iter().find(|endpoint| endpoint.id == *id);
        let was = known.and_then(|endpoint| Some(endpoint.disabled.as_ref()?.reason));
        let disabled = match was {
            _ if !settings.active => Some(DisabledReason::Operator),
            Some(why) if why.is_its_own() && known.is_some_and(|known| known.settings == *settings) => was,
            Some(DisabledReason::Api) => was,
            _ => None,
        };
        let since = |reason| match known.and_then(|endpoint| endpoint.disabled.clone()) {
            Some(disabled) if disabled.reason == reason => disabled,
            _ => Disabled { reason, at: now },
        };
        let wanted = Endpoint {
            id: id.clone(),
            settings: settings.clone(),
            origin: Origin::File,
            disabled: disabled.map(since),
            enabled_at: if was.is_some() && disabled.is_none() {
                Some(now)
            } else {
                known.and_then(|endpoint| endpoint.enabled_at)
            },
            created_at: known.map_or(now, |endpoint| endpoint.created_at),
        };
        if known != Some(&wanted) {
            changes.push(wanted);
        }
    }
    let is_gone = |endpoint: &&Endpoint| endpoint.origin == Origin::File && !file.contains_key(&endpoint.id);
    let is_known =
        |endpoint: &Endpoint| endpoint.disabled.as_ref().is_some_and(|why| why.reason == DisabledReason::Removed);
    let gone = stored.iter().filter(is_gone).filter(|endpoint| !is_known(endpoint));
    changes.extend(gone.map(|endpoint| Endpoint {
        disabled: Some(Disabled { reason: DisabledReason::Removed, at: now }),
        ..endpoint.clone()
    }));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn settings(url: &str) -> EndpointSettings {
        let json = serde_json::json!({
            "url": url, "events": [], "signatures": ["drin"], "retry": [5], "timeout_s": 15, "max_in_flight": 32,
            "active": true,
        });
        serde_json::from_value(json).unwrap()
    }

    fn of_file(id: &str) -> Endpoint {
        let settings = settings("https://a.example/");
        let (disabled, enabled_at) = (None, None);
        Endpoint { id: id.into(), settings, origin: Origin::File, disabled, enabled_at, created_at: at(0) }
    }

    fn of_api(id: &str) -> Endpoint {
        let sealed = serde_json::from_value(serde_json::json!({ "key": "a", "data": "AAAA" })).unwrap();
        Endpoint { origin: Origin::Api(Kept::new(sealed, BTreeMap::new(), at(0))), ..of_file(id) }
    }

    fn enabled(endpoint: Endpoint, second: i64) -> Endpoint {
        Endpoint { enabled_at: Some(at(second)), ..endpoint }
    }

    fn reason(endpoint: &Endpoint) -> Option<DisabledReason> {
        endpoint.disabled.as_ref().map(|disabled| disabled.reason)
    }

    fn file(ids: &[&str]) -> BTreeMap<EndpointId, EndpointSettings> {
        ids.iter().map(|id| ((*id).into(), settings("https://a.example/"))).collect()
    }

    #[test]
    fn what_the_api_made_is_not_the_files_to_disable() {
        let stored = [of_api("wh_api"), of_file("wh_file")];
        let changes = reconcile(&stored, &file(&[]), at(1));
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].id.as_str(), reason(&changes[0])), ("wh_file", Some(DisabledReason::Removed)));
        assert_eq!(reconcile(&changes, &file(&[]), at(2)), []);
        let off = of_file("wh_file").switched(false, at(1)).unwrap();
        assert_eq!(reconcile(&[off], &file(&[]), at(1)), changes);
    }

    #[test]
    fn what_the_file_has_again_is_enabled_from_then_on() {
        let gone = reconcile(&[of_file("wh_1")], &file(&[]), at(1));
        let again = reconcile(&gone, &file(&["wh_1"]), at(2));
        assert_eq!(again, [enabled(of_file("wh_1"), 2)]);
        assert_eq!(reconcile(&again, &file(&["wh_1"]), at(3)), []);
    }

    #[test]
    fn a_file_that_names_an_endpoint_of_the_api_takes_it_over() {
        let changes = reconcile(&[of_api("wh_1")], &file(&["wh_1"]), at(1));
        assert_eq!(changes, [of_file("wh_1")]);
        assert_eq!(reconcile(&changes, &file(&["wh_1"]), at(2)), []);
    }

    #[test]
    fn what_was_disabled_through_the_api_stays_so_whatever_the_file_says_of_the_rest() {
        let off = of_file("wh_1").switched(false, at(1)).unwrap();
        assert_eq!(reason(&off), Some(DisabledReason::Api));
        let changed: BTreeMap<_, _> = [("wh_1".into(), settings("https://b.example/"))].into();
        let changes = reconcile(std::slice::from_ref(&off), &changed, at(2));
        assert_eq!((reason(&changes[0]), changes[0].disabled == off.disabled), (Some(DisabledReason::Api), true));
        let on = off.switched(true, at(3)).unwrap();
        assert_eq!(reconcile(&[on], &file(&["wh_1"]), at(4)), []);
    }

    #[test]
    fn what_the_file_disables_the_api_cannot_enable() {
        for reason in [DisabledReason::Operator, DisabledReason::Removed] {
            let held = Endpoint { disabled: Some(Disabled { reason, at: at(1) }), ..of_file("wh_1") };
            assert_eq!(held.switched(true, at(2)), Err(HeldByFile));
            assert_eq!(held.switched(false, at(2)), Ok(held.clone()));
        }
        let gone = Some(Disabled { reason: DisabledReason::Gone, at: at(1) });
        let gone = Endpoint { disabled: gone, ..of_file("wh_1") };
        assert_eq!(reconcile(std::slice::from_ref(&gone), &file(&["wh_1"]), at(2)), []);
        assert_eq!(gone.switched(true, at(2)), Ok(enabled(of_file("wh_1"), 2)));
    }

    #[test]
    fn an_endpoint_of_the_api_is_switched_at_will() {
        let off = of_api("wh_1").switched(false, at(1)).unwrap();
        assert_eq!((off.settings.active, reason(&off)), (false, Some(DisabledReason::Operator)));
        assert_eq!(off.switched(true, at(2)), Ok(enabled(of_api("wh_1"), 2)));
        assert_eq!(of_api("wh_1").switched(true, at(2)), Ok(of_api("wh_1")));
        let gone = Some(Disabled { reason: DisabledReason::Gone, at: at(1) });
        let gone = Endpoint { disabled: gone, ..of_api("wh_1") };
        assert_eq!(gone.switched(true, at(2)), Ok(enabled(of_api("wh_1"), 2)));
    }
}
