//! A mail as Postmark takes it apart (postmarkapp.com, "Inbound webhook"; `anymail/django-anymail`, "webhooks/postmark.py").

use serde_json::Value;

use crate::event::{Attachment, Data, Envelope, Kind, Mail, Origin};
use crate::fields::{addresses, message_id, text, texts};
use crate::identity::Read;
use crate::{Parsed, Request, fields};

/// What it is called where other webhooks have their `RecordType`, and this one has none.
const INBOUND: &str = "Inbound";

pub(super) fn parse(request: &Request) -> Parsed {
    let Some(given) = fields::json(&request.body) else { return Parsed::unreadable("the body is not JSON") };
    let word = text(&given["RecordType"]).unwrap_or_else(|| INBOUND.into());
    if word != INBOUND {
        return Parsed::Unmapped { kind: word };
    }
    let event_id = text(&given["MessageID"]);
    let mail = mail(&given);
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
    Read { request, kind: Kind::Received, at: None, data, own_identity: event_id, from: &given }.finish()
}

fn mail(given: &Value) -> Mail {
    let to = texts(&given["OriginalRecipient"]);
    Mail {
        envelope: (!to.is_empty()).then_some(Envelope { to, ..Envelope::default() }),
        from: full(&given["FromFull"]).or_else(|| text(&given["From"])),
        to: all(given, "ToFull", "To"),
        cc: all(given, "CcFull", "Cc"),
        bcc: all(given, "BccFull", "Bcc"),
        subject: text(&given["Subject"]),
        message_id: header(given, "message-id").and_then(message_id),
        attachments: attachments(&given["Attachments"]),
        ..Mail::default()
    }
}

/// The addresses of a field, which Postmark gives taken apart, and as the text of a header.
fn all(given: &Value, apart: &str, whole: &str) -> Vec<String> {
    match &given[apart] {
        Value::Array(all) => all.iter().filter_map(full).collect(),
        _ => given[whole].as_str().map(addresses).unwrap_or_default(),
    }
}

/// As Postmark itself writes a name and an address in one text.
fn full(given: &Value) -> Option<String> {
    let address = text(&given["Email"])?;
    let Some(name) = text(&given["Name"]) else { return Some(address) };
    Some(format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\"")))
}

fn header<'a>(given: &'a Value, name: &str) -> Option<&'a Value> {
    let headers = given["Headers"].as_array()?;
    let header =
        headers.iter().find(|one| one["Name"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name)))?;
    Some(&header["Value"])
}

/// What has a Content-ID is part of the text: Postmark does not tell more.
fn attachments(given: &Value) -> Vec<Attachment> {
    let attached = given.as_array().map(Vec::as_slice).unwrap_or_default();
    let attachment = |(n, given): (usize, &Value)| {
        let content_id = text(&given["ContentID"]);
        let inline = content_id.is_some();
        Attachment {
            n,
            filename: text(&given["Name"]),
            content_type: text(&given["ContentType"]),
            content_id,
            inline,
            ..Attachment::default()
        }
    };
    attached.iter().enumerate().map(attachment).collect()
}
