//! What of a config that is read again is not in force until a restart.

use std::collections::BTreeMap;

use super::Settings;

impl Settings {
    /// The same without what a reload puts in force.
    #[must_use]
    pub fn without_what_reloads(&self) -> Self {
        let (sources, endpoints) = (BTreeMap::new(), BTreeMap::new());
        Self {
            server: self.server.clone(),
            api_keys: self.api_keys.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            store: self.store.clone(),
            suppress_on: self.suppress_on.clone(),
            delivery: self.delivery.clone(),
            sources,
            endpoints,
            ..*self
        }
    }

    /// The sections, but those that a reload puts in force, that are others in the other. Of secrets, the keys of the API
    /// are compared, and no others.
    pub fn sections_that_differ(&self, other: &Self) -> Vec<&'static str> {
        let sections = [
            ("server", told(&self.server) != told(&other.server)),
            ("api", self.api_keys != other.api_keys),
            ("store", told(&self.store) != told(&other.store)),
            ("retention", {
                let retention = |one: &Self| told(&(one.lifetimes, one.attempt_log_bytes));
                retention(self) != retention(other)
            }),
            ("suppression", self.suppress_on != other.suppress_on),
            ("delivery", told(&self.delivery) != told(&other.delivery)),
        ];
        sections.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
    }
}

fn told(section: &impl std::fmt::Debug) -> String {
    format!("{section:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_that_needs_a_restart_is_told_and_one_that_reloads_is_not() {
        let read = |env: &[(&str, &str)]| {
            let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Settings::load(None, env).unwrap()
        };
        let differ = |env: &[(&str, &str)]| read(&[]).without_what_reloads().sections_that_differ(&read(env));
        assert!(differ(&[]).is_empty());
        let key = format!("[{{ name = 'ops', key = '{}', scopes = ['read'] }}]", "k".repeat(32));
        assert_eq!(differ(&[("WAYPOST__API__KEYS", &key)]), ["api"]);
        let several = [("WAYPOST__SERVER__LISTEN", "127.0.0.1:1"), ("WAYPOST__RETENTION__EVENTS_DAYS", "31")];
        assert_eq!(differ(&several), ["server", "retention"]);
        assert_eq!(differ(&[("WAYPOST__DELIVERY__IN_FLIGHT_MAX", "7")]), ["delivery"]);
        let source = "{ provider = 'resend', signing_secrets = ['whsec_dGVzdCBzZWNyZXQsIG5vdCBhIHNlY3JldA=='] }";
        let source = format!("{{ resend = {source} }}");
        assert!(differ(&[("WAYPOST__SOURCES", &source)]).is_empty());
    }
}
