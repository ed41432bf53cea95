//! What is common to the adapters of received mail.
//!
//! A mail is taken apart here and not by a library, because of what may come: no step copies a body, each is bounded, and none
//! takes longer than its length allows. Of what a sender may write, 30 MiB at a time, this takes 0.5 MiB at most. Libraries:
//!
//! - `mail-parser` 1.0, which is bounded too, wants Rust 1.98; 0.11.4 took 2.0 GiB for parts with nothing in them, and 2.7 GiB
//!   for such header fields.
//! - `mailparse` 0.18.0 took 2.1 GiB for such parts, reads nothing of a mail with parts 101 deep, and takes `--ab` for the
//!   boundary `a`. Of its pieces: a header's value of 234 KiB took 2.6 s, and four times as long for twice the length; it
//!   decodes no word behind `éé`, and no letter that two words share; prefers the plain file name to the encoded one beside
//!   it; and took 53 MiB to know how long a file of base64 is, or, for one wrong letter in it, gave nothing.

pub(crate) mod encoded;
pub(crate) mod head;
mod layout;
mod limits;
pub(crate) mod mime;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::event::{Data, Kind, Mail, Origin, Spam};
use crate::form::Field;
use crate::identity::Read;
use crate::{Parsed, Request, fields};

pub(crate) use head::Head;
pub(crate) use layout::{ATTACHMENTS_MAX, Attached, Layout, content_id, file_name, listed_attachments, media_type};
pub(crate) use limits::{cut, listed};

/// A mail that was read, before it is known what makes it the same event again.
pub(crate) struct Received<'a> {
    pub(crate) request: &'a Request,
    pub(crate) provider: &'static str,
    /// The provider's own type.
    pub(crate) word: String,
    /// When, where the provider tells.
    pub(crate) at: Option<Timestamp>,
    pub(crate) mail: Mail,
    /// What it is told by where it has no Message-ID.
    pub(crate) digest: [u8; 32],
}

impl Received<'_> {
    /// The event. It is the same mail if Message-ID and envelope are the same: a provider posts it for each recipient, and
    /// for each rule that it matches. Where not all of the envelope is known, all else has to tell it.
    pub(crate) fn event(self) -> Parsed {
        let Self { request, provider, word, at, mail, digest } = self;
        let envelope = mail.envelope.clone().unwrap_or_default();
        let by_envelope = mail.message_id.as_ref().filter(|_| !mail.truncated.iter().any(|name| name == "envelope"));
        let identity = by_envelope.map_or(digest, |id| {
            let mut hash = Sha256::new();
            for text in [id, &envelope.from.unwrap_or_default()].into_iter().chain(&envelope.to) {
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
            hash.finalize().into()
        });
        // Whom it was for by SMTP, whom `To` may not name.
        let recipients = if envelope.to.is_empty() { mail.to.clone() } else { envelope.to };
        let data = Data {
            message_id: mail.message_id.clone(),
            from: mail.from.clone(),
            subject: mail.subject.clone(),
            mail: Some(mail),
            provider: Origin {
                name: provider.to_owned(),
                source: request.source.to_string(),
                kind: word,
                ..Origin::default()
            },
            ..Data::for_recipients(recipients)
        };
        let own_identity = Some(hex::encode(identity));
        Read { request, kind: Kind::Received, at, data, own_identity, from: &Value::Null }.finish()
    }
}

/// What a spam filter said, if it said anything.
pub(crate) fn spam(score: Option<&str>, report: Option<&str>, flag: Option<&str>) -> Option<Spam> {
    let spam = Spam {
        score: score.and_then(|score| score.trim().parse().ok()).filter(|score: &f64| score.is_finite()),
        report: report.map(str::trim).filter(|report| !report.is_empty()).map(cut),
        flagged: match flag.map(|flag| flag.trim().to_ascii_lowercase()).as_deref() {
            Some("yes") => Some(true),
            Some("no") => Some(false),
            _ => None,
        },
    };
    (spam != Spam::default()).then_some(spam)
}

/// The longest JSON that is read: as values it takes many times its length.
pub(crate) const JSON_LEN_MAX: usize = 1024 * 1024;

/// The JSON in a field; nothing where there is none.
pub(crate) fn json(field: Option<&Field<'_>>) -> Value {
    field.and_then(|field| fields::value(&field.body.short_text(JSON_LEN_MAX)?)).unwrap_or_default()
}
