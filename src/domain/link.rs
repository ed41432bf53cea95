//! Links to the content of received mail: signed and expiring, so that whoever is given one needs no API key.
//!
//! An event holds its links relative to itself (`content/html`, `attachments/0`), for it is immutable and they expire; they
//! are made whole when it is shown or sent.

use std::fmt;

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use serde_json::value::to_raw_value;
use waypost_providers::Kind;
use waypost_providers::event::Data;

use super::event_type::EventType;
use super::id::{EventId, hash};
use super::plan::StoredEvent;

/// The query parameters of a link: until when it is good, in seconds of Unix time, and the proof of that, in hex.
pub const EXPIRES: &str = "expires";
/// See [`EXPIRES`].
pub const SIGNATURE: &str = "signature";

/// The key of a store's links. Printing it for debugging shows nothing of it.
#[derive(Clone)]
pub struct LinkKey(hmac::Key);

impl LinkKey {
    /// The key of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// What stands for these parts, for whoever does not have the key.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut tag = [0; 16];
        tag.iter_mut().zip(hmac::sign(&self.0, &hash(parts)).as_ref()).for_each(|(to, from)| *to = *from);
        tag
    }

    fn sign(&self, event: &EventId, part: &str, expires: i64) -> String {
        hex::encode(hmac::sign(&self.0, signed(event, part, expires).as_bytes()))
    }

    /// Whether the link to this part of the event's mail is one of ours, and good now. Compares in constant time.
    pub fn is_good(&self, event: &EventId, part: &str, expires: i64, signature: &str, now: Timestamp) -> bool {
        let mut tag = [0; 32];
        let is_ours = hex::decode_to_slice(signature, &mut tag).is_ok()
            && hmac::verify(&self.0, signed(event, part, expires).as_bytes(), &tag).is_ok();
        is_ours && now.as_second() < expires
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

fn signed(event: &EventId, part: &str, expires: i64) -> String {
    format!("{event}\n{part}\n{expires}")
}

/// Where links lead, and how long they are good.
#[derive(Clone, Debug, Default)]
pub struct LinkSettings {
    /// What the gateway is called by from outside, without a slash at its end. Empty where that is not known: links are
    /// paths then.
    pub public_url: String,
    /// For how long a link is good at most; at least for half as long, so that all attempts of a delivery can post the
    /// same.
    pub ttl: SignedDuration,
}

/// Makes the links of one moment.
#[derive(Clone, Debug)]
pub struct Links<'a> {
    /// Where to, and for how long.
    pub settings: &'a LinkSettings,
    /// What they are signed with.
    pub key: LinkKey,
    /// The moment.
    pub now: Timestamp,
}

impl Links<'_> {
    /// Whether the event's data has links at all: only then is there anything to make, and a key needed.
    pub fn are_in(event: &StoredEvent) -> bool {
        event.kind == EventType::Provider(Kind::Received)
    }

    /// The event with its links made whole.
    ///
    /// # Errors
    /// When its data is not what this version knows.
    pub fn made_in(&self, event: &StoredEvent) -> Result<StoredEvent, serde_json::Error> {
        let mut data: Data = serde_json::from_str(event.data.get())?;
        if let Some(mail) = &mut data.mail {
            let attached = mail.attachments.iter_mut().map(|attachment| &mut attachment.url);
            let links = [&mut mail.text_url, &mut mail.html_url, &mut mail.raw_url].into_iter().chain(attached);
            for link in links.flatten() {
                *link = self.to(event, link);
            }
        }
        Ok(StoredEvent { data: to_raw_value(&data)?, ..event.clone() })
    }

    fn to(&self, event: &StoredEvent, part: &str) -> String {
        let LinkSettings { public_url, ttl } = self.settings;
        let expires = expires(event.received_at, *ttl, self.now);
        let signature = self.key.sign(&event.id, part, expires);
        format!("{public_url}/v1/events/{}/{part}?{EXPIRES}={expires}&{SIGNATURE}={signature}", event.id)
    }
}

/// In steps of half a lifetime from the receipt, and between half of one and a whole one from now.
fn expires(received_at: Timestamp, ttl: SignedDuration, now: Timestamp) -> i64 {
    let half = (ttl.as_secs() / 2).max(1);
    let age = (now.as_second() - received_at.as_second()).max(0);
    received_at.as_second() + (age / half + 2) * half
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::domain::id::MailKey;

    const HOUR: i64 = 3600;
    const SIGNED: &str = "0115012ff52b42585176e6438347a0cb773d28522138a2e671b2a3f5f15b2b86";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn event(data: &str) -> StoredEvent {
        StoredEvent {
            id: "evt_1".into(),
            kind: Kind::Received.into(),
            created_at: "2026-06-02T14:08:11.000Z".into(),
            data: RawValue::from_string(data.into()).unwrap(),
            source: Some("mail".into()),
            received_at: at(1_000),
            request_id: None,
            mail: MailKey(1),
            possible_duplicate_of: None,
            endpoints: vec![],
        }
    }

    fn links(settings: &LinkSettings, now: i64) -> Links<'_> {
        Links { settings, key: LinkKey::new(&[7; 32]), now: at(now) }
    }

    fn settings() -> LinkSettings {
        LinkSettings { public_url: "https://hooks.acme.example".into(), ttl: SignedDuration::from_hours(2) }
    }

    #[test]
    fn links_are_made_whole_and_the_rest_stays_as_it_is() {
        let data = r#"{"id":"m1","to":"a@b.example","tags":[],"metadata":{},"mail":{"to":["a@b.example"],"text":"hi","html_url":"content/html","attachments":[{"n":0,"inline":false,"url":"attachments/0"}]},"provider":{"name":"sendgrid-inbound","source":"mail","type":"inbound"}}"#;
        let settings = settings();
        let given: serde_json::Value =
            serde_json::from_str(links(&settings, 1_000).made_in(&event(data)).unwrap().data.get()).unwrap();
        let lead = "https://hooks.acme.example/v1/events/evt_1/";
        let html = given["mail"]["html_url"].as_str().unwrap();
        assert!(html.starts_with(&format!("{lead}content/html?expires=8200&signature=")), "{html}");
        assert!(given["mail"]["attachments"][0]["url"].as_str().unwrap().starts_with(&format!("{lead}attachments/0?")));
        let mut expected: serde_json::Value = serde_json::from_str(data).unwrap();
        expected["mail"]["html_url"] = html.into();
        expected["mail"]["attachments"][0]["url"] = given["mail"]["attachments"][0]["url"].clone();
        assert_eq!(given, expected);
    }

    #[test]
    fn without_a_public_url_they_are_paths() {
        let settings = LinkSettings { public_url: String::new(), ..settings() };
        assert!(links(&settings, 1_000).to(&event("{}"), "content/raw").starts_with("/v1/events/evt_1/content/raw?"));
    }

    #[test]
    fn a_link_is_good_for_its_part_of_its_event_until_it_expires() {
        let key = LinkKey::new(&[7; 32]);
        let id = EventId::from("evt_1");
        let signature = key.sign(&id, "content/text", 5_000);
        let good =
            |event: &str, part: &str, expires, now| key.is_good(&event.into(), part, expires, &signature, at(now));
        assert!(good("evt_1", "content/text", 5_000, 4_999));
        assert!(!good("evt_1", "content/text", 5_000, 5_000), "expired");
        assert!(!good("evt_1", "content/text", 6_000, 4_999), "made longer");
        assert!(!good("evt_1", "content/html", 5_000, 4_999) && !good("evt_2", "content/text", 5_000, 4_999));
        assert!(!LinkKey::new(&[8; 32]).is_good(&id, "content/text", 5_000, &signature, at(1)));
        for bad in ["", "00", "zz", &signature[2..]] {
            assert!(!key.is_good(&id, "content/text", 5_000, bad, at(1)), "{bad}");
        }
        // Python's `hmac` of the same text.
        assert_eq!(key.sign(&id, "content/text", 5_000), SIGNED);
        assert_eq!(format!("{key:?}"), "LinkKey(..)");
    }

    #[test]
    fn attempts_that_are_near_in_time_post_the_same_link() {
        let (received, ttl) = (at(0), SignedDuration::from_hours(2));
        assert_eq!(expires(received, ttl, at(0)), 2 * HOUR);
        assert_eq!(expires(received, ttl, at(HOUR - 1)), 2 * HOUR);
        assert_eq!(expires(received, ttl, at(HOUR)), 3 * HOUR);
        assert_eq!(expires(received, ttl, at(10 * HOUR + 5)), 12 * HOUR);
        assert_eq!(expires(received, ttl, at(-5)), 2 * HOUR, "a clock that is behind");
    }
}
