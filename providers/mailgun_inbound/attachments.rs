//! What is attached: files of the form, or where Mailgun has stored them.

use serde_json::Value;

use super::parse::HEADERS;
use crate::Part;
use crate::event::{Attachment, Mail};
use crate::fields::{count, text};
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
/// it cannot be told, for the header is not known whole.
pub(super) fn own<'a, 'b>(form: &'b Form<'a>, head: &Head, name: &str) -> Option<&'b Field<'a>> {
    form.last(name).filter(|_| is_known(form, head) && !is_smuggled(form, head, name))
}

/// The same, and where it cannot be told the last one: rather the sender's word for the mail's contents than none.
pub(super) fn written<'a, 'b>(form: &'b Form<'a>, head: &Head, name: &str) -> Option<&'b Field<'a>> {
    form.last(name).filter(|_| !is_known(form, head) || !is_smuggled(form, head, name))
}

fn is_known(form: &Form<'_>, head: &Head) -> bool {
    head.is_whole() && form.last(HEADERS).is_some()
}

/// Whether the header has as many fields of this name as the form.
fn is_smuggled(form: &Form<'_>, head: &Head, name: &str) -> bool {
    form.fields().iter().filter(|field| field.name == name).count() <= head.count(name)
}

/// Mailgun's list of the attachments that it has kept.
pub(super) fn listed(form: &Form<'_>, head: &Head) -> Value {
    own(form, head, "attachments").map_or(Value::Null, |field| json(Some(field)))
}

/// What `store()` has kept, which is fetched from Mailgun: the attachments that `attachments` lists, and at `message-url` the
/// mail itself. Not what a header field of these names says: it would have the key sent to wherever the sender likes.
pub(super) fn stored(form: &Form<'_>, head: &Head, mail: &mut Mail) {
    if own(form, head, "message-url").is_some() {
        mail.raw_url = Some(Part::Raw.url());
    }
    let ids = json(written(form, head, "content-id-map"));
    let listed = listed(form, head);
    let Some(listed) = listed.as_array().filter(|_| mail.attachments.is_empty()) else { return };
    let attachment = |(n, given): (usize, &Value)| {
        let url = text(&given["url"]);
        let id = ids.as_object().into_iter().flatten().find(|(_, found)| text(found) == url && url.is_some());
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
    mail.attachments = listed_attachments(listed.iter().enumerate().map(attachment), &mut mail.truncated);
}
