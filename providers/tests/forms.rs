//! Recorded forms with a field changed, and signed again.

use waypost_providers::event::Mail;
use waypost_providers::{PROVIDERS, Parsed};

use crate::cases::{Case, Source, source};

/// The head and the value of each part of a multipart form, and its boundary.
pub(crate) struct Parts {
    pub(crate) boundary: String,
    pub(crate) parts: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Parts {
    pub(crate) fn of(case: &Case) -> Option<Self> {
        let boundary = case.headers.get("content-type")?.split_once("boundary=")?.1.trim_matches('"').to_owned();
        let delimiter = format!("--{boundary}\r\n").into_bytes();
        let end = format!("--{boundary}--").into_bytes();
        let body = &case.body[..find(&case.body, &end)?];
        let mut parts = Vec::new();
        let mut rest = body.strip_prefix(&delimiter[..])?;
        while !rest.is_empty() {
            let part = &rest[..find(rest, &delimiter).unwrap_or(rest.len())];
            let head = find(part, b"\r\n\r\n")?;
            parts.push((part[..head].to_vec(), part[head + 4..part.len() - 2].to_vec()));
            rest = rest.get(part.len() + delimiter.len()..).unwrap_or_default();
        }
        Some(Self { boundary, parts })
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (head, value) in &self.parts {
            body.extend([format!("--{}\r\n", self.boundary).as_bytes(), head, b"\r\n\r\n", value, b"\r\n"].concat());
        }
        body.extend(format!("--{}--\r\n", self.boundary).bytes());
        body
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

/// The recorded mails that came as multipart forms, and tell in more than one field whose they are.
pub(crate) fn recorded(source: &Source) -> Vec<Parts> {
    let tells = |parsed: &[Parsed]| match parsed {
        [Parsed::Event(found)] => found.event.data.mail.as_ref().is_some_and(|mail| {
            let envelope = mail.envelope.as_ref().is_some_and(|envelope| !envelope.to.is_empty());
            envelope && (mail.message_id.is_some() || !mail.to.is_empty())
        }),
        _ => false,
    };
    let mails = source.good().filter(|(_, verified)| tells(&source.provider.parse(verified)));
    mails.filter_map(|(case, _)| Parts::of(case)).collect()
}

pub(crate) fn is_event(parsed: &[Parsed]) -> bool {
    matches!(parsed, [Parsed::Event(_)])
}

const VALUES: [&[u8]; 8] =
    [b"", b" ", b"text", b"\xff\xfe\x00", b"[[1],\"a\",{}]", b"{\"a\":[null]}", b"-1e999", b"--x\r\n"];

#[test]
fn one_field_of_a_form_changed_costs_that_field_and_not_the_mail() {
    let mut count = 0;
    for provider in PROVIDERS {
        let source = source(provider.name());
        for mut form in recorded(&source).into_iter().filter(|_| provider.name().ends_with("-inbound")) {
            for at in 0..form.parts.len() {
                let sent = form.parts[at].clone();
                let mut hold = |form: &Parts, what: &str| {
                    let parsed = source.read_body(&form.body()).unwrap();
                    let head = String::from_utf8_lossy(&sent.0).into_owned();
                    assert!(is_event(&parsed), "{}: {head} {what}: {parsed:?}", provider.name());
                    count += 1;
                };
                for value in VALUES {
                    form.parts[at].1 = value.to_vec();
                    hold(&form, &String::from_utf8_lossy(value));
                }
                form.parts[at].1.clone_from(&sent.1);
                form.parts.insert(at, (sent.0.clone(), b"another".to_vec()));
                hold(&form, "twice");
                form.parts.remove(at);
                form.parts.remove(at);
                hold(&form, "missing");
                form.parts.insert(at, sent.clone());
            }
        }
    }
    assert!(count > 1_000, "only {count} changes");
}

/// Each line of a sender's header is a field at Mailgun.
#[test]
fn a_mail_of_more_fields_than_are_read_is_still_read() {
    for name in ["mailgun-inbound", "sendgrid-inbound"] {
        let source = source(name);
        let mut form = recorded(&source).into_iter().max_by_key(|form| form.parts.len()).unwrap();
        let told = |form: &Parts| match &source.read_body(&form.body()).unwrap()[..] {
            [Parsed::Event(found)] => found.event.data.clone(),
            other => panic!("{name}: {other:?}"),
        };
        let sent = told(&form);
        let line = (b"Content-Disposition: form-data; name=\"Received\"".to_vec(), b"from a".to_vec());
        let at = form.parts.len() / 2;
        form.parts.splice(at..at, vec![line; 1_500]);
        let (mut many, mut sent) = (told(&form), sent);
        let mail = many.mail.as_mut().unwrap();
        // A text may bring fields of SendGrid's, and what SendGrid says itself be among those that are not read.
        let doubted: &[_] = if name == "sendgrid-inbound" { &["envelope", "spam", "dkim", "spf"] } else { &[] };
        assert_eq!(mail.truncated, [doubted, &["attachments"]].concat(), "{name}");
        mail.truncated.clear();
        if !doubted.is_empty() {
            // Whom it was for is then what its header says.
            let mail = sent.mail.take().unwrap();
            sent.to = mail.to.first().cloned();
            sent.mail = Some(Mail { envelope: None, spam: None, dkim: Vec::new(), spf: None, ..mail });
        }
        assert_eq!(many, sent, "{name}");
    }
}

/// A retry is composed anew: with the same token, and another boundary.
#[test]
fn a_mailgun_mail_is_bound_to_what_its_form_says_and_not_to_its_boundary() {
    let source = source("mailgun-inbound");
    let case = source.cases.iter().find(|case| case.name() == "mailgun-inbound/forward-attachments.http").unwrap();
    let guard = |form: &Parts| {
        let content_type = format!("multipart/form-data; boundary={}", form.boundary);
        let case = case.with_header("content-type", &content_type).with_body(form.body());
        let verified = source.verify(&case).unwrap();
        (verified.guards()[0].clone(), source.provider.parse(&verified))
    };
    let mut form = Parts::of(case).unwrap();
    let sent = guard(&form);
    form.boundary = "another-boundary".to_owned();
    assert_eq!(guard(&form), sent);
    let is_proof = |head: &[u8]| {
        ["timestamp", "token", "signature"].iter().any(|name| head.ends_with(format!("\"{name}\"").as_bytes()))
    };
    for at in 0..form.parts.len() {
        let (head, value) = form.parts[at].clone();
        if is_proof(&head) {
            continue;
        }
        form.parts[at].1.push(b' ');
        let (forged, _) = guard(&form);
        assert_eq!(forged.token, sent.0.token);
        assert_ne!(forged.digest, sent.0.digest, "{}", String::from_utf8_lossy(&head));
        form.parts[at] = (head, value);
    }
}
