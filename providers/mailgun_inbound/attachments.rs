//! What is attached: files of the form, or where Mailgun has stored them.

use serde_json::Value;

use super::parse::HEADERS;
use crate::Part;
use crate::event::{Attachment, Mail};
use crate::fields::count;
use crate::form::{Field, Form};
use crate::mail::{Attached, Head, Layout, content_id, file_name, json, listed_attachments, media_type};

/// `attachment-1` and so on. Those of `content-id-map` are part of the text.
pub(super) fn attach<'a>(form: &Form<'a>, head: &Head, layout: &mut Layout<'a>) {
    let ids = json(written(form, head, "content-id-map"));
    let number = |field: &Field<'_>| field.name.strip_prefix("attachment-")?.parse::<usize>().ok();
    let files = form.fields().iter().filter(|field| field.filename.is_some() || field.content_type.is_some());
    let mut files: Vec<_> = files.filter_map(|field| Some((number(field)?, field))).collect();
    files.sort_by_key(|(number, _)| *number);
    for (_, file) in files {
        let id = ids.as_object().into_iter().flatten().find(|(_, name)| **name == *file.name);
        let content_id = id.and_then(|(id, _)| content_id(id));
        layout.attach(Attached {
            body: file.body,
            filename: file.filename.clone(),
            content_type: file.content_type.clone(),
            inline: content_id.is_some(),
            content_id,
        });
    }
}

/// The field of this name that is Mailgun's own, if there is one beside those that the sender's header has made. None where
/// it cannot be told, for the header or the form is not known whole.
pub(super) fn own<'a, 'b>(form: &'b Form<'a>, head: &Head, name: &str) -> Option<&'b Field<'a>> {
    form.last(name).filter(|_| is_known(form, head) && !is_smuggled(form, head, name))
}

/// The same, and where it cannot be told the last one: rather the sender's word for the mail's contents than none.
pub(super) fn written<'a, 'b>(form: &'b Form<'a>, head: &Head, name: &str) -> Option<&'b Field<'a>> {
    form.last(name).filter(|_| !is_known(form, head) || !is_smuggled(form, head, name))
}

fn is_known(form: &Form<'_>, head: &Head) -> bool {
    form.is_whole() && head.is_whole() && form.last(HEADERS).is_some()
}

/// Whether the header has as many fields of this name as the form.
fn is_smuggled(form: &Form<'_>, head: &Head, name: &str) -> bool {
    form.fields().iter().filter(|field| field.name == name).count() <= head.count(name)
}

/// What `store()` has kept, which is fetched from Mailgun.
pub(super) struct Kept {
    /// Where the mail itself is: what `message-url` says, if it is where mails are kept.
    pub(super) mail: Option<String>,
    /// What `attachments` lists.
    listed: Value,
}

impl Kept {
    /// Not what a header field of these names says: it would have the key sent to wherever the sender likes.
    pub(super) fn of(form: &Form<'_>, head: &Head) -> Self {
        let mail = own(form, head, "message-url").map(|url| url.text().into_owned());
        Self { mail: mail.filter(|url| is_mail(url)), listed: json(own(form, head, "attachments")) }
    }

    /// Each attachment, and its URL if that is below the mail's.
    pub(super) fn attachments(&self) -> impl ExactSizeIterator<Item = (usize, &Value, Option<&str>)> {
        let listed = self.listed.as_array().map(Vec::as_slice).unwrap_or_default();
        let one = |(n, given): (usize, _)| (n, given, url(given).filter(|url| self.is_below(url)));
        listed.iter().enumerate().map(one)
    }

    fn is_below(&self, url: &str) -> bool {
        let below = self.mail.as_deref().and_then(|mail| url.strip_prefix(mail));
        below.and_then(|below| below.strip_prefix("/attachments/")).is_some_and(is_segment)
    }
}

fn url(given: &Value) -> Option<&str> {
    given["url"].as_str()
}

/// Whether it is where one mail is kept, wherever that is: `…/v3/domains/DOMAIN/messages/KEY`.
fn is_mail(url: &str) -> bool {
    let mut segments = url.rsplit('/');
    let mut next = || segments.next().unwrap_or_default();
    is_segment(next()) && next() == "messages" && is_segment(next()) && next() == "domains" && next() == "v3"
}

/// Whether it is one segment of a path, and nothing that means another.
fn is_segment(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=' | b'.');
    !text.is_empty() && text.bytes().all(is_plain) && !text.bytes().all(|byte| byte == b'.')
}

/// Tells of it: a link to what can be fetched, and to nothing else.
pub(super) fn tell_kept(form: &Form<'_>, head: &Head, mail: &mut Mail) {
    let kept = Kept::of(form, head);
    if kept.mail.is_some() {
        mail.raw_url = Some(Part::Raw.url());
    }
    if !mail.attachments.is_empty() {
        return;
    }
    let ids = json(written(form, head, "content-id-map"));
    let attachment = |(n, given, url): (usize, &Value, Option<&str>)| {
        let id = ids.as_object().into_iter().flatten().find(|(_, found)| url.is_some() && found.as_str() == url);
        let content_id = id.and_then(|(id, _)| content_id(id));
        Attachment {
            n,
            filename: given["name"].as_str().and_then(file_name),
            content_type: given["content-type"].as_str().and_then(media_type),
            size: count(&given["size"]),
            inline: content_id.is_some(),
            content_id,
            url: url.map(|_| Part::Attachment(n).url()),
        }
    };
    mail.attachments = listed_attachments(kept.attachments().map(attachment), &mut mail.truncated);
}
