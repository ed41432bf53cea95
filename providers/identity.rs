//! What makes two reports the same event.

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::event::{Data, Event, Kind, rfc3339_millis};
use crate::{Found, Parsed, Request};

impl Event {
    /// Equal for two reports of one thing that happened: SHA-256 of provider, the provider's own type, message
    /// id, recipient, event time, url, attempt, and group, topic or list ids.
    ///
    /// It tells reports that a provider repeats under another id. Two real clicks on one link in one millisecond have
    /// the same one.
    pub fn fingerprint(&self) -> [u8; 32] {
        let data = &self.data;
        let recipients = data.to.iter().chain(&data.recipients);
        let opted_out = data.unsubscribe.iter().flat_map(|unsubscribe| &unsubscribe.ids);
        let entity = data.contact.as_ref().map(|contact| &contact.id).or(data.domain.as_ref().map(|domain| &domain.id));
        let mut hash = Sha256::new();
        feed(&mut hash, [&data.provider.name]);
        // SendGrid has written the same type as `processed` and as `Processed`.
        feed(&mut hash, [data.provider.kind.to_lowercase()]);
        feed(&mut hash, data.id.as_ref().or(data.message_id.as_ref()));
        feed(&mut hash, recipients);
        feed(&mut hash, [rfc3339_millis(self.created_at)]);
        feed(&mut hash, data.click.as_ref().and_then(|click| click.url.as_ref()));
        feed(&mut hash, data.delay.as_ref().and_then(|delay| delay.attempt).map(|attempt| attempt.to_string()));
        feed(&mut hash, opted_out.chain(entity));
        hash.finalize().into()
    }
}

/// One field: how many values, then each behind its length, so that no two lists of fields hash alike.
fn feed<T: AsRef<str>>(hash: &mut Sha256, values: impl IntoIterator<Item = T, IntoIter: Clone>) {
    let values = values.into_iter();
    hash.update((values.clone().count() as u64).to_be_bytes());
    for value in values {
        hash.update((value.as_ref().len() as u64).to_be_bytes());
        hash.update(value.as_ref());
    }
}

/// SHA-256 of what a JSON value means: the order of keys and white space make no difference.
pub(crate) fn digest(value: &Value) -> [u8; 32] {
    let mut hash = Sha256::new();
    canonical(&mut hash, value);
    hash.finalize().into()
}

/// As deep as the value, which the JSON reader bounds (128).
fn canonical(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(flag) => hash.update(if *flag { b"t" } else { b"f" }),
        Value::Number(number) => tagged(hash, b"d", &number.to_string()),
        Value::String(text) => tagged(hash, b"s", text),
        Value::Array(values) => {
            tagged(hash, b"a", &values.len().to_string());
            values.iter().for_each(|value| canonical(hash, value));
        }
        Value::Object(fields) => {
            tagged(hash, b"o", &fields.len().to_string());
            // Sorted here, since a feature of serde_json turned on elsewhere makes maps keep their order.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in fields {
                tagged(hash, b"k", name);
                canonical(hash, value);
            }
        }
    }
}

fn tagged(hash: &mut Sha256, tag: &[u8; 1], text: &str) {
    hash.update(tag);
    feed(hash, [text]);
}

/// The most recipients that one event names. SendGrid and Mailgun take 1,000 in one send; each costs the gateway work that
/// others wait for.
const RECIPIENTS_MAX: usize = 1_000;

/// What an adapter has read, before it is known what makes it the same event again.
pub(crate) struct Read<'a> {
    /// The request it came in.
    pub(crate) request: &'a Request,
    /// What happened.
    pub(crate) kind: Kind,
    /// When, where the provider tells.
    pub(crate) at: Option<Timestamp>,
    /// To what.
    pub(crate) data: Data,
    /// The provider's own identity of it, where it has one.
    pub(crate) own_identity: Option<String>,
    /// What it was read from.
    pub(crate) from: &'a Value,
}

impl Read<'_> {
    /// The event and its identity.
    pub(crate) fn finish(self) -> Parsed {
        let data = &self.data;
        let someone =
            data.id.is_some() || data.message_id.is_some() || data.to.is_some() || !data.recipients.is_empty();
        if !someone && data.domain.is_none() {
            return Parsed::unreadable("it names neither a mail nor a recipient");
        }
        if data.recipients.len() > RECIPIENTS_MAX {
            return Parsed::unreadable("it names more than 1,000 recipients");
        }
        let created_at = told_or_received(self.at, self.request);
        let event = Event { kind: self.kind, created_at, data: self.data };
        let identity = self.own_identity.unwrap_or_else(|| match self.at {
            Some(_) => hex::encode(event.fingerprint()),
            None => hex::encode(digest(self.from)),
        });
        Parsed::Event(Box::new(Found { identity, untimed: self.at.is_none(), state: None, event }))
    }
}

/// Receipt is the best that is known of what has no time; it differs in a copy, so it is no identity.
pub(crate) fn told_or_received(at: Option<Timestamp>, request: &Request) -> Timestamp {
    at.unwrap_or_else(|| crate::fields::millis(request.received_at).unwrap_or_default())
}

impl Parsed {
    /// `reason` is ours, never the content's.
    pub(crate) fn unreadable(reason: &'static str) -> Self {
        Self::Unreadable { reason: reason.to_owned() }
    }
}

impl Data {
    /// One recipient is `to`, several are `recipients`.
    pub(crate) fn for_recipients(mut recipients: Vec<String>) -> Self {
        match recipients.len() {
            1 => Self { to: recipients.pop(), ..Self::default() },
            _ => Self { recipients, ..Self::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_is_of_the_meaning() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(digest(&parse(r#"{"a":1,"b":[true,null]}"#)), digest(&parse(r#"{ "b": [true, null], "a": 1 }"#)));
        let different = [
            json!(null),
            json!("n"),
            json!([]),
            json!({}),
            json!([[]]),
            json!([null]),
            json!(1),
            json!("1"),
            json!(1.5),
            json!(true),
            json!({"a": "b"}),
            json!(["a", "b"]),
            json!({"a": null}),
            json!({"ab": null}),
            json!(["ab"]),
        ];
        for (n, left) in different.iter().enumerate() {
            for right in &different[n + 1..] {
                assert_ne!(digest(left), digest(right), "{left} {right}");
            }
        }
    }

    #[test]
    fn a_fingerprint_tells_its_fields_apart() {
        let event = |change: fn(&mut Data)| {
            let mut data = Data { id: Some("a".into()), to: Some("b".into()), ..Data::default() };
            change(&mut data);
            Event { kind: Kind::Clicked, created_at: Timestamp::UNIX_EPOCH, data }.fingerprint()
        };
        let plain = event(|_| {});
        assert_eq!(plain, event(|data| data.subject = Some("s".into())));
        let changes: [fn(&mut Data); 5] = [
            |data| data.id = Some("c".into()),
            |data| data.to = Some("c".into()),
            |data| data.provider.kind = "open".into(),
            |data| data.click = Some(crate::event::Click { url: Some("u".into()), ..Default::default() }),
            |data| data.unsubscribe = Some(crate::event::Unsubscribe { ids: vec!["g".into()], ..Default::default() }),
        ];
        for change in changes {
            assert_ne!(plain, event(change));
        }
    }
}
