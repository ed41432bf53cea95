//! Addresses of persons: the bare form that is compared, and the hash of it that is kept.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::id::hash;
use super::link::LinkKey;

/// The most bytes of an address: of its two parts (RFC 5321, section 4.5.3.1), and the `@`.
const LEN_MAX: usize = 64 + 1 + 255;

/// A bare address in lower case. Printing it for debugging does not show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl TryFrom<String> for Address {
    type Error = &'static str;

    /// The text is not repeated where it is no address.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no address")
    }
}

impl Address {
    /// Reads a mailbox as providers and people write it: `nora@customer.example`, `Nora <Nora@customer.example>`. None
    /// where it is not one address.
    pub fn parse(mailbox: &str) -> Option<Self> {
        let address = bare(mailbox)?;
        // A quoted local part may hold an `@` too.
        let (local, domain) = address.rsplit_once('@')?;
        let local = match local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            // Quotes that are not needed make no other address.
            Some(quoted) if is_plain(quoted) => quoted,
            Some(quoted) if !quoted.is_empty() && !quoted.contains(char::is_control) => local,
            Some(_) => return None,
            None => Some(local).filter(|local| is_plain(local))?,
        };
        let literal = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_host = literal.map_or_else(|| is_plain(domain), |ip| is_plain(&ip.replace(':', ".")));
        let address = format!("{local}@{domain}").to_lowercase();
        (is_host && address.len() <= LEN_MAX).then_some(Self(address))
    }

    /// It as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(..)")
    }
}

/// What stands between the angle brackets, or all of it where there are none, without comments (RFC 5322, section 3.4).
fn bare(mailbox: &str) -> Option<Cow<'_, str>> {
    // Most are no more than an address.
    if !mailbox.contains(['\\', '"', '(', ')', '<', '>']) {
        return Some(mailbox.trim().into());
    }
    composed(mailbox).map(Cow::Owned)
}

fn composed(mailbox: &str) -> Option<String> {
    let (mut text, mut comments, mut is_quoted, mut is_escaped) = (String::new(), 0_u32, false, false);
    let (mut angle, mut is_open) = (None, false);
    for letter in mailbox.chars() {
        let is_literal = std::mem::replace(&mut is_escaped, false);
        match letter {
            _ if is_literal => {}
            '\\' if is_quoted || comments > 0 => is_escaped = true,
            '"' if comments == 0 => is_quoted = !is_quoted,
            '(' if !is_quoted => comments += 1,
            ')' if !is_quoted => {
                comments = comments.checked_sub(1)?;
                continue;
            }
            // What came before is a name.
            '<' if !is_quoted && comments == 0 && angle.is_none() => {
                is_open = true;
                text.clear();
                continue;
            }
            '>' if !is_quoted && comments == 0 && std::mem::take(&mut is_open) => {
                angle = Some(std::mem::take(&mut text));
                continue;
            }
            _ => {}
        }
        if comments == 0 {
            text.push(letter);
        }
    }
    if is_quoted || is_open || comments > 0 {
        return None;
    }
    match angle {
        Some(angle) => text.trim().is_empty().then(|| angle.trim().to_owned()),
        None => Some(text.trim().to_owned()),
    }
}

/// Whether it needs no quotes. Letters of any script are allowed (RFC 6531), and dots anywhere, as some hosts do.
fn is_plain(text: &str) -> bool {
    let is_special = |letter: char| {
        matches!(letter, '(' | ')' | '<' | '>' | '[' | ']' | ':' | ';' | '@' | '\\' | ',' | '"')
            || letter.is_whitespace()
            || letter.is_control()
    };
    !text.is_empty() && !text.contains(is_special)
}

/// An address as it is kept: whoever has the rows and not the key can neither read it nor try one.
pub type AddressHash = [u8; 16];

fn cut(tag: hmac::Tag) -> AddressHash {
    let mut hash = AddressHash::default();
    hash.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// The random key of a store's hashes of addresses. Printing it for debugging shows nothing of it.
#[derive(Clone)]
pub struct AddressKey {
    bytes: [u8; Self::LEN],
    hmac: hmac::Key,
}

impl AddressKey {
    /// Its length in bytes.
    pub const LEN: usize = 32;

    /// The key of these bytes.
    pub fn new(bytes: [u8; Self::LEN]) -> Self {
        Self { bytes, hmac: hmac::Key::new(hmac::HMAC_SHA256, &bytes) }
    }

    /// A key from its [text](Self::text); none of any other.
    pub fn read(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self::new)
    }

    /// It as base64.
    pub fn text(&self) -> String {
        STANDARD.encode(self.bytes)
    }

    /// Tells it from another key, and nothing else of it.
    pub fn id(&self) -> String {
        hex::encode(&hash(&[b"waypost address key", &self.bytes])[..8])
    }

    /// The hash of an address.
    pub fn hash(&self, address: &Address) -> AddressHash {
        cut(hmac::sign(&self.hmac, address.0.as_bytes()))
    }

    /// The hash of an id of a mail, which is that of no address: none has such a letter in it.
    pub fn hash_mail(&self, id: &str) -> AddressHash {
        let mut tag = hmac::Context::with_key(&self.hmac);
        tag.update(b"\0mail");
        tag.update(id.as_bytes());
        cut(tag.sign())
    }

    /// The key of the store's links, which is made of this one: no address has such a letter in it.
    pub fn link_key(&self) -> LinkKey {
        LinkKey::new(hmac::sign(&self.hmac, b"\0links").as_ref())
    }
}

impl fmt::Debug for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(mailbox: &str) -> Option<String> {
        Address::parse(mailbox).map(|address| address.as_str().to_owned())
    }

    #[test]
    fn one_mailbox_is_one_bare_address_however_it_is_written() {
        for mailbox in [
            "nora@customer.example",
            " NORA@Customer.Example\t",
            "Nora <nora@customer.example>",
            "<Nora@customer.example>",
            r#""Rossi, Nora <sales>" <nora@customer.example>"#,
            r#""Nora \"N\" Rossi" <nora@customer.example> "#,
            "nora@customer.example <nora@customer.example>",
            "nora@customer.example (Nora (at work))",
            r"Nora (\) <a@b.example>) < nora@customer.example > (home)",
            r#""nora"@customer.example"#,
        ] {
            assert_eq!(parse(mailbox).as_deref(), Some("nora@customer.example"), "{mailbox}");
        }
    }

    #[test]
    fn what_is_part_of_an_address_stays() {
        for address in [
            "nora+tag@customer.example",
            "o'brien/x=%y@customer.example",
            "a..b.@host.example",
            r#""nora rossi"@customer.example"#,
            r#""a@b"@customer.example"#,
            "nora@[192.0.2.1]",
            "nora@[ipv6:2001:db8::1]",
            "ünal@bücher.example",
            "invalid@invalid",
        ] {
            assert_eq!(parse(address).as_deref(), Some(address));
        }
        assert_eq!(parse("ÜNAL@Bücher.example").as_deref(), Some("ünal@bücher.example"));
        assert_ne!(parse("nora@a.example"), parse("nora.@a.example"));
    }

    #[test]
    fn what_is_not_one_address_is_none() {
        for text in [
            "",
            "nora",
            "@customer.example",
            "nora@",
            "nora rossi@customer.example",
            "a@b.example, c@d.example",
            "<a@b.example> <c@d.example>",
            "<a@b.example> c",
            "Team: a@b.example, c@d.example;",
            "a@b@c.example",
            "<nora@customer.example",
            r#""nora@customer.example"#,
            r#"""@customer.example"#,
            "nora@customer.example)",
            "nora@cust\u{0}omer.example",
            "nora@[]",
            "undisclosed-recipients:;",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let long = "a".repeat(LEN_MAX - 2);
        assert!(parse(&format!("{long}@b")).is_some() && parse(&format!("{long}@bc")).is_none());
    }

    proptest! {
        #[test]
        fn what_was_read_reads_as_itself(mailbox in r#"([a-cA-C@.<>()"\\ ,:İ\[\]]|a@b){0,12}"#) {
            if let Some(address) = parse(&mailbox) {
                prop_assert_eq!(parse(&address), Some(address.clone()));
                prop_assert_eq!(parse(&format!("Nora <{address}>")), Some(address));
            }
        }
    }

    const NORA: &str = "nora@customer.example";

    #[test]
    fn a_hash_is_an_hmac_that_depends_on_key_and_address() {
        let [one, other] = [1, 2].map(|byte| AddressKey::new([byte; AddressKey::LEN]));
        let (nora, omar) = (Address::parse(NORA).unwrap(), Address::parse("omar@customer.example").unwrap());
        // Python's `hmac`, the first half of its digest.
        assert_eq!(hex::encode(one.hash(&nora)), "f8b63e69e1d1682c211f17139b1d8b39");
        assert!(one.hash(&nora) != other.hash(&nora) && one.hash(&nora) != one.hash(&omar));
        assert_eq!(AddressKey::read(&one.text()).unwrap().hash(&nora), one.hash(&nora));
        assert_ne!(one.id(), other.id());
        for text in ["", "hunter2!", &STANDARD.encode([1; 31])] {
            assert!(AddressKey::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn neither_is_shown_by_accident() {
        let key = AddressKey::new([1; AddressKey::LEN]);
        let shown = format!("{:?} {key:?}", Address::parse(NORA).unwrap());
        assert_eq!(shown, "Address(..) AddressKey(..)");
    }
}
