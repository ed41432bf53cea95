//! The endpoints of the config file beside those of the store: which of them has its say.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::endpoint::{Disabled, DisabledReason, Endpoint, EndpointSettings, Origin};
use super::id::EndpointId;

/// What must change in the store for it to hold the endpoints of the config file.
///
/// An endpoint that has gone from the file is disabled, whatever it was before, and never deleted; one that the API made
/// is none of the file's, until the file names its id. One that answered `410`, or failed for days, stays disabled until
/// the operator changes it, and one that was disabled through the API until it is enabled there. New ones are numbered
/// from behind `numbered`.
pub fn reconcile(
    stored: &[Endpoint],
    numbered: u64,
    file: &BTreeMap<EndpointId, EndpointSettings>,
    now: Timestamp,
) -> Vec<Endpoint> {
    let mut changes = Vec::new();
    let mut numbers = numbered + 1..;
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
            number: known.map(|endpoint| endpoint.number).or_else(|| numbers.next()).unwrap_or_default(),
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
    use super::super::endpoint::HeldByFile;
    use super::super::kept::Kept;
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
        Endpoint { id: id.into(), number: 1, settings, origin: Origin::File, disabled, enabled_at, created_at: at(0) }
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
        let changes = reconcile(&stored, 1, &file(&[]), at(1));
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].id.as_str(), reason(&changes[0])), ("wh_file", Some(DisabledReason::Removed)));
        assert_eq!(reconcile(&changes, 1, &file(&[]), at(2)), []);
        let off = of_file("wh_file").switched(false, at(1)).unwrap();
        assert_eq!(reconcile(&[off], 1, &file(&[]), at(1)), changes);
    }

    #[test]
    fn what_the_file_has_again_is_enabled_from_then_on() {
        let gone = reconcile(&[of_file("wh_1")], 1, &file(&[]), at(1));
        let again = reconcile(&gone, 1, &file(&["wh_1"]), at(2));
        assert_eq!(again, [enabled(of_file("wh_1"), 2)]);
        assert_eq!(reconcile(&again, 1, &file(&["wh_1"]), at(3)), []);
    }

    #[test]
    fn each_that_is_new_has_a_number_of_its_own() {
        let changes = reconcile(&[of_file("wh_2")], 7, &file(&["wh_1", "wh_2", "wh_3"]), at(1));
        let numbers: Vec<_> = changes.iter().map(|endpoint| (endpoint.id.as_str(), endpoint.number)).collect();
        assert_eq!(numbers, [("wh_1", 8), ("wh_3", 9)]);
    }

    #[test]
    fn a_file_that_names_an_endpoint_of_the_api_takes_it_over() {
        let changes = reconcile(&[of_api("wh_1")], 1, &file(&["wh_1"]), at(1));
        assert_eq!(changes, [of_file("wh_1")]);
        assert_eq!(reconcile(&changes, 1, &file(&["wh_1"]), at(2)), []);
    }

    #[test]
    fn what_was_disabled_through_the_api_stays_so_whatever_the_file_says_of_the_rest() {
        let off = of_file("wh_1").switched(false, at(1)).unwrap();
        assert_eq!(reason(&off), Some(DisabledReason::Api));
        let changed: BTreeMap<_, _> = [("wh_1".into(), settings("https://b.example/"))].into();
        let changes = reconcile(std::slice::from_ref(&off), 1, &changed, at(2));
        assert_eq!((reason(&changes[0]), changes[0].disabled == off.disabled), (Some(DisabledReason::Api), true));
        let on = off.switched(true, at(3)).unwrap();
        assert_eq!(reconcile(&[on], 1, &file(&["wh_1"]), at(4)), []);
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
        assert_eq!(reconcile(std::slice::from_ref(&gone), 1, &file(&["wh_1"]), at(2)), []);
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
