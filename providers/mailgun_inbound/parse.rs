//! A mail as Mailgun takes it apart, or as it was sent (`mailgun/documentation`, "Receiving, Forwarding and Storing
//! Messages"; `anymail/django-anymail`, "webhooks/mailgun.py").

use super::attachments::{attach, tell_kept, written};
use super::verify::PROOF;
use crate::event::{Dkim, Envelope, Mail};
use crate::fields::{addresses, epoch, text};
use crate::form::{Field, Form};
use crate::mail::mime::Message;
use crate::mail::{self, Head, Layout, Received, cut, listed};
use crate::mailgun::verify::decoded;
use crate::{Content, Parsed, Part, Request, Verified};

/// What it is called where the webhooks have their `event`, and this one has none.
const INBOUND: &str = "inbound";
/// Any of them tells a mail from an event of the form webhooks.
const OF_MAIL: [&str; 5] = ["sender", "from", "body-plain", "body-mime", "message-url"];
/// The fields of a header that the form repeats, for a form that has no `message-headers`.
const REPEATED: [&str; 10] =
    ["from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references"];

/// The whole header, as Mailgun read it.
pub(super) const HEADERS: &str = "message-headers";

pub(super) fn parse(verified: &Verified) -> Parsed {
    let request = verified.request();
    let Some(form) = Form::read(request) else { return no_form(verified) };
    if !OF_MAIL.iter().any(|name| form.first(name).is_some()) {
        let word = form.first("event").and_then(|event| text(&event.text().into()));
        return word.map_or_else(|| Parsed::unreadable("it names no mail"), |kind| Parsed::Unmapped { kind });
    }
    let mail = read(&form, |head, layout| {
        let mut mail = mail(&form, head);
        layout.tell(&mut mail);
        tell_kept(&form, head, &mut mail);
        mail
    });
    let at = form.last("timestamp").and_then(|timestamp| epoch(&timestamp.text().into()));
    let digest = verified.digest().copied().unwrap_or_else(|| form.digest(&PROOF));
    Received { request, provider: "mailgun-inbound", word: INBOUND.to_owned(), at, mail, digest }.event()
}

pub(super) fn content(request: &Request, part: Part) -> Option<Content> {
    read(&Form::read(request)?, |_, layout| layout.content(&request.body, part))
}

/// Events of mail sent, whose webhook has this URL by mistake, are not lost, and told by their own word.
fn no_form(verified: &Verified) -> Parsed {
    let decoded_now = if verified.decoded().is_none() { decoded(verified.request()) } else { None };
    let body = verified.decoded().or(decoded_now.as_ref());
    let word = body.and_then(|body| text(&body["event-data"]["event"]));
    word.map_or_else(|| Parsed::unreadable("the body is no form"), |kind| Parsed::Unmapped { kind })
}

/// To a URL that ends in `mime`, there is the mail in place of its parts and of its header: beside `message-headers`, such a
/// field is one of the sender's header.
fn read<T>(form: &Form<'_>, then: impl FnOnce(&Head, &Layout<'_>) -> T) -> T {
    let raw = form.last("body-mime").filter(|_| form.is_whole() && form.last(HEADERS).is_none());
    if let Some(raw) = raw {
        let bytes = raw.body.bytes();
        let Message { head, layout } = Message::read(&bytes);
        return then(&head, &layout.with_raw(Some(raw.body)));
    }
    let head = head(form);
    let body = |name: &str| written(form, &head, name).map(|field| field.body);
    let mut layout = Layout::of(body("body-plain"), body("body-html"));
    attach(form, &head, &mut layout);
    if !form.is_whole() {
        layout.cut();
    }
    then(&head, &layout)
}

pub(super) fn head(form: &Form<'_>) -> Head {
    let told = form.last(HEADERS);
    let pairs = mail::json(told);
    if pairs.is_array() {
        return Head::of_pairs(&pairs);
    }
    let fields = form.fields().iter().filter(|field| field.filename.is_none());
    let repeated = fields.filter(|field| REPEATED.iter().any(|name| field.name.eq_ignore_ascii_case(name)));
    let head = Head::of(repeated.map(|field| (field.name.clone(), field.text().into_owned())));
    if told.is_some() || !form.is_whole() { head.not_whole() } else { head }
}

/// What the header says, and what Mailgun says of it and of the rest.
fn mail(form: &Form<'_>, head: &Head) -> Mail {
    let mut mail = head.mail();
    let first = |name: &str| form.first(name).map(Field::text).filter(|text| !text.trim().is_empty());
    let envelope = Envelope {
        from: first("sender").as_deref().map(cut),
        to: listed(addresses(&first("recipient").unwrap_or_default()), "envelope", &mut mail.truncated),
        ip: None,
    };
    // Of a form that was not read whole, the header may be what a field of the sender's says it is.
    let trusted = head.above("received").filter(|_| form.is_whole()).unwrap_or_default();
    let told = |name: &str| trusted.get(name).filter(|value| !value.is_empty());
    let word = |name: &str| told(name).map(|value| cut(&value.to_ascii_lowercase()));
    Mail {
        envelope: (envelope != Envelope::default()).then_some(envelope),
        spam: mail::spam(told("x-mailgun-sscore"), told("x-mailgun-spam-rules"), told("x-mailgun-sflag")),
        dkim: word("x-mailgun-dkim-check-result").map(|result| Dkim { domain: None, result }).into_iter().collect(),
        spf: word("x-mailgun-spf"),
        ..mail
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::attachments::own;
    use super::*;

    fn read(fields: &[(&str, &str)], part: Part) -> Option<String> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into();
        let headers = [("content-type", "application/x-www-form-urlencoded")].into_iter().collect();
        let request = Request { source: "a".into(), received_at: Timestamp::UNIX_EPOCH, headers, body };
        content(&request, part).map(|content| String::from_utf8_lossy(&content.bytes).into_owned())
    }

    #[test]
    fn a_field_of_the_senders_header_takes_no_mails_place() {
        let smuggled = "Subject: other\r\n\r\nother";
        let headers = r#"[["body-mime", "Subject: other"], ["Subject", "true"]]"#;
        let fields = [("body-mime", smuggled), ("body-plain", "true"), ("message-headers", headers)];
        assert_eq!(read(&fields, Part::Text).as_deref(), Some("true"));
        assert_eq!(read(&fields[..1], Part::Text).as_deref(), Some("other"));
    }

    #[test]
    fn a_field_of_the_senders_header_is_no_html_that_the_mail_has_not() {
        let headers = r#"[["body-html", "other"], ["content-id-map", "{}"]]"#;
        let fields =
            [("body-html", "other"), ("body-plain", "true"), ("message-headers", headers), ("body-html", "true")];
        assert_eq!(read(&fields, Part::Html).as_deref(), Some("true"));
        assert_eq!(read(&fields[..3], Part::Html), None);
        // Where the header is not known, so is whose it is.
        let unknown = [fields[0], fields[1], ("message-headers", "[")];
        for fields in [&fields[..2], &unknown] {
            assert_eq!(read(fields, Part::Html).as_deref(), Some("other"));
        }
    }

    #[test]
    fn of_a_form_that_is_not_read_whole_nothing_is_believed_for_mailguns() {
        let passed = r#"[["X-Mailgun-Spf", "Pass"], ["Received", "x"]]"#;
        let fields = |count: usize| {
            let filler = vec![("a", "x"); count];
            let failed = r#"[["X-Mailgun-Spf", "Fail"], ["Received", "x"], ["message-headers", "…"]]"#;
            [
                vec![("message-headers", passed)],
                filler.clone(),
                vec![("message-headers", failed)],
                filler,
                vec![("message-url", "u")],
            ]
            .concat()
        };
        let told = |fields: Vec<(&str, &str)>| {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into();
            let headers = [("content-type", "application/x-www-form-urlencoded")].into_iter().collect();
            let request = Request { source: "a".into(), received_at: Timestamp::UNIX_EPOCH, headers, body };
            let form = Form::read(&request).unwrap();
            let head = head(&form);
            (mail(&form, &head).spf, own(&form, &head, "message-url").is_some())
        };
        assert_eq!(told(fields(0)), (Some("fail".into()), true));
        assert_eq!(told(fields(600)), (None, false));
    }
}
