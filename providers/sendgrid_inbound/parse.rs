//! A mail as SendGrid takes it apart, or as it was sent (`sendgrid/docs`, "Setting up the Inbound Parse Webhook";
//! `anymail/django-anymail`, "webhooks/sendgrid.py").

use std::borrow::Cow;

use serde_json::Value;

use crate::body::Body;
use crate::event::{Dkim, Envelope, Mail};
use crate::fields::{json, text, texts};
use crate::form::{Field, Form};
use crate::mail::head::each_address;
use crate::mail::mime::Message;
use crate::mail::{self, Attached, Head, Layout, Received, content_id, cut, listed};
use crate::{Content, Parsed, Part, Request};

const PROVIDER: &str = "sendgrid-inbound";
/// What it is called where other webhooks have their `event`, and this one has none.
const INBOUND: &str = "inbound";
/// What SendGrid checked, and the fields that tell it.
const CHECKS: [(&str, &[&str]); 4] = [
    ("envelope", &["envelope", "sender_ip"]),
    ("spam", &["spam_score", "spam_report"]),
    ("dkim", &["dkim"]),
    ("spf", &["SPF"]),
];

pub(super) fn parse(request: &Request) -> Vec<Parsed> {
    let Some(form) = Form::read(request) else { return vec![no_form(request)] };
    let form = Fields::of(form);
    let mail = form.read(|head, layout| {
        let mut mail = form.mail(head);
        layout.tell(&mut mail);
        mail
    });
    let digest = form.form.digest(&[]);
    vec![Received { request, provider: PROVIDER, word: INBOUND.to_owned(), at: None, mail, digest }.event()]
}

pub(super) fn content(request: &Request, part: Part) -> Option<Content> {
    Fields::of(Form::read(request)?).read(|_, layout| layout.content(&request.body, part))
}

/// Events of mail sent, whose webhook has this URL by mistake, are not lost, and told by their own word.
fn no_form(request: &Request) -> Parsed {
    let is_list = request.body.trim_ascii_start().starts_with(b"[");
    let word = is_list.then(|| json(&request.body)).flatten().and_then(|body| text(&body[0]["event"]));
    word.map_or_else(|| Parsed::unreadable("the body is no form"), |kind| Parsed::Unmapped { kind })
}

/// A form, and in which charset its fields are: addresses and subject have been made UTF-8, text and HTML have not.
struct Fields<'a> {
    form: Form<'a>,
    charsets: Value,
}

impl<'a> Fields<'a> {
    fn of(form: Form<'a>) -> Self {
        let charsets = mail::json(form.first("charsets"));
        Self { form, charsets }
    }

    fn field(&self, name: &str) -> Option<Body<'a>> {
        Some(self.form.first(name)?.body.in_charset(self.charsets[name].as_str()))
    }

    /// What SendGrid says in this field; nothing where the form says two things in it, for one is the sender's, or may do so
    /// in what of it was not read.
    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let field = self.field(name).filter(|_| !self.is_doubtful(name))?;
        Some(field.text()).filter(|text| !text.trim().is_empty())
    }

    fn is_doubtful(&self, name: &str) -> bool {
        let mut copies = self.form.fields().iter().filter(|field| field.name == name);
        let first = copies.next();
        first.is_some_and(|first| !self.form.is_whole() || copies.any(|other| other.body.bytes() != first.body.bytes()))
    }

    /// With `send_raw` there is the mail in place of its parts. Either of both stands before all that a sender could add.
    fn read<T>(&self, then: impl FnOnce(&Head, &Layout<'_>) -> T) -> T {
        let first = self.form.fields().iter().find(|field| matches!(field.name.as_str(), "email" | "headers"));
        if let Some(raw) = first.filter(|field| field.name == "email") {
            let bytes = raw.body.bytes();
            let Message { head, layout } = Message::read(&bytes);
            return then(&head, &layout.with_raw(Some(raw.body)));
        }
        let head = Head::read(&self.form.first("headers").map(|field| field.body.bytes()).unwrap_or_default());
        let mut layout = Layout::of(self.field("text"), self.field("html"));
        self.attachments(&mut layout);
        if !self.form.is_whole() {
            layout.cut();
        }
        then(&head, &layout)
    }

    /// `attachment1` and so on, as told by their own heads and by `attachment-info`; those of `content-ids` are part of the
    /// text.
    fn attachments(&self, layout: &mut Layout<'a>) {
        let told = mail::json(self.form.first("attachment-info"));
        let content_ids = mail::json(self.form.first("content-ids"));
        let number = |field: &Field<'_>| field.name.strip_prefix("attachment")?.parse::<usize>().ok();
        let mut files: Vec<_> = self.form.fields().iter().filter_map(|field| Some((number(field)?, field))).collect();
        files.sort_by_key(|(number, _)| *number);
        for (_, file) in files {
            let told = &told[&file.name];
            let by_id = content_ids.as_object().into_iter().flatten().find(|(_, name)| **name == *file.name);
            let content_id = text(&told["content-id"]).or_else(|| by_id.map(|(id, _)| id.clone()));
            let charset = told["charset"].as_str().map(|charset| format!("; charset=\"{charset}\""));
            let content_type = text(&told["type"]).map(|kind| kind + &charset.unwrap_or_default());
            layout.attach(Attached {
                body: file.body,
                filename: text(&told["filename"]).or_else(|| text(&told["name"])).or_else(|| file.filename.clone()),
                content_type: content_type.or_else(|| file.content_type.clone()),
                inline: content_id.is_some(),
                content_id: content_id.as_deref().and_then(self::content_id),
            });
        }
    }

    /// What the header says, and what SendGrid says of it and of the rest.
    fn mail(&self, head: &Head) -> Mail {
        let mut mail = head.mail();
        let mut truncated = std::mem::take(&mut mail.truncated);
        for (name, place) in [("to", &mut mail.to), ("cc", &mut mail.cc)] {
            if let Some(header) = self.text(name) {
                truncated.retain(|known| known != name);
                *place = listed(each_address(&header), name, &mut truncated);
            }
        }
        for (name, place) in [("from", &mut mail.from), ("subject", &mut mail.subject)] {
            *place = self.text(name).as_deref().map(cut).or_else(|| place.take());
        }
        let envelope = mail::json(self.form.first("envelope").filter(|_| !self.is_doubtful("envelope")));
        let envelope = Envelope {
            from: text(&envelope["from"]).as_deref().map(cut),
            to: listed(texts(&envelope["to"]), "envelope", &mut truncated),
            ip: self.text("sender_ip").as_deref().map(str::trim).map(cut),
        };
        for (place, fields) in CHECKS {
            if fields.iter().any(|name| self.is_doubtful(name)) && !truncated.iter().any(|known| known == place) {
                truncated.push(place.to_owned());
            }
        }
        Mail {
            envelope: (envelope != Envelope::default()).then_some(envelope),
            spam: mail::spam(self.text("spam_score").as_deref(), self.text("spam_report").as_deref(), None),
            dkim: dkim(&self.text("dkim").unwrap_or_default()),
            spf: self.text("SPF").map(|spf| cut(&spf.trim().to_ascii_lowercase())),
            truncated,
            ..mail
        }
    }
}

/// No JSON: `{@example.org : pass, @example.com : fail}`, or `none`.
fn dkim(told: &str) -> Vec<Dkim> {
    let told = told.trim().trim_start_matches('{').trim_end_matches('}');
    let results = told.split(',').filter_map(|one| {
        let (domain, result) = one.rsplit_once(':').map_or((None, one), |(domain, result)| (Some(domain), result));
        let domain = domain.map(|domain| domain.trim().trim_start_matches('@')).filter(|domain| !domain.is_empty());
        let result = result.trim().to_ascii_lowercase();
        (!result.is_empty()).then(|| Dkim { domain: domain.map(cut), result: cut(&result) })
    });
    // No mail has more signatures that anybody would check.
    results.take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_looks_like_json_and_is_none() {
        let told = |given: &str| {
            let results =
                dkim(given).into_iter().map(|one| format!("{}={}", one.domain.unwrap_or_default(), one.result));
            results.collect::<Vec<_>>()
        };
        assert_eq!(told("{@example.org : pass}"), ["example.org=pass"]);
        assert_eq!(told("{@a.example : Pass, @b.example : fail}"), ["a.example=pass", "b.example=fail"]);
        assert_eq!(told("none"), ["=none"]);
        assert_eq!(told(" {} "), Vec::<String>::new());
    }

    #[test]
    fn of_a_form_that_is_not_read_whole_no_check_is_told() {
        let fields = |count: usize| {
            let filler = |name: &str| vec![(name.to_owned(), "x".to_owned()); count];
            // What a text brings stands before SendGrid's own, and an attachment's behind it.
            let told = |spf: &str| {
                let fields = [("SPF", spf), ("sender_ip", "192.0.2.1"), ("envelope", r#"{"from":"a@b.example"}"#)];
                fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
            };
            [told("pass"), filler("a"), told("fail"), filler("b")].concat()
        };
        let told = |fields: Vec<(String, String)>| {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into();
            let headers = [("content-type", "application/x-www-form-urlencoded")].into_iter().collect();
            let request = Request { source: "a".into(), received_at: jiff::Timestamp::UNIX_EPOCH, headers, body };
            let mail = Fields::of(Form::read(&request).unwrap()).mail(&Head::of([]));
            (mail.spf, mail.envelope.and_then(|envelope| envelope.from.or(envelope.ip)))
        };
        let own = fields(0).split_off(3);
        assert_eq!(told(own), (Some("fail".into()), Some("a@b.example".into())));
        assert_eq!(told(fields(600)), (None, None));
    }
}
