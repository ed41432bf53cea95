//! What the formats beside `drin` read of a stored event's `data`, borrowed from it.

use std::borrow::Cow;
use std::ops::Deref;

use serde::Deserialize;
use waypost_providers::event::{BounceClass, FailureStage, Scope};

use crate::domain::plan::StoredEvent;

/// A text, borrowed unless the JSON has escapes in it.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A text that may be unknown.
type Known<'a> = Option<Text<'a>>;

/// `data`: the names are those of `waypost_providers::event::Data`; `endpoint_id` is of operational events.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct View<'a> {
    #[serde(borrow)]
    pub(super) id: Known<'a>,
    pub(super) message_id: Known<'a>,
    pub(super) to: Known<'a>,
    pub(super) recipients: Vec<Text<'a>>,
    pub(super) from: Known<'a>,
    pub(super) subject: Known<'a>,
    pub(super) campaign: Option<Named<'a>>,
    pub(super) delivery: Option<Remote<'a>>,
    pub(super) delay: Option<Remote<'a>>,
    pub(super) open: Option<Access<'a>>,
    pub(super) click: Option<Access<'a>>,
    pub(super) bounce: Option<Bounce<'a>>,
    pub(super) failure: Option<Failure<'a>>,
    pub(super) mail: Option<Mail<'a>>,
    pub(super) unsubscribe: Option<Unsubscribe<'a>>,
    pub(super) domain: Option<Named<'a>>,
    pub(super) contact: Option<Named<'a>>,
    pub(super) endpoint_id: Known<'a>,
}

impl<'a> View<'a> {
    /// Reads an event's `data`.
    pub(super) fn of(event: &'a StoredEvent) -> Result<Self, serde_json::Error> {
        serde_json::from_str(event.data.get())
    }
}

/// A campaign, a domain, a contact.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    pub(super) name: Known<'a>,
}

/// What a remote server said.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Remote<'a> {
    #[serde(borrow)]
    pub(super) mx_host: Known<'a>,
    pub(super) code: Known<'a>,
    pub(super) message: Known<'a>,
}

/// Who loaded the pixel or followed the link.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Access<'a> {
    #[serde(borrow)]
    pub(super) url: Known<'a>,
    pub(super) ip: Known<'a>,
    pub(super) user_agent: Known<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Bounce<'a> {
    pub(super) class: BounceClass,
    #[serde(borrow)]
    pub(super) mx_host: Known<'a>,
    pub(super) code: Known<'a>,
    pub(super) reason: Known<'a>,
    pub(super) message: Known<'a>,
    pub(super) retries_exhausted: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Failure<'a> {
    #[serde(borrow)]
    pub(super) reason: Known<'a>,
    pub(super) stage: Option<FailureStage>,
    pub(super) message: Known<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Unsubscribe<'a> {
    pub(super) scope: Option<Scope>,
    #[serde(borrow)]
    pub(super) ids: Vec<Text<'a>>,
    pub(super) ip: Known<'a>,
    pub(super) user_agent: Known<'a>,
}

/// Of a received mail only what is in its head.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Mail<'a> {
    #[serde(borrow)]
    pub(super) envelope: Option<Envelope<'a>>,
    pub(super) to: Vec<Text<'a>>,
    pub(super) cc: Vec<Text<'a>>,
    pub(super) bcc: Vec<Text<'a>>,
    pub(super) attachments: Vec<Attachment<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) to: Vec<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attachment<'a> {
    #[serde(borrow)]
    pub(super) filename: Known<'a>,
    pub(super) content_type: Known<'a>,
    pub(super) content_id: Known<'a>,
    pub(super) inline: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_copied_only_where_it_has_escapes() {
        let view: View<'_> = serde_json::from_str(r#"{"id":"a","subject":"b\"c","recipients":["d"]}"#).unwrap();
        let is_borrowed = |text: &Text<'_>| matches!(text.0, Cow::Borrowed(_));
        assert!(is_borrowed(&view.id.unwrap()) && is_borrowed(&view.recipients[0]));
        assert!(!is_borrowed(view.subject.as_ref().unwrap()));
        assert_eq!(&*view.subject.unwrap(), "b\"c");
    }
}
