//! A mail as Postmark takes it apart (postmarkapp.com, "Inbound webhook"; `anymail/django-anymail`, "webhooks/postmark.py").

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::body::{Body, Coding};
use crate::event::{Data, Envelope, Kind, Mail, Origin};
use crate::fields::{text, texts, value, written};
use crate::identity::Read;
use crate::mail::head::each_address;
use crate::mail::{self, Attached, Head, Layout, content_id, cut, listed};
use crate::repair::repaired;
use crate::{Content, Parsed, Part, Request, fields};

/// What it is called where other webhooks have their `RecordType`, and this one has none.
const INBOUND: &str = "Inbound";
/// What has the mail's contents, and stays where it is.
const CONTENTS: [&str; 4] = ["TextBody", "HtmlBody", "RawEmail", "Attachments"];

pub(super) fn parse(request: &Request) -> Parsed {
    read(request, |given, layout| event(request, given, layout))
        .unwrap_or_else(|| Parsed::unreadable("the body is not JSON"))
}

pub(super) fn content(request: &Request, part: Part) -> Option<Content> {
    read(request, |_, layout| layout.content(&request.body, part))?
}

/// The body's fields, but for the contents, and where these are.
fn read<T>(request: &Request, then: impl FnOnce(&Value, &Layout<'_>) -> T) -> Option<T> {
    let text = String::from_utf8_lossy(&request.body);
    let text = if written(&text).is_some() { text } else { Cow::Owned(repaired(&text)) };
    let given = written(&text)?;
    let mut layout = Layout::of(body(given.get("TextBody"), Coding::Json), body(given.get("HtmlBody"), Coding::Json))
        .with_raw(body(given.get("RawEmail"), Coding::Json));
    let attached = given.get("Attachments").and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
    attached.into_iter().flatten().filter_map(|one| attached_as(one.get())).for_each(|one| layout.attach(one));
    let others = given.iter().filter(|(name, _)| !CONTENTS.contains(&name.as_str()));
    let others: Map<_, _> = others.filter_map(|(name, raw)| Some((name.clone(), value(raw.get())?))).collect();
    Some(then(&others.into(), &layout))
}

/// A text that says something.
fn body<'a>(raw: Option<&&'a RawValue>, coding: Coding) -> Option<Body<'a>> {
    let raw = raw?.get();
    let is_text = raw.starts_with('"') && raw != "\"\"";
    is_text.then(|| Body::new(raw.as_bytes(), coding))
}

/// What has a Content-ID is part of the text: Postmark does not tell more.
fn attached_as(json: &str) -> Option<Attached<'_>> {
    let given = written(json)?;
    let told = |name: &str| text(&value(given.get(name)?.get())?);
    let content_id = told("ContentID").as_deref().and_then(content_id);
    Some(Attached {
        body: body(given.get("Content"), Coding::JsonBase64).unwrap_or_else(|| Body::new(b"", Coding::Plain)),
        filename: told("Name"),
        content_type: told("ContentType"),
        inline: content_id.is_some(),
        content_id,
    })
}

fn event(request: &Request, given: &Value, layout: &Layout<'_>) -> Parsed {
    let word = text(&given["RecordType"]).unwrap_or_else(|| INBOUND.into());
    if word != INBOUND {
        return Parsed::Unmapped { kind: word };
    }
    let event_id = text(&given["MessageID"]);
    let mut mail = mail(given);
    layout.tell(&mut mail);
    // Whom it was for by SMTP, whom `To` may not name.
    let recipients = mail.envelope.as_ref().map_or_else(|| mail.to.clone(), |envelope| envelope.to.clone());
    let data = Data {
        id: event_id.clone(),
        message_id: mail.message_id.clone(),
        from: mail.from.clone(),
        subject: mail.subject.clone(),
        tags: texts(&given["Tag"]),
        mail: Some(mail),
        provider: Origin {
            name: "postmark-inbound".into(),
            source: request.source.to_string(),
            kind: word,
            event_id: event_id.clone(),
            test: false,
        },
        ..Data::for_recipients(recipients)
    };
    // Without an id, the whole of it has to tell it from another.
    let whole = if event_id.is_none() { fields::json(&request.body).unwrap_or_default() } else { Value::Null };
    Read { request, kind: Kind::Received, at: None, data, own_identity: event_id, from: &whole }.finish()
}

fn mail(given: &Value) -> Mail {
    let headers = given["Headers"].as_array().into_iter().flatten();
    let pair = |one: &Value| Some((one["Name"].as_str()?.to_owned(), one["Value"].as_str()?.to_owned()));
    let head = Head::of(headers.filter_map(pair));
    let mut mail = head.mail();
    let mut truncated = std::mem::take(&mut mail.truncated);
    let mut all = |name: &str, apart: &str, whole: &str| match &given[apart] {
        Value::Array(all) => listed(all.iter().filter_map(full).map(|one| cut(&one)), name, &mut truncated),
        _ => listed(each_address(given[whole].as_str().unwrap_or_default()), name, &mut truncated),
    };
    let (to, cc, bcc) = (all("to", "ToFull", "To"), all("cc", "CcFull", "Cc"), all("bcc", "BccFull", "Bcc"));
    let reply_to = all("reply_to", "", "ReplyTo");
    let envelope = texts(&given["OriginalRecipient"]);
    Mail {
        envelope: (!envelope.is_empty()).then_some(Envelope { to: envelope, ..Envelope::default() }),
        from: full(&given["FromFull"]).or_else(|| text(&given["From"])).as_deref().map(cut),
        to,
        cc,
        bcc,
        reply_to,
        subject: text(&given["Subject"]).as_deref().map(cut),
        date: text(&given["Date"]).as_deref().map(cut).or_else(|| mail.date.take()),
        spam: mail::spam(head.get("x-spam-score"), head.get("x-spam-tests"), head.get("x-spam-status")),
        spf: head.get("received-spf").and_then(|spf| Some(spf.split_whitespace().next()?.to_ascii_lowercase())),
        truncated,
        ..mail
    }
}

/// As Postmark itself writes a name and an address in one text.
fn full(given: &Value) -> Option<String> {
    let address = text(&given["Email"])?;
    let Some(name) = text(&given["Name"]) else { return Some(address) };
    Some(format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\"")))
}
