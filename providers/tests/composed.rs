//! Mails that Python's `email` composes and a script posts in each provider's shape: the fields come out as the composer put
//! them in, and so does each byte of what is attached.
//!
//! Runs where `python3` is found; `WAYPOST_REQUIRE_PYTHON=1` makes its absence a failure.

use std::path::Path;
use std::process::Command;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;
use waypost_providers::event::Mail;
use waypost_providers::{Keys, Login, Parsed, Part, Proof, Provider, Request, by_name};

const NOW: &str = "2026-03-16T09:30:00Z";
const LOGIN: (&str, &str) = ("parse", "a password of the test");
const KEY: &str = "test-signing-key-not-a-secret";

/// What the script prints; nothing where there is no Python.
fn composed() -> Option<Vec<Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/compose.py");
    let now = NOW.parse::<Timestamp>().unwrap().as_second().to_string();
    let (user, password) = LOGIN;
    let output = Command::new("python3").arg(script).args([&now, &format!("{user}:{password}"), KEY]).output();
    let Ok(output) = output else {
        assert!(std::env::var_os("WAYPOST_REQUIRE_PYTHON").is_none_or(|flag| flag != "1"), "`python3` is missing");
        println!("skipped: `python3` is not here");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

fn read(provider: &dyn Provider, sent: &Value) -> (Request, Mail) {
    let now = NOW.parse().unwrap();
    let headers = sent[0].as_object().unwrap().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    let request = Request { source: "composed".into(), received_at: now, headers, body: bytes(&sent[1]).into() };
    let proof = match provider.name() {
        "mailgun-inbound" => {
            let keys = [("signing_keys".to_owned(), vec![KEY.to_owned()])].into();
            Proof::Signature(Keys::read(provider, &keys).unwrap())
        }
        _ => Proof::Basic(vec![Login::new(LOGIN.0, LOGIN.1).unwrap()]),
    };
    let verified = proof.verify(provider, request, now).unwrap();
    let parsed = provider.parse(&verified);
    let [Parsed::Event(found)] = &parsed[..] else { panic!("{parsed:?}") };
    (verified.request().clone(), found.event.data.mail.clone().unwrap())
}

/// Mail programs and forms are free to end lines in either way.
fn lines(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let is_kept = |(at, byte): &(usize, &u8)| **byte != b'\r' || text.get(at + 1) != Some(&b'\n');
    text.iter().enumerate().filter(is_kept).map(|(_, byte)| *byte).collect()
}

fn hold(name: &str, provider: &dyn Provider, expected: &Value, sent: &Value) {
    let (request, mail) = read(provider, sent);
    let what = format!("{name}: {}", expected["message-id"]);
    let fields = [
        ("from", &mail.from),
        ("subject", &mail.subject),
        ("message-id", &mail.message_id),
        ("date", &mail.date),
        ("in-reply-to", &mail.in_reply_to),
    ];
    for (name, told) in fields {
        assert_eq!(told.as_deref(), expected[name].as_str(), "{what} {name}");
    }
    assert_eq!(
        Some(mail.references.join(" ")).filter(|text| !text.is_empty()).as_deref(),
        expected["references"].as_str()
    );
    assert_eq!(mail.reply_to.first().map(String::as_str), expected["reply-to"].as_str(), "{what}");
    // Postmark gives addresses taken apart, and quotes each name.
    let to: Vec<_> = mail
        .to
        .iter()
        .map(|one| if provider.name() == "postmark-inbound" { one.replace('"', "") } else { one.clone() })
        .collect();
    assert_eq!(serde_json::json!(to), expected["to"], "{what}");
    assert_eq!(mail.envelope.as_ref().unwrap().to, ["support@in.lanyard.example"]);

    let content = |part: Part| provider.content(&request, part);
    for (part, told, key) in [(Part::Text, &mail.text, "text"), (Part::Html, &mail.html, "html")] {
        let (told, served) = (told.as_deref().map(lines), content(part).map(|content| lines(content.bytes)));
        // Parts of forms and of mails end with the line, or before its end.
        let trimmed = |text: &Vec<u8>| String::from_utf8(text.trim_ascii_end().to_vec()).unwrap();
        let expected = expected[key].as_str().map(|text| text.trim_end().to_owned());
        assert_eq!(told.as_ref().map(trimmed), expected, "{what} {key}");
        assert_eq!(served, told, "{what} {key}");
    }
    attachments(&what, &mail, &expected["attached"], content);
    let raw = bytes(&expected["raw"]);
    // JSON cannot carry eight bits.
    if let Some(content) = content(Part::Raw).filter(|_| provider.name() != "postmark-inbound" || raw.is_ascii()) {
        assert!(content.bytes == raw, "{what} raw");
    }
    assert_eq!(content(Part::Raw).is_some(), mail.raw_url.is_some());
    assert!(mail.truncated.is_empty());
}

fn attachments(
    what: &str,
    mail: &Mail,
    expected: &Value,
    content: impl Fn(Part) -> Option<waypost_providers::Content>,
) {
    let expected = expected.as_array().unwrap();
    assert_eq!(mail.attachments.len(), expected.len(), "{what}: {:?}", mail.attachments);
    for (told, expected) in mail.attachments.iter().zip(expected) {
        assert_eq!(told.filename.as_deref(), expected[0].as_str(), "{what}");
        let served = content(Part::Attachment(told.n)).unwrap();
        let (bytes, kind) = (bytes(&expected[1]), expected[2].as_str().unwrap());
        let is_same = if kind == "application/pdf" || kind == "image/png" {
            served.bytes == bytes
        } else {
            lines(&served.bytes) == lines(&bytes)
        };
        assert!(is_same, "{what} {told:?}: {} bytes of {}", served.bytes.len(), bytes.len());
        assert_eq!(told.size, Some(served.bytes.len() as u64));
        assert_eq!(told.content_type.as_deref().and_then(|told| told.split(';').next()), Some(kind), "{what}");
        assert_eq!(told.content_id.as_deref(), expected[3].as_str(), "{what}");
        assert_eq!(told.inline, expected[3].is_string(), "{what}");
    }
}

#[test]
fn mail_comes_out_as_it_was_composed() {
    let Some(composed) = composed() else { return };
    let mut count = 0;
    for one in &composed {
        for (name, sent) in one["requests"].as_object().unwrap() {
            let provider = by_name(name.split(' ').next().unwrap()).unwrap();
            hold(name, provider, &one["mail"], sent);
            count += 1;
        }
    }
    assert!(count > 200, "only {count} mails");
}
