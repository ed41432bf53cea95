//! What `store(notify=…)` leaves with Mailgun for three days (`mailgun/documentation`, "Receiving, Forwarding and Storing
//! Messages", "Viewing Stored Messages"): the mail at `message-url`, as MIME in JSON if asked so, and each attachment at a
//! URL below that. All of it wants the key, which opens far more, so nothing else is asked for with it: the signature does
//! not cover what stands in the form.

use serde_json::Value;

use super::attachments::Kept;
use super::parse::head;
use crate::fields;
use crate::form::Form;
use crate::mail::{ATTACHMENTS_MAX, file_name, media_type};
use crate::{Content, Fetch, Fetched, Gives, Part, Request};

const MIME: &str = "message/rfc2822";
const ANY: &str = "*/*";
const OCTETS: &str = "application/octet-stream";
/// Whose subdomains store mail: `storage-us-east4.api.mailgun.net`, `sw.api.mailgun.net`, `se.api.mailgun.net`.
const HOSTS: &str = ".mailgun.net";

/// What is asked for first, with a key that is for the API at `base` and for Mailgun's hosts.
pub(super) fn first(request: &Request, base: &str) -> Vec<Fetch> {
    let Some(form) = Form::read(request) else { return Vec::new() };
    let kept = Kept::of(&form, &head(&form));
    let Some(mail) = kept.mail.as_ref().filter(|mail| is_at(mail, base)) else { return Vec::new() };
    let attached = |(n, given, url): (usize, &Value, Option<&str>)| {
        let gives = Gives::Part {
            part: Part::Attachment(n),
            content_type: given["content-type"].as_str().and_then(media_type).unwrap_or_else(|| OCTETS.into()),
            filename: given["name"].as_str().and_then(file_name),
        };
        Some(Fetch { url: url?.to_owned(), with_key: true, accept: ANY, gives })
    };
    let attached = kept.attachments().take(ATTACHMENTS_MAX).filter_map(attached);
    let raw = Fetch { url: mail.clone(), with_key: true, accept: MIME, gives: Gives::Mail };
    std::iter::once(raw).chain(attached).collect()
}

/// The mail in the answer; none where it is not what Mailgun answers.
pub(super) fn read(gives: &Gives, answer: &[u8]) -> Option<Vec<Fetched>> {
    if *gives != Gives::Mail {
        return None;
    }
    let mime = fields::with_written(answer, |mail| fields::whole_text(mail.get("body-mime")))?;
    if mime.trim().is_empty() {
        return None;
    }
    let content = Content { bytes: mime.into(), content_type: "message/rfc822".into(), filename: None };
    Some(vec![Fetched::Part(Part::Raw, content)])
}

/// Whether this mail is kept at Mailgun or at `base`: nothing is between that and its path.
fn is_at(mail: &str, base: &str) -> bool {
    let is_name = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    let at_mailgun = || {
        let (host, path) = mail.strip_prefix("https://")?.split_once('/')?;
        Some(host).filter(is_name).filter(|host| host.ends_with(HOSTS)).map(|_| path)
    };
    let at_base = || mail.strip_prefix(base).filter(|_| !base.is_empty())?.strip_prefix('/');
    at_base().or_else(at_mailgun).is_some_and(|path| path.starts_with("v3/") && path.split('/').count() == 5)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::parse::parse;
    use super::*;
    use crate::{Parsed, Verified};

    const BASE: &str = "http://127.0.0.1:9";

    fn request(fields: &[(&str, &str)]) -> Request {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [("content-type", "application/x-www-form-urlencoded")].into_iter().collect();
        Request { source: "a".into(), received_at: Timestamp::UNIX_EPOCH, headers, body: body.into() }
    }

    fn urls(fields: &[(&str, &str)]) -> Vec<String> {
        let fields = [fields, &[("message-headers", "[]")]].concat();
        first(&request(&fields), BASE).into_iter().map(|fetch| fetch.url).collect()
    }

    #[test]
    fn the_mail_and_each_attachment_are_asked_for_where_mailgun_keeps_them() {
        let mail = "https://sw.api.mailgun.net/v3/domains/d.example/messages/BAABAQ==";
        let attached = format!(r#"[{{"url":"{mail}/attachments/0","name":"a.pdf","content-type":"application/pdf"}}]"#);
        let fields = [("message-url", mail), ("attachments", &attached), ("message-headers", "[]")];
        let fetches = first(&request(&fields), BASE);
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
    fn the_key_is_for_stored_mail_alone() {
        let path = "v3/domains/d.example/messages/k";
        for host in ["http://127.0.0.1:9", "https://mx.api.mailgun.net"] {
            assert_eq!(urls(&[("message-url", &format!("{host}/{path}"))]), [format!("{host}/{path}")]);
        }
        for host in [
            "https://evil.example",
            "http://sw.api.mailgun.net",
            "https://sw.api.mailgun.net@evil.example",
            "https://evil.example/.mailgun.net",
            "https://evil.example\\.mailgun.net",
            "https://evilmailgun.net",
            "https://sw.api.mailgun.net:8443",
            "http://127.0.0.1:99",
            "",
        ] {
            assert!(urls(&[("message-url", &format!("{host}/{path}"))]).is_empty(), "{host}");
        }
        let host = "https://api.mailgun.net";
        for path in [
            "v5/accounts/http_signing_key",
            "v3/domains/../messages/k",
            "v3/domains/d/messages/k?a",
            "v3/domains/d/messages/",
            "v3/domains/d%2f/messages/k",
        ] {
            assert!(urls(&[("message-url", &format!("{host}/{path}"))]).is_empty(), "{path}");
        }
        let mail = format!("{host}/{path}");
        for other in
            [format!("{host}/v3/routes"), format!("{mail}/attachments/../../k"), format!("{mail}/attachments/")]
        {
            let attached = format!(r#"[{{"url":"{other}"}}]"#);
            assert_eq!(urls(&[("message-url", &mail), ("attachments", &attached)]), [mail.as_str()], "{other}");
        }
        // A header field of the sender's; and one where the header is not known.
        let smuggled = r#"[["message-url", "x"]]"#;
        assert!(first(&request(&[("message-url", &mail), ("message-headers", smuggled)]), BASE).is_empty());
        for unknown in ["[", ""] {
            assert!(first(&request(&[("message-url", &mail), ("message-headers", unknown)]), BASE).is_empty());
        }
        assert!(first(&request(&[("message-url", &mail)]), BASE).is_empty());
    }

    #[test]
    fn what_is_linked_is_what_is_asked_for() {
        let mail = "https://sw.api.mailgun.net/v3/domains/d.example/messages/k";
        let many = format!(r#"{{"url":"{mail}/attachments/0"}},"#).repeat(ATTACHMENTS_MAX + 1);
        for (url, attached, count) in [
            (mail, format!(r#"{{"url":"{mail}/attachments/0"}},{{"url":"{mail}/attachments/1"}}"#), 3),
            (mail, format!(r#"{{"url":"https://evil.example/"}},{{"url":"{mail}/attachments/1"}},{{}}"#), 2),
            (mail, many.trim_end_matches(',').to_owned(), ATTACHMENTS_MAX + 1),
            ("https://sw.api.mailgun.net/v3/routes", format!(r#"{{"url":"{mail}/attachments/0"}}"#), 0),
        ] {
            let attached = format!("[{attached}]");
            let fields =
                [("message-url", url), ("attachments", &attached), ("message-headers", r#"[["from", "a@b"]]"#)];
            let request = request(&[&fields[..], &[("recipient", "c@d")]].concat());
            let asked: Vec<_> = first(&request, BASE).into_iter().map(|fetch| fetch.gives).collect();
            let asked = asked.iter().map(|gives| match gives {
                Gives::Part { part, .. } => part.url(),
                _ => Part::Raw.url(),
            });
            let Parsed::Event(found) = parse(&Verified::new(request.clone(), None)) else { panic!("an event") };
            let told = found.event.data.mail.unwrap();
            let linked: Vec<_> =
                told.raw_url.into_iter().chain(told.attachments.into_iter().filter_map(|one| one.url)).collect();
            assert_eq!((asked.collect::<Vec<_>>(), linked.len()), (linked, count), "{url}");
        }
    }

    #[test]
    fn an_answer_is_the_mail_as_it_was_sent() {
        let found = read(&Gives::Mail, br#"{"body-mime":"Subject: a\r\n\r\nb"}"#).unwrap();
        let [Fetched::Part(Part::Raw, content)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (&content.bytes[..], content.content_type.as_str()),
            (&b"Subject: a\r\n\r\nb"[..], "message/rfc822")
        );
        assert!(
            read(&Gives::Mail, b"{}").is_none()
                && read(&Gives::Attachments { mail: "m".into(), ids: vec![] }, b"{}").is_none()
        );
    }
}
