//! The audit log: who changed what, and when. No entry holds an address or a secret.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::endpoint::{Endpoint, Origin};
use super::kept::Kept;

/// For how long an entry is kept.
pub const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3_600);
/// The actor of what the config file changes. No API key has this name.
pub const CONFIG: &str = "config";
/// The actor of what the gateway does by itself. No API key has this name.
pub const GATEWAY: &str = "gateway";

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ChangeEntry")]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who: the name of an API key, [`CONFIG`] or [`GATEWAY`].
    pub actor: String,
    /// What was done.
    pub action: Action,
    /// The id of what it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The names of the fields that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// An endpoint was made.
    #[serde(rename = "webhook.created")]
    WebhookCreated,
    /// Fields of an endpoint were changed.
    #[serde(rename = "webhook.updated")]
    WebhookUpdated,
    /// An endpoint was deleted.
    #[serde(rename = "webhook.deleted")]
    WebhookDeleted,
    /// An endpoint was enabled.
    #[serde(rename = "webhook.enabled")]
    WebhookEnabled,
    /// An endpoint was disabled.
    #[serde(rename = "webhook.disabled")]
    WebhookDisabled,
    /// An endpoint was given another signing secret.
    #[serde(rename = "webhook.secret_rotated")]
    SecretRotated,
    /// The signing secret before the newest was revoked.
    #[serde(rename = "webhook.secret_revoked")]
    SecretRevoked,
    /// Signing secrets were shown again.
    #[serde(rename = "webhook.secret_shown")]
    SecretShown,
    /// An endpoint was sent a sample.
    #[serde(rename = "webhook.tested")]
    WebhookTested,
    /// What an endpoint got was sent to it again, in bulk.
    #[serde(rename = "webhook.replayed")]
    WebhookReplayed,
    /// An event was sent again.
    #[serde(rename = "event.replayed")]
    EventReplayed,
    /// A delivery was made again.
    #[serde(rename = "delivery.retried")]
    DeliveryRetried,
    /// A request was read again.
    #[serde(rename = "request.reprocessed")]
    RequestReprocessed,
    /// Requests were read again, in bulk.
    #[serde(rename = "requests.reprocessed")]
    RequestsReprocessed,
    /// A job was canceled.
    #[serde(rename = "replay.canceled")]
    ReplayCanceled,
    /// An address was put on the suppression list by hand.
    #[serde(rename = "address.suppressed")]
    AddressSuppressed,
    /// An address was taken off the suppression list.
    #[serde(rename = "address.unsuppressed")]
    AddressUnsuppressed,
    /// All that names a person was erased; the address is not told.
    #[serde(rename = "recipient.erased")]
    RecipientErased,
    /// A consumer of the feed was made.
    #[serde(rename = "consumer.created")]
    ConsumerCreated,
    /// A consumer of the feed was changed or moved.
    #[serde(rename = "consumer.updated")]
    ConsumerUpdated,
    /// A consumer of the feed was deleted.
    #[serde(rename = "consumer.deleted")]
    ConsumerDeleted,
    /// The gateway was told to go on with what the store holds.
    #[serde(rename = "store.confirmed")]
    StoreConfirmed,
}

impl Entry {
    /// What was done to something, or to nothing that has an id.
    pub fn new(at: Timestamp, actor: &str, action: Action, target: Option<&str>) -> Self {
        Self { at, actor: actor.to_owned(), action, target: target.map(str::to_owned), changed: Vec::new() }
    }
}

/// What a change of an endpoint is told as; nothing where it is no change.
pub fn of_endpoint(at: Timestamp, actor: &str, before: Option<&Endpoint>, after: Option<&Endpoint>) -> Vec<Entry> {
    let entry = |action, endpoint: &Endpoint| Entry::new(at, actor, action, Some(endpoint.id.as_str()));
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (None, Some(after)) => return vec![entry(Action::WebhookCreated, after)],
        (Some(before), None) => return vec![entry(Action::WebhookDeleted, before)],
        (None, None) => return Vec::new(),
    };
    let mut entries = Vec::new();
    let changed = changed(before, after);
    if !changed.is_empty() {
        entries.push(Entry { changed, ..entry(Action::WebhookUpdated, after) });
    }
    let is_off = |endpoint: &Endpoint| endpoint.disabled.is_some();
    match (is_off(before), is_off(after)) {
        (true, false) => entries.push(entry(Action::WebhookEnabled, after)),
        (false, true) => entries.push(entry(Action::WebhookDisabled, after)),
        _ => {}
    }
    if let (Some(was), Some(is)) = (before.origin.kept(), after.origin.kept()) {
        let newest = |kept: &Kept| kept.live(at).next().map(|secret| secret.sealed.clone());
        if newest(was) != newest(is) {
            entries.push(entry(Action::SecretRotated, after));
        } else if was.old(at).is_some() && is.old(at).is_none() {
            entries.push(entry(Action::SecretRevoked, after));
        }
    }
    entries
}

/// Reconciled endpoints beside those that were: what is told of each that is another.
pub fn of_endpoints(at: Timestamp, actor: &str, before: &[Endpoint], after: &[Endpoint]) -> Vec<Entry> {
    let before: BTreeMap<_, _> = before.iter().map(|one| (&one.id, one)).collect();
    after.iter().flat_map(|one| of_endpoint(at, actor, before.get(&one.id).copied(), Some(one))).collect()
}

/// The names of the fields that differ. Whether it is active is told apart.
fn changed(before: &Endpoint, after: &Endpoint) -> Vec<String> {
    let fields = |endpoint: &Endpoint| match serde_json::to_value(&endpoint.settings) {
        Ok(Value::Object(fields)) => fields,
        _ => Default::default(),
    };
    let headers = |endpoint: &Endpoint| endpoint.origin.kept().map(|kept| kept.headers.clone());
    let (was, is) = (fields(before), fields(after));
    let mut changed: Vec<_> =
        was.keys().chain(is.keys()).filter(|name| was.get(*name) != is.get(*name)).cloned().collect();
    if (before.origin == Origin::File) != (after.origin == Origin::File) {
        changed.push("managed_by".into());
    } else if headers(before) != headers(after) {
        changed.push("headers".into());
    }
    changed.retain(|name| name != "active");
    changed.sort();
    changed.dedup();
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sealed(data: &str) -> crate::domain::seal::Sealed {
        serde_json::from_value(serde_json::json!({ "key": "a", "data": data })).unwrap()
    }

    fn endpoint() -> Endpoint {
        let settings = serde_json::json!({
            "url": "https://a.example/", "events": [], "signatures": ["drin"], "retry": [5], "timeout_s": 15,
            "max_in_flight": 32, "active": true,
        });
        let settings = serde_json::from_value(settings).unwrap();
        let origin = Origin::Api(Kept::new(sealed("AAAA"), BTreeMap::new(), at(0)));
        let (disabled, enabled_at) = (None, None);
        Endpoint { id: "wh_1".into(), number: 1, settings, origin, disabled, enabled_at, created_at: at(0) }
    }

    fn with_kept(change: impl Fn(&Kept) -> Kept) -> Endpoint {
        let endpoint = endpoint();
        Endpoint { origin: Origin::Api(change(endpoint.origin.kept().unwrap())), ..endpoint }
    }

    fn told(before: Option<&Endpoint>, after: Option<&Endpoint>) -> Vec<(String, Vec<String>)> {
        let entries = of_endpoint(at(9), "ops", before, after).into_iter();
        let word = |action| serde_json::to_value(action).unwrap().as_str().unwrap().to_owned();
        let one = |entry: Entry| {
            assert_eq!((entry.at, entry.actor.as_str(), entry.target.as_deref()), (at(9), "ops", Some("wh_1")));
            (word(entry.action), entry.changed)
        };
        entries.map(one).collect()
    }

    fn alone(action: &str) -> Vec<(String, Vec<String>)> {
        vec![(action.to_owned(), vec![])]
    }

    #[test]
    fn what_became_of_an_endpoint_is_told_by_its_fields_and_no_value() {
        let one = endpoint();
        assert_eq!(told(None, Some(&one)), alone("webhook.created"));
        assert_eq!(told(Some(&one), None), alone("webhook.deleted"));
        assert_eq!(told(Some(&one), Some(&one)), []);
        let mut other = one.switched(false, at(1)).unwrap();
        assert_eq!(told(Some(&one), Some(&other)), alone("webhook.disabled"));
        assert_eq!(told(Some(&other), Some(&one)), alone("webhook.enabled"));
        other.settings.url = "https://b.example/".into();
        other.settings.rate_limit = Some(5);
        let fields = vec!["rate_limit".to_owned(), "url".to_owned()];
        let both = vec![("webhook.updated".to_owned(), fields), ("webhook.disabled".to_owned(), vec![])];
        assert_eq!(told(Some(&one), Some(&other)), both);
    }

    #[test]
    fn secrets_and_headers_are_told_of_and_not_told() {
        let (one, day) = (endpoint(), Duration::from_secs(86_400));
        let rotated = with_kept(|kept| kept.rotated(sealed("BBBB"), day, at(5)).unwrap());
        assert_eq!(told(Some(&one), Some(&rotated)), alone("webhook.secret_rotated"));
        let revoked = with_kept(|kept| kept.rotated(sealed("BBBB"), day, at(5)).unwrap().pruned(true, at(9)));
        assert_eq!(told(Some(&rotated), Some(&revoked)), alone("webhook.secret_revoked"));
        let mut header = one.clone();
        let Origin::Api(kept) = &mut header.origin else { panic!("of the API") };
        kept.headers.insert("authorization".into(), sealed("CCCC"));
        assert_eq!(told(Some(&one), Some(&header)), [("webhook.updated".to_owned(), vec!["headers".to_owned()])]);
        let taken = Endpoint { origin: Origin::File, ..header };
        assert_eq!(told(Some(&one), Some(&taken)), [("webhook.updated".to_owned(), vec!["managed_by".to_owned()])]);
    }
}
