//! Who may use the API.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "KeyScope")]
pub enum Scope {
    /// To look.
    Read,
    /// To change.
    Write,
    /// Everything, the details of attempts included.
    Admin,
}

impl Scope {
    /// The word in the config file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// One key of the API, kept as a hash.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    name: String,
    sha256: [u8; 32],
    scopes: Vec<Scope>,
}

impl AccessKey {
    /// The fewest characters that a key may have. A plain hash is safe for random keys of this length only.
    pub const LEN_MIN: usize = 32;

    /// A key from its text; none when that is shorter than [`AccessKey::LEN_MIN`].
    pub fn new(name: String, text: &str, scopes: Vec<Scope>) -> Option<Self> {
        let long_enough = text.chars().count() >= Self::LEN_MIN;
        long_enough.then(|| Self { name, sha256: Sha256::digest(text).into(), scopes })
    }

    /// What logs call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is good for, as the config says.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Whether it is good for this; `admin` includes the others.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// The key with this text. Each is compared, in constant time.
pub fn find<'a>(keys: &'a [AccessKey], text: &str) -> Option<&'a AccessKey> {
    let sha256 = Sha256::digest(text);
    let is_it = |key: &AccessKey| verify_slices_are_equal(&key.sha256, &sha256).is_ok();
    keys.iter().fold(None, |found, key| if is_it(key) { Some(key) } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPS: &str = "ops-0123456789abcdef0123456789abcdef";
    const BI: &str = "bi-0123456789abcdef0123456789abcdefg";

    fn key(name: &str, text: &str, scope: Scope) -> AccessKey {
        AccessKey::new(name.into(), text, vec![scope]).unwrap()
    }

    #[test]
    fn a_key_is_found_by_its_text_alone() {
        let keys = [key("ops", OPS, Scope::Admin), key("bi", BI, Scope::Read)];
        assert_eq!(find(&keys, OPS).unwrap().name(), "ops");
        assert_eq!(find(&keys, BI).unwrap().name(), "bi");
        assert_eq!(find(&keys, ""), None);
        assert_eq!(find(&keys, &OPS[..35]), None);
    }

    #[test]
    fn admin_includes_every_scope_and_the_others_only_themselves() {
        let all = [Scope::Read, Scope::Write, Scope::Admin];
        let may = |scope| all.map(|wanted| key("k", OPS, scope).may(wanted));
        assert_eq!(may(Scope::Admin), [true, true, true]);
        assert_eq!(may(Scope::Write), [false, true, false]);
        assert_eq!(may(Scope::Read), [true, false, false]);
    }

    #[test]
    fn a_short_key_is_refused_and_a_printed_one_tells_nothing() {
        assert_eq!(AccessKey::new("ops".into(), &"x".repeat(31), vec![]), None);
        let printed = format!("{:?}", key("ops", OPS, Scope::Read));
        assert_eq!(printed, r#"AccessKey { name: "ops", scopes: [Read], .. }"#);
    }
}
