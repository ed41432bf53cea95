//! What `store(notify=…)` leaves with Mailgun for three days (`mailgun/documentation`, "Receiving, Forwarding and Storing
//! Messages", "Viewing Stored Messages"): the mail at `message-url`, as MIME in JSON if asked so, and each attachment at a
//! URL of its own. All of it wants the key, so it is asked of Mailgun's own hosts alone: the signature does not cover what
//! stands in the form.

use serde_json::Value;

use super::attachments::{listed, own};
use super::parse::head;
use crate::fields::{self, text};
use crate::form::Form;
use crate::mail::{file_name, media_type};
use crate::{Content, Fetch, Fetched, Gives, Part, Request};

const MIME: &str = "message/rfc2822";
const ANY: &str = "*/*";
const OCTETS: &str = "application/octet-stream";
/// Whose subdomains store mail: `storage-us-east4.api.mailgun.net`, `sw.api.mailgun.net`, `se.api.mailgun.net`.
const HOSTS: &str = ".mailgun.net";

/// What is asked for first, with a key that is for the API at `base` and for Mailgun's hosts.
pub(super) fn first(request: &Request, base: &str) -> Vec<Fetch> {
    let Some(form) = Form::read(request) else { return Vec::new() };
    let head = head(&form);
    let raw = own(&form, &head, "message-url").map(|url| (url.text().into_owned(), MIME, Gives::Mail));
    let attached = |(n, given): (usize, &Value)| {
        let gives = Gives::Part {
            part: Part::Attachment(n),
            content_type: given["content-type"].as_str().and_then(media_type).unwrap_or_else(|| OCTETS.into()),
            filename: given["name"].as_str().and_then(file_name),
        };
        Some((text(&given["url"])?, ANY, gives))
    };
    let given = listed(&form, &head);
    let attached = given.as_array().into_iter().flatten().enumerate().filter_map(attached);
    let all = raw.into_iter().chain(attached).filter(|(url, ..)| is_mailguns(url, base));
    all.map(|(url, accept, gives)| Fetch { url, with_key: true, accept, gives }).collect()
}

/// The mail in the answer; none where it is not what Mailgun answers.
pub(super) fn read(gives: &Gives, answer: &[u8]) -> Option<Vec<Fetched>> {
    let mime = (*gives == Gives::Mail).then(|| text(&fields::json(answer)?["body-mime"])).flatten()?;
    let content = Content { bytes: mime.into(), content_type: "message/rfc822".into(), filename: None };
    Some(vec![Fetched::Part(Part::Raw, content)])
}

fn is_mailguns(url: &str, base: &str) -> bool {
    let is_below = |base: &str| url.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
    let authority = url.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#', '\\']).next());
    let is_name = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    (!base.is_empty() && is_below(base)) || authority.filter(is_name).is_some_and(|host| host.ends_with(HOSTS))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const BASE: &str = "http://127.0.0.1:9";

    fn request(fields: &[(&str, &str)]) -> Request {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [("content-type", "application/x-www-form-urlencoded")].into_iter().collect();
        Request { source: "a".into(), received_at: Timestamp::UNIX_EPOCH, headers, body: body.into() }
    }

    fn urls(fields: &[(&str, &str)]) -> Vec<String> {
        first(&request(fields), BASE).into_iter().map(|fetch| fetch.url).collect()
    }

    #[test]
    fn the_mail_and_each_attachment_are_asked_for_where_mailgun_keeps_them() {
        let mail = "https://sw.api.mailgun.net/v3/domains/d/messages/k";
        let attached = format!(r#"[{{"url":"{mail}/attachments/0","name":"a.pdf","content-type":"application/pdf"}}]"#);
        let fetches = first(&request(&[("message-url", mail), ("attachments", &attached)]), BASE);
        assert!(fetches.iter().all(|fetch| fetch.with_key));
        assert_eq!((fetches[0].url.as_str(), fetches[0].accept, &fetches[0].gives), (mail, MIME, &Gives::Mail));
        let gives = Gives::Part {
            part: Part::Attachment(0),
            content_type: "application/pdf".into(),
            filename: Some("a.pdf".into()),
        };
        assert_eq!((&fetches[1].gives, fetches.len()), (&gives, 2));
    }

    #[test]
    fn the_key_goes_to_mailgun_alone() {
        for url in ["http://127.0.0.1:9/messages/k", "https://mx.api.mailgun.net/v3", "https://a.mailgun.net"] {
            assert_eq!(urls(&[("message-url", url)]), [url]);
        }
        for url in [
            "https://evil.example/v3",
            "http://sw.api.mailgun.net/v3",
            "https://sw.api.mailgun.net@evil.example/",
            "https://evil.example/.mailgun.net",
            "https://evil.example\\.mailgun.net",
            "https://evilmailgun.net/",
            "https://sw.api.mailgun.net:8443/",
            "http://127.0.0.1:99/messages/k",
            "",
        ] {
            assert!(urls(&[("message-url", url)]).is_empty(), "{url}");
        }
        // A header field of the sender's.
        let smuggled = r#"[["Message-Url", "https://a.mailgun.net/x"]]"#;
        let fields = [("Message-Url", "https://a.mailgun.net/x"), ("message-headers", smuggled)];
        assert!(urls(&fields).is_empty());
    }

    #[test]
    fn an_answer_is_the_mail_as_it_was_sent() {
        let found = read(&Gives::Mail, br#"{"body-mime":"Subject: a\r\n\r\nb"}"#).unwrap();
        let [Fetched::Part(Part::Raw, content)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (&content.bytes[..], content.content_type.as_str()),
            (&b"Subject: a\r\n\r\nb"[..], "message/rfc822")
        );
        assert!(read(&Gives::Mail, b"{}").is_none() && read(&Gives::Attachments, b"{}").is_none());
    }
}
