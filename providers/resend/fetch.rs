//! What the webhook of a received mail leaves out (resend.com, "Retrieve Received Email", "List Received Email
//! Attachments"; `resend/resend-node`, "get-receiving-email.interface.ts"). Download links are signed by Resend, good for
//! an hour, and want no key.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::fields::{self, text};
use crate::mail::{ATTACHMENTS_MAX, file_name, media_type};
use crate::{Content, Fetch, Fetched, Gives, Part, Request};

const JSON: &str = "application/json";
const ANY: &str = "*/*";
const OCTETS: &str = "application/octet-stream";

/// What is asked for first, of the API at `base`.
pub(super) fn first(request: &Request, base: &str) -> Vec<Fetch> {
    let Some((body, id)) = received(request) else { return Vec::new() };
    let mut all = vec![Fetch { url: mail_url(base, &id), with_key: true, accept: JSON, gives: Gives::Mail }];
    // The webhook's own order counts: the event was made of it.
    let attached = body["data"]["attachments"].as_array().into_iter().flatten().take(ATTACHMENTS_MAX);
    let ids: Vec<_> = attached.map(|one| one["id"].as_str().unwrap_or_default().to_owned()).collect();
    if !ids.is_empty() {
        all.push(attachments(base, id, ids, None));
    }
    all
}

/// What an answer holds; none where it is not what Resend answers.
pub(super) fn read(base: &str, gives: &Gives, answer: &[u8]) -> Option<Vec<Fetched>> {
    match gives {
        Gives::Mail => fields::with_written(answer, |answer| Some(mail(answer))),
        Gives::Attachments { mail, ids } => {
            let answer = fields::json(answer)?;
            let listed = answer["data"].as_array()?;
            let mut found: Vec<_> = listed.iter().filter_map(|given| attachment(given, ids)).collect();
            let last = listed.last().and_then(|given| text(&given["id"]));
            if let (Some(true), Some(last)) = (answer["has_more"].as_bool(), last) {
                found.push(Fetched::Next(attachments(base, mail.clone(), ids.clone(), Some(&last))));
            }
            Some(found)
        }
        Gives::Part { .. } => None,
    }
}

/// A webhook of a received mail, and the mail's id: one that can stand in a path as it is.
fn received(request: &Request) -> Option<(Value, String)> {
    let body = fields::json(&request.body)?;
    let id = text(&body["data"]["email_id"]).filter(|id| is_plain(id))?;
    (body["type"] == "email.received").then_some((body, id))
}

fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn mail_url(base: &str, id: &str) -> String {
    format!("{base}/emails/receiving/{id}")
}

fn attachments(base: &str, mail: String, ids: Vec<String>, after: Option<&str>) -> Fetch {
    let after = after.filter(|after| is_plain(after)).map(|after| format!("&after={after}")).unwrap_or_default();
    let url = format!("{}/attachments?limit=100{after}", mail_url(base, &mail));
    Fetch { url, with_key: true, accept: JSON, gives: Gives::Attachments { mail, ids } }
}

fn mail(answer: &BTreeMap<String, &RawValue>) -> Vec<Fetched> {
    let given = |part, name: &str, content_type: &str| {
        let bytes = fields::whole_text(answer.get(name))?.into();
        Some(Fetched::Part(part, Content { bytes, content_type: content_type.into(), filename: None }))
    };
    let raw = answer.get("raw").and_then(|raw| fields::value(raw.get())).unwrap_or_default();
    let parts = [
        given(Part::Text, "text", "text/plain; charset=utf-8"),
        given(Part::Html, "html", "text/html; charset=utf-8"),
        download(&raw, Part::Raw, "message/rfc822".into(), None),
    ];
    parts.into_iter().flatten().collect()
}

fn attachment(given: &Value, ids: &[String]) -> Option<Fetched> {
    let n = ids.iter().position(|id| !id.is_empty() && given["id"] == **id)?;
    let content_type = given["content_type"].as_str().and_then(media_type).unwrap_or_else(|| OCTETS.into());
    download(given, Part::Attachment(n), content_type, given["filename"].as_str().and_then(file_name))
}

fn download(given: &Value, part: Part, content_type: String, filename: Option<String>) -> Option<Fetched> {
    let gives = Gives::Part { part, content_type, filename };
    Some(Fetched::Next(Fetch { url: text(&given["download_url"])?, with_key: false, accept: ANY, gives }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::parse::parse;
    use super::*;
    use crate::Parsed;

    const WEBHOOK: &str =
        r#"{"type":"email.received","data":{"email_id":"e8e3","attachments":[{"id":"a1"},{"id":"b2"}]}}"#;
    const BASE: &str = "https://api.resend.com";

    fn request(body: &str) -> Request {
        let (source, headers, body) = ("resend".into(), Default::default(), body.to_owned().into());
        Request { source, received_at: Timestamp::UNIX_EPOCH, headers, body }
    }

    fn urls(fetches: &[Fetch]) -> Vec<&str> {
        fetches.iter().map(|fetch| fetch.url.as_str()).collect()
    }

    #[test]
    fn the_mail_is_asked_for_and_its_attachments_where_it_has_any() {
        let found = first(&request(WEBHOOK), BASE);
        let mail = "https://api.resend.com/emails/receiving/e8e3";
        assert_eq!(urls(&found), [mail, &format!("{mail}/attachments?limit=100")]);
        assert!(found.iter().all(|fetch| fetch.with_key));
        let bare = request(r#"{"type":"email.received","data":{"email_id":"e8e3","attachments":[]}}"#);
        assert_eq!(urls(&first(&bare, BASE)), [mail]);
        for other in [
            r#"{"type":"email.sent","data":{"email_id":"e8e3"}}"#,
            r#"{"type":"email.received","data":{"email_id":"../domains"}}"#,
            r#"{"type":"email.received","data":{}}"#,
            "",
        ] {
            assert_eq!(first(&request(other), BASE), [], "{other}");
        }
    }

    #[test]
    fn an_attachment_without_an_id_has_no_link_and_more_than_are_told_are_not_asked_for() {
        let ids = (0..=ATTACHMENTS_MAX).map(|n| if n == 1 { "{}".to_owned() } else { format!(r#"{{"id":"a{n}"}}"#) });
        let data = format!(r#""attachments":[{}]"#, ids.collect::<Vec<_>>().join(","));
        let request = request(&format!(
            r#"{{"type":"email.received","data":{{"email_id":"e8e3","to":["a@b.example"],{data}}}}}"#
        ));
        let Parsed::Event(found) = parse(&request) else { panic!("an event") };
        let told = found.event.data.mail.unwrap().attachments;
        let linked: Vec<_> = told.iter().filter(|one| one.url.is_some()).map(|one| Part::Attachment(one.n)).collect();
        let listed = (0..=ATTACHMENTS_MAX).map(|n| format!(r#"{{"id":"a{n}","download_url":"https://cdn.example/"}}"#));
        let answer = format!(r#"{{"data":[{}]}}"#, listed.collect::<Vec<_>>().join(","));
        let attachments = first(&request, BASE).remove(1).gives;
        let asked = read(BASE, &attachments, answer.as_bytes()).unwrap();
        let asked = asked.iter().filter_map(|one| match one {
            Fetched::Next(Fetch { gives: Gives::Part { part, .. }, .. }) => Some(*part),
            _ => None,
        });
        assert_eq!((asked.collect::<Vec<_>>(), linked.len()), (linked, ATTACHMENTS_MAX - 1));
    }

    #[test]
    fn an_answer_gives_parts_and_where_more_is_to_be_had_without_the_key() {
        let answer =
            r#"{"object":"email","text":"hé","html":null,"raw":{"download_url":"https://cdn.example/raw?s=1"}}"#;
        let found = read(BASE, &Gives::Mail, answer.as_bytes()).unwrap();
        let [Fetched::Part(Part::Text, text), Fetched::Next(raw)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (&text.bytes[..], raw.url.as_str(), raw.with_key),
            ("hé".as_bytes(), "https://cdn.example/raw?s=1", false)
        );
        assert_eq!(read(BASE, &Gives::Mail, b"[]"), None);
        assert_eq!(read(BASE, &Gives::Mail, b"<html>"), None);
    }

    #[test]
    fn attachments_are_numbered_as_the_webhook_lists_them() {
        let answer = r#"{"has_more":true,"data":[
            {"id":"b2","filename":"b.png","content_type":"image/png","download_url":"https://cdn.example/b"},
            {"id":"other","download_url":"https://cdn.example/c"},
            {"id":"a1","download_url":"https://cdn.example/a"}]}"#;
        let gives = first(&request(WEBHOOK), BASE).remove(1).gives;
        let found = read(BASE, &gives, answer.as_bytes()).unwrap();
        let next: Vec<_> = found
            .iter()
            .map(|one| match one {
                Fetched::Next(Fetch { url, gives: Gives::Part { part, .. }, .. }) => (Some(*part), url.as_str()),
                Fetched::Next(fetch) => (None, fetch.url.as_str()),
                Fetched::Part(..) => panic!("{one:?}"),
            })
            .collect();
        let more = "https://api.resend.com/emails/receiving/e8e3/attachments?limit=100&after=a1";
        let expected = [
            (Some(Part::Attachment(1)), "https://cdn.example/b"),
            (Some(Part::Attachment(0)), "https://cdn.example/a"),
            (None, more),
        ];
        assert_eq!(next, expected);
        // As of any attachment: nothing that would end a header's line.
        let answer = r#"{"data":[{"id":"b2","filename":"b\r\n.png","content_type":"image/png; name=b","download_url":"https://cdn.example/b"}]}"#;
        let found = read(BASE, &gives, answer.as_bytes()).unwrap();
        let gives =
            Gives::Part { part: Part::Attachment(1), content_type: "image/png".into(), filename: Some("b.png".into()) };
        assert!(matches!(&found[..], [Fetched::Next(fetch)] if fetch.gives == gives), "{found:?}");
    }
}
