//! Ids. What would otherwise be generated is derived: storing twice is a no-op, and a simulation replays exactly.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::address::AddressHash;

/// Crockford's base32 in lower case: no letter that reads as a digit, and sorting by text sorts by value.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// How many digits hold 128 bits.
const DIGITS: usize = 26;

/// The value of each byte as a digit; 255 of one that is none.
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// An event: `evt_…`.
    EventId
}
id! {
    /// A raw request: `req_…`.
    RequestId
}
id! {
    /// One event for one endpoint, once: `dlv_…`.
    DeliveryId
}
id! {
    /// One try of a delivery: `att_…`.
    AttemptId
}
id! {
    /// What made deliveries anew: `rpl_…`.
    ReplayId
}
id! {
    /// An address on the suppression list, whichever it is: `sup_…`.
    SuppressionId
}
id! {
    /// An endpoint: `wh_…`, or what the config file calls it.
    EndpointId
}
id! {
    /// One running gateway: `gw_…`, drawn at start.
    GatewayId
}

impl EventId {
    const PREFIX: &str = "evt_";

    /// A provider that resends an event produces the same id.
    pub fn of(source: &str, identity: &str) -> Self {
        Self(derived(Self::PREFIX, &[source.as_bytes(), identity.as_bytes()]))
    }

    /// One of no source's: a source's has two parts.
    pub fn operational(parts: &[&[u8]]) -> Self {
        Self(derived(Self::PREFIX, &[&[&b"operational"[..]], parts].concat()))
    }

    /// The 128 bits it stands for; none where the text is no event's id.
    pub fn bits(&self) -> Option<[u8; 16]> {
        bits(Self::PREFIX, &self.0)
    }

    /// The id that stands for these bits.
    pub fn from_bits(bits: [u8; 16]) -> Self {
        Self(text(Self::PREFIX, bits))
    }
}

impl RequestId {
    const PREFIX: &str = "req_";

    /// The same bytes at the same source are the same request; or bytes that stand for what it says.
    pub fn of(source: &str, said: &[u8]) -> Self {
        Self(derived(Self::PREFIX, &[source.as_bytes(), said]))
    }

    /// Of a part of a mail that was fetched, and is kept as what is received is. A received one has two parts.
    pub fn of_part(event: &EventId, part: &str) -> Self {
        Self(derived(Self::PREFIX, &[b"part", event.as_str().as_bytes(), part.as_bytes()]))
    }

    /// The 128 bits it stands for; none where the text is no request's id.
    pub fn bits(&self) -> Option<[u8; 16]> {
        bits(Self::PREFIX, &self.0)
    }

    /// The id that stands for these bits.
    pub fn from_bits(bits: [u8; 16]) -> Self {
        Self(text(Self::PREFIX, bits))
    }
}

impl DeliveryId {
    const PREFIX: &str = "dlv_";
    /// How many digits hold 64 bits.
    const TAIL: usize = 13;

    /// The one delivery of `event` to `endpoint` that began with the event, or that this replay made.
    ///
    /// The event's bits, then 64 of a hash of the rest: so a delivery is found by its id, and no store keeps an index
    /// of these for it, which would be one more row to write for each.
    pub fn of(event: &EventId, endpoint: &EndpointId, replay: Option<&ReplayId>) -> Self {
        let bits = event.bits().unwrap_or_else(|| hash128(&[event.0.as_bytes()]));
        let replay = replay.map_or("", ReplayId::as_str);
        let tail = hash64(&[endpoint.0.as_bytes(), replay.as_bytes()]);
        let mut text = String::with_capacity(Self::PREFIX.len() + DIGITS + Self::TAIL);
        text.push_str(Self::PREFIX);
        push_digits(&mut text, u128::from_be_bytes(bits), DIGITS);
        push_digits(&mut text, tail.into(), Self::TAIL);
        Self(text.into())
    }

    /// The event that it is of; none where the text is no delivery's id.
    pub fn event(&self) -> Option<EventId> {
        let digits = self.0.strip_prefix(Self::PREFIX).filter(|digits| digits.len() == DIGITS + Self::TAIL)?;
        bits("", digits.get(..DIGITS)?).map(EventId::from_bits)
    }
}

impl AttemptId {
    /// The attempt of this number, from 1.
    pub fn of(delivery: &DeliveryId, number: u32) -> Self {
        let digits = delivery.0.strip_prefix(DeliveryId::PREFIX).unwrap_or(&delivery.0);
        Self(format!("att_{digits}_{number}").into())
    }
}

impl ReplayId {
    const PREFIX: &str = "rpl_";

    /// From random bytes, or from what is the same when a request is made again.
    pub fn of(parts: &[&[u8]]) -> Self {
        Self(derived(Self::PREFIX, parts))
    }

    /// The 128 bits it stands for; none where the text is no replay's id.
    pub fn bits(&self) -> Option<[u8; 16]> {
        bits(Self::PREFIX, &self.0)
    }

    /// The id that stands for these bits.
    pub fn from_bits(bits: [u8; 16]) -> Self {
        Self(text(Self::PREFIX, bits))
    }
}

impl SuppressionId {
    const PREFIX: &str = "sup_";

    /// Of the address with this keyed hash.
    pub fn of(hash: &AddressHash) -> Self {
        Self(derived(Self::PREFIX, &[b"suppression", hash]))
    }
}

impl EndpointId {
    /// From random bytes.
    pub fn random(bytes: [u8; 16]) -> Self {
        Self(derived("wh_", &[&bytes]))
    }
}

impl GatewayId {
    /// From random bytes.
    pub fn random(bytes: [u8; 16]) -> Self {
        Self(derived("gw_", &[&bytes]))
    }
}

/// Which mail an event belongs to, as a number: one mail's events share a partition and keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailKey(pub u64);

impl MailKey {
    /// Those of operational events are below.
    const OPERATIONAL_END: u64 = 1 << 32;

    /// From the mail's id, else its recipient, else the event's identity; `kind` keeps the three apart.
    pub fn of(kind: &str, value: &str) -> Self {
        let hash = hash64(&[kind.as_bytes(), value.as_bytes()]);
        Self(if hash < Self::OPERATIONAL_END { hash | Self::OPERATIONAL_END } else { hash })
    }

    /// Of an operational event or a sample, which belong to no mail: those about one thing keep their order.
    pub fn operational(about: &str) -> Self {
        Self(hash64(&[b"operational", about.as_bytes()]) % Self::OPERATIONAL_END)
    }

    /// Whether it is of an operational event, told also when the event itself is no longer kept.
    pub fn is_operational(self) -> bool {
        self.0 < Self::OPERATIONAL_END
    }

    /// The partition of `count` that this mail's events live in.
    pub fn partition(self, count: u16) -> u16 {
        u16::try_from(self.0 % u64::from(count.max(1))).unwrap_or_default()
    }
}

impl fmt::Display for MailKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// SHA-256 over `parts`, each led by its length so that no two lists run into one another.
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The first 64 bits of [`hash`].
pub fn hash64(parts: &[&[u8]]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash(parts);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// `prefix` and 26 characters: the first 128 bits of the hash.
fn derived(prefix: &str, parts: &[&[u8]]) -> Arc<str> {
    text(prefix, hash128(parts))
}

/// The first 128 bits of [`hash`].
pub fn hash128(parts: &[&[u8]]) -> [u8; 16] {
    let digest = hash(parts);
    let mut bits = [0; 16];
    bits.copy_from_slice(&digest[..16]);
    bits
}

fn text(prefix: &str, bits: [u8; 16]) -> Arc<str> {
    let mut text = String::with_capacity(prefix.len() + DIGITS);
    text.push_str(prefix);
    push_digits(&mut text, u128::from_be_bytes(bits), DIGITS);
    text.into()
}

fn push_digits(text: &mut String, bits: u128, len: usize) {
    text.extend((0..len).rev().map(|place| char::from(ALPHABET[((bits >> (place * 5)) & 31) as usize])));
}

fn bits(prefix: &str, text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix(prefix)?.as_bytes();
    // The first digit has room for three bits only.
    if digits.len() != DIGITS || digits[0] > b'7' {
        return None;
    }
    let value = |digit: &u8| match VALUES[usize::from(*digit)] {
        value @ 0..32 => Some(u128::from(value)),
        _ => None,
    };
    digits.iter().try_fold(0, |bits, digit| Some((bits << 5) | value(digit)?)).map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_identity_at_the_same_source_is_the_same_event() {
        assert_eq!(EventId::of("resend", "msg_1"), EventId::of("resend", "msg_1"));
        assert_ne!(EventId::of("resend", "msg_1"), EventId::of("resend-eu", "msg_1"));
        assert_ne!(EventId::of("ab", "c"), EventId::of("a", "bc"));
        assert_eq!(EventId::of("resend", "msg_1").as_str().len(), 4 + 26);
    }

    #[test]
    fn a_delivery_is_one_of_its_event_endpoint_and_replay_and_tells_its_event() {
        let (event, replay) = (EventId::of("resend", "msg_1"), ReplayId::of(&[b"one"]));
        let (a, b) = (EndpointId::from("wh_a"), EndpointId::from("wh_b"));
        let ids = [
            DeliveryId::of(&event, &a, None),
            DeliveryId::of(&event, &b, None),
            DeliveryId::of(&event, &a, Some(&replay)),
            DeliveryId::of(&event, &a, Some(&ReplayId::of(&[b"other"]))),
        ];
        for (place, id) in ids.iter().enumerate() {
            assert_eq!(id.event(), Some(event.clone()), "{id}");
            assert!(!ids[..place].contains(id), "{id}");
        }
        for text in ["", "dlv_", "dlv_1", event.as_str(), &ids[0].as_str()[..42]] {
            assert_eq!(DeliveryId::from(text).event(), None, "{text}");
        }
        assert_eq!(ReplayId::from_bits(replay.bits().unwrap()), replay);
    }

    #[test]
    fn what_is_operational_is_told_by_its_mail() {
        let about: BTreeSet<_> = (0..100).map(|number| MailKey::operational(&format!("wh_{number}"))).collect();
        assert!(about.len() == 100 && about.iter().all(|mail| mail.is_operational()));
        assert!((0..100).all(|number| !MailKey::of("mail", &number.to_string()).is_operational()));
    }

    #[test]
    fn an_id_comes_back_from_its_bits() {
        let id = EventId::of("resend", "msg_1");
        assert_eq!(EventId::from_bits(id.bits().unwrap()), id);
        let last = EventId::from_bits([255; 16]);
        assert_eq!((last.as_str(), last.bits()), ("evt_7zzzzzzzzzzzzzzzzzzzzzzzzz", Some([255; 16])));
        for text in ["", "evt_", "evt_1", "req_00000000000000000000000000", "evt_80000000000000000000000000"] {
            assert_eq!(EventId::from(text).bits(), None, "{text}");
        }
        for text in
            ["evt_0000000000000000000000000u", "evt_0000000000000000000000000A", "evt_0000000000000000000000000\u{e9}"]
        {
            assert_eq!(EventId::from(text).bits(), None, "{text}");
        }
    }
}
