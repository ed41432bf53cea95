//! What is a form, and what its fields are.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn request(content_type: &str, body: &str) -> Request {
    let headers = [("content-type", content_type)].into_iter().collect();
    Request { source: "a".into(), received_at: Timestamp::UNIX_EPOCH, headers, body: body.to_owned().into() }
}

fn of(content_type: &str, body: &str) -> Option<Vec<(String, String)>> {
    let request = request(content_type, body);
    let form = Form::read(&request)?;
    Some(form.fields().iter().map(|field| (field.name.clone(), field.text().into_owned())).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn reads_both_kinds_of_form_in_order_and_twice() {
    let url = "application/x-www-form-urlencoded; charset=utf-8";
    assert_eq!(of(url, "a=1+%26&b=%C3%A9%ff&a=&&c"), pairs(&[("a", "1 &"), ("b", "é\u{fffd}"), ("a", ""), ("c", "")]));
    let body = "preamble\r\n--x y\r\nContent-Disposition: form-data; filename=\"; name=no\"; Name=\"a\"\r\n\
                Content-Type: text/plain\r\n\r\n1\r\n--x\r\n2\r\n--x y \r\ncontent-disposition:form-data;name=b\r\n\r\n\r\n--x y--";
    assert_eq!(of("Multipart/Form-Data; boundary=\"x y\"", body), pairs(&[("a", "1\r\n--x\r\n2"), ("b", "")]));
    assert_eq!(of("multipart/form-data; boundary=x", "--x--\r\n"), pairs(&[]));
    let request = request("multipart/form-data; boundary=\"x y\"", body);
    let form = Form::read(&request).expect("a form");
    let file = form.first("a").expect("a file");
    assert_eq!((file.filename.as_deref(), file.content_type.as_deref()), (Some("; name=no"), Some("text/plain")));
}

#[test]
fn a_long_head_goes_on_in_the_next_line() {
    let head = "Content-Disposition: form-data;\r\n\tname=\"a\";\r\n filename=\"b\"\r\nContent-Type:\r\n text/plain";
    let request = request("multipart/form-data; boundary=x", &format!("--x\r\n{head}\r\n\r\n1\r\n--x--"));
    let form = Form::read(&request).expect("a form");
    let file = form.first("a").expect("a file");
    assert_eq!((file.filename.as_deref(), file.content_type.as_deref()), (Some("b"), Some("text/plain")));
}

#[test]
fn what_is_no_form_has_no_fields() {
    assert_eq!(of("application/json", "a=1"), None);
    assert_eq!(of("application/x-www-form-urlencoded", " {\"a\":1}"), None);
    for body in
        ["", "--x", "--x\r\n", "--x\r\n\r\na\r\n--x--", "--x\r\ncontent-disposition: form-data\r\n\r\na\r\n--x--"]
    {
        assert_eq!(of("multipart/form-data; boundary=x", body), None, "{body}");
    }
    assert_eq!(of("multipart/form-data", "--x--"), None);
}

#[test]
fn what_cannot_be_read_costs_itself() {
    let part = |head: &str| format!("--x\r\n{head}\r\n\r\nvalue\r\n");
    let good = part("content-disposition: form-data; name=a");
    for bad in [
        "",
        "--x\r\n",
        &part(""),
        &part("content-disposition: form-data"),
        &part("content-type: a/b"),
        "--x\r\nno head\r\n",
    ] {
        let request = request("multipart/form-data; boundary=x", &format!("{good}{bad}{good}--x--"));
        let form = Form::read(&request).expect("a form");
        let names: Vec<_> = form.fields().iter().map(|field| (field.name.as_str(), field.text())).collect();
        assert_eq!((names, form.is_whole()), (vec![("a", "value".into()); 2], bad.is_empty()), "{bad}");
    }
}

#[test]
fn of_too_many_fields_the_first_and_the_last_are_read() {
    let pair = |n: usize| format!("{n}=&");
    let part = |n: usize| format!("--x\r\ncontent-disposition: form-data; name={n}\r\n\r\n\r\n");
    let kinds: [(_, &dyn Fn(usize) -> String, _); 2] =
        [("application/x-www-form-urlencoded", &pair, ""), ("multipart/form-data; boundary=x", &part, "--x--")];
    for (content_type, field, end) in kinds {
        for (count, is_whole) in [(FIELDS_MAX, true), (FIELDS_MAX + 1, false), (FIELDS_MAX * 3, false)] {
            let request = request(content_type, &((0..count).map(field).collect::<String>() + end));
            let form = Form::read(&request).expect("a form");
            let names = form.fields().iter().map(|field| field.name.parse().expect("a number"));
            let expected = (0..FIELDS_MAX / 2).chain(count - FIELDS_MAX / 2..count);
            assert_eq!((names.collect::<Vec<usize>>(), form.is_whole()), (expected.collect(), is_whole));
        }
    }
}

#[test]
fn a_value_may_have_in_it_what_looks_like_a_delimiter() {
    let head = "content-disposition: form-data; name=";
    for value in
        ["\r\n--xa\r\n", "\n--x\r\n", "a--x\r\n", "\r\n--x--\r\n", "\r\n--x--", "\r\n--x-", "\r\n--x \t-\r\n--xx--"]
    {
        let body = format!("--x\r\n{head}a\r\n\r\n{value}\r\n--x\r\n{head}b\r\n\r\n{value}\r\n--x--\r\n");
        assert_eq!(of("multipart/form-data; boundary=x", &body), pairs(&[("a", value), ("b", value)]), "{value:?}");
    }
}

#[test]
fn a_digest_is_of_what_is_said_and_not_of_how() {
    let digest =
        |content_type: &str, body: &str| Form::read(&request(content_type, body)).map(|form| form.digest(&["t"]));
    let multipart = |boundary: &str, fields: &[(&str, &str)]| {
        let part = |(name, value): &(&str, &str)| {
            format!("--{boundary}\r\ncontent-disposition: form-data; {name}\r\n\r\n{value}\r\n")
        };
        let body = fields.iter().map(part).collect::<String>() + &format!("--{boundary}--\r\n");
        digest(&format!("multipart/form-data; boundary={boundary}"), &body)
    };
    let url = |body: &str| digest("application/x-www-form-urlencoded", body);
    let sent = multipart("x", &[("name=a", "1"), ("name=b", "2"), ("name=t", "3")]);
    assert!(sent.is_some());
    assert_eq!(multipart("another", &[("name=b", "2"), ("name=\"a\"", "1")]), sent);
    assert_eq!(url("a=%31&b=2"), sent);
    for other in ["a=1&b=3", "a=1&b=2&b=", "a=1", "b=1&a=2", "a=2&a=1&b=2", "A=1&b=2", "a=12&b="] {
        assert_ne!(url(other), sent, "{other}");
    }
    assert_ne!(url("a=1&a=2"), url("a=2&a=1"));
    assert_ne!(multipart("x", &[("name=a; filename=f", "1"), ("name=b", "2")]), sent);
}

proptest! {
    #[test]
    fn any_form_is_taken_apart_or_refused(body in r#"(--x|\r\n|[a=&%: ;"-]|content-disposition: form-data; name=)*"#) {
        for content_type in ["multipart/form-data; boundary=x", "multipart/form-data; boundary=\"\"", "application/x-www-form-urlencoded"] {
            of(content_type, &body);
        }
    }
}
