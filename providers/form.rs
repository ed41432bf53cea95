//! The fields of a form, url-encoded or multipart, in the order sent. What is no UTF-8 is replaced.

use crate::Request;

/// No form of a provider has so many fields. Whoever is not proven yet could make each cost far more than its bytes.
pub(crate) const FIELDS_MAX: usize = 1_000;

/// The fields of a body that says it is a form, and does not look like JSON. None if it cannot be taken apart.
pub(crate) fn fields(request: &Request) -> Option<Vec<(String, String)>> {
    let content_type = request.headers.get("content-type")?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = request.body.trim_ascii_start().starts_with(b"{");
    let fields: Vec<_> = match media_type.as_str() {
        _ if is_json => return None,
        "application/x-www-form-urlencoded" => {
            form_urlencoded::parse(&request.body).into_owned().take(FIELDS_MAX + 1).collect()
        }
        "multipart/form-data" => multipart(&request.body, &parameter(content_type, "boundary")?)?,
        _ => return None,
    };
    (fields.len() <= FIELDS_MAX).then_some(fields)
}

/// RFC 7578. A file is a field like any other, under its field's name.
fn multipart(body: &[u8], boundary: &str) -> Option<Vec<(String, String)>> {
    let delimiter = format!("\r\n--{boundary}");
    // The first one begins the body, unless something precedes it.
    let mut rest = match body.strip_prefix(&delimiter.as_bytes()[2..]) {
        Some(rest) => rest,
        None => split(body, delimiter.as_bytes())?.1,
    };
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") && fields.len() <= FIELDS_MAX {
        let (part, after) = split(rest, delimiter.as_bytes())?;
        let (head, value) = split(part, b"\r\n\r\n")?;
        fields.push((name(&String::from_utf8_lossy(head))?, String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(fields)
}

/// What is before the first `mark`, and what is behind it.
fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

/// The name of the field that a part with this head is.
fn name(head: &str) -> Option<String> {
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    parameter(disposition?, "name")
}

/// A parameter of a header's value, as it is or in quotes.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let (mut parts, mut quoted) = (vec![String::new()], false);
    for letter in value.chars() {
        match letter {
            '"' => quoted = !quoted,
            ';' if !quoted => parts.push(String::new()),
            _ => parts.last_mut()?.push(letter),
        }
    }
    parts.iter().skip(1).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn of(content_type: &str, body: &str) -> Option<Vec<(String, String)>> {
        let headers = [("content-type", content_type)].into_iter().collect();
        let body = body.to_owned().into();
        fields(&Request { source: "a".into(), received_at: Timestamp::UNIX_EPOCH, headers, body })
    }

    fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn reads_both_kinds_of_form_in_order_and_twice() {
        let url = "application/x-www-form-urlencoded; charset=utf-8";
        assert_eq!(
            of(url, "a=1+%26&b=%C3%A9%ff&a=&c"),
            pairs(&[("a", "1 &"), ("b", "é\u{fffd}"), ("a", ""), ("c", "")])
        );
        let body = "preamble\r\n--x y\r\nContent-Disposition: form-data; filename=\"; name=no\"; Name=\"a\"\r\n\
                    Content-Type: text/plain\r\n\r\n1\r\n--x\r\n2\r\n--x y \r\ncontent-disposition:form-data;name=b\r\n\r\n\r\n--x y--";
        assert_eq!(of("Multipart/Form-Data; boundary=\"x y\"", body), pairs(&[("a", "1\r\n--x\r\n2"), ("b", "")]));
        assert_eq!(of("multipart/form-data; boundary=x", "--x--\r\n"), pairs(&[]));
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
        assert_eq!(of("application/x-www-form-urlencoded", &"a=&".repeat(FIELDS_MAX + 1)), None);
        let part = "\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n--x";
        assert_eq!(of("multipart/form-data; boundary=x", &format!("--x{}--", part.repeat(FIELDS_MAX + 1))), None);
        assert!(of("multipart/form-data; boundary=x", &format!("--x{}--", part.repeat(FIELDS_MAX))).is_some());
    }

    proptest! {
        #[test]
        fn any_form_is_taken_apart_or_refused(body in r#"(--x|\r\n|[a=&%: ;"-]|content-disposition: form-data; name=)*"#) {
            for content_type in ["multipart/form-data; boundary=x", "multipart/form-data; boundary=\"\"", "application/x-www-form-urlencoded"] {
                of(content_type, &body);
            }
        }
    }
}
