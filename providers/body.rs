//! Bytes as they stand in a request, and what undoes their encoding: nothing is copied before it is asked for.

use std::borrow::Cow;

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use serde::Deserialize;

use crate::repair::repaired;

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As they are.
    Plain,
    /// As a value of an url-encoded form.
    Url,
    /// With line ends, blanks and padding anywhere, and whatever is no base64 passed over.
    Base64,
    /// RFC 2045, section 6.7.
    QuotedPrintable,
    /// As a JSON text.
    Json,
    /// As base64 in a JSON text.
    JsonBase64,
}

/// Some bytes of a request, not yet decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a> {
    raw: &'a [u8],
    coding: Coding,
    charset: &'static Encoding,
}

impl<'a> Body<'a> {
    pub(crate) fn new(raw: &'a [u8], coding: Coding) -> Self {
        Self { raw, coding, charset: UTF_8 }
    }

    /// The same in the charset of this name, if it is known.
    pub(crate) fn in_charset(self, label: Option<&str>) -> Self {
        Self { charset: label.and_then(charset).unwrap_or(UTF_8), ..self }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        let mut len = 0;
        match self.coding {
            Coding::Plain => len = self.raw.len(),
            _ => self.each(|_| len += 1),
        }
        len
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> Cow<'a, [u8]> {
        let capacity = match self.coding {
            Coding::Plain => return Cow::Borrowed(self.raw),
            Coding::Json => {
                return match json_text(self.raw) {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                };
            }
            Coding::Base64 | Coding::JsonBase64 => self.raw.len() / 4 * 3 + 3,
            Coding::Url | Coding::QuotedPrintable => self.raw.len(),
        };
        let mut bytes = Vec::with_capacity(capacity);
        self.each(|byte| bytes.push(byte));
        Cow::Owned(bytes)
    }

    /// The bytes, which share the memory of the body that they stand in, where they stand there as they are.
    pub(crate) fn shared(&self, body: &Bytes) -> Bytes {
        let bytes = match self.bytes() {
            Cow::Owned(bytes) => return bytes.into(),
            Cow::Borrowed(bytes) => bytes,
        };
        let at = (bytes.as_ptr() as usize).checked_sub(body.as_ptr() as usize);
        match at.filter(|at| at.checked_add(bytes.len()).is_some_and(|end| end <= body.len())) {
            Some(at) => body.slice(at..at + bytes.len()),
            None => Bytes::copy_from_slice(bytes),
        }
    }

    /// The same text as UTF-8, which shares the memory of `body` where it stands there so.
    pub(crate) fn shared_text(&self, body: &Bytes) -> Bytes {
        match self.text() {
            Cow::Borrowed(text) => Body::new(text.as_bytes(), Coding::Plain).shared(body),
            Cow::Owned(text) => text.into(),
        }
    }

    /// The text, with U+FFFD for what is none in its charset, or in that of the byte order mark that it begins with.
    pub(crate) fn text(&self) -> Cow<'a, str> {
        match self.bytes() {
            Cow::Borrowed(bytes) => self.charset.decode(bytes).0,
            Cow::Owned(bytes) => match self.charset.decode(&bytes).0 {
                // Most of it is: then it is not copied again.
                Cow::Borrowed(text) if text.len() == bytes.len() => {
                    Cow::Owned(String::from_utf8(bytes).unwrap_or_default())
                }
                text => Cow::Owned(text.into_owned()),
            },
        }
    }

    /// The text, if it has no more than so many bytes. It is not decoded to find that it has.
    pub(crate) fn short_text(&self, len_max: usize) -> Option<Cow<'a, str>> {
        // Quoted-printable of UTF-16 is six times as long as the same in UTF-8, and nothing is longer.
        (self.raw.len() / 6 <= len_max).then(|| self.text()).filter(|text| text.len() <= len_max)
    }

    /// Gives out each byte, in order.
    pub(crate) fn each(&self, sink: impl FnMut(u8)) {
        match self.coding {
            Coding::Plain => self.raw.iter().copied().for_each(sink),
            Coding::Url => url(self.raw).for_each(sink),
            Coding::Base64 => base64(self.raw.iter().copied(), sink),
            Coding::QuotedPrintable => quoted_printable(self.raw, sink),
            Coding::Json => json_text(self.raw).bytes().for_each(sink),
            Coding::JsonBase64 => base64(json_ascii(self.raw), sink),
        }
    }
}

/// The charset of this name. Not those that the Encoding Standard replaces by one U+FFFD: they would lose the text.
pub(crate) fn charset(label: &str) -> Option<&'static Encoding> {
    // Python's and Microsoft's names, which the Encoding Standard has not.
    let label = match label.trim().to_ascii_lowercase().as_str() {
        "cp932" => "shift_jis",
        "cp936" => "gbk",
        "cp949" => "euc-kr",
        "cp950" => "big5",
        "latin-1" => "latin1",
        _ => label,
    };
    Encoding::for_label_no_replacement(label.as_bytes())
}

/// The bytes of an url-encoded text.
fn url(raw: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = raw.iter();
    std::iter::from_fn(move || match rest.next()? {
        b'+' => Some(b' '),
        b'%' => match rest.as_slice() {
            [high, low, after @ ..] if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                rest = after.iter();
                Some(high << 4 | low)
            }
            _ => Some(b'%'),
        },
        byte => Some(*byte),
    })
}

fn base64(raw: impl Iterator<Item = u8>, mut sink: impl FnMut(u8)) {
    let (mut bits, mut count) = (0_u32, 0);
    for byte in raw {
        match sextet(byte) {
            Some(sextet) => (bits, count) = (bits << 6 | sextet, count + 1),
            // Padding also ends what was encoded apart and put together.
            None if byte == b'=' => (bits, count) = (ended(bits, count, &mut sink), 0),
            None => {}
        }
        if count == 4 {
            [bits >> 16, bits >> 8, bits].into_iter().for_each(|bits| sink(bits as u8));
            (bits, count) = (0, 0);
        }
    }
    ended(bits, count, &mut sink);
}

/// Gives out what less than four digits stand for.
fn ended(bits: u32, count: u32, sink: &mut impl FnMut(u8)) -> u32 {
    match count {
        2 => sink((bits >> 4) as u8),
        3 => [bits >> 10, bits >> 2].into_iter().for_each(|bits| sink(bits as u8)),
        _ => {}
    }
    0
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

fn quoted_printable(raw: &[u8], mut sink: impl FnMut(u8)) {
    let mut rest = raw;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'=' {
            sink(*byte);
            continue;
        }
        let blanks = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match (after, &after[blanks..]) {
            ([high, low, after @ ..], _) if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                sink(high << 4 | low);
                rest = after;
            }
            // The line goes on.
            (_, [b'\r', b'\n', after @ ..] | [b'\n', after @ ..]) => rest = after,
            (_, []) => rest = &[],
            _ => sink(b'='),
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The ASCII of a JSON text, and nothing reliable of the rest. Some senders escape `/` and `+`.
fn json_ascii(raw: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = raw.iter();
    std::iter::from_fn(move || match rest.next()? {
        b'\\' => match rest.next()? {
            b'u' => {
                let (code, after) = rest.as_slice().split_at_checked(4)?;
                rest = after.iter();
                str::from_utf8(code).ok().and_then(|code| u8::from_str_radix(code, 16).ok()).or(Some(b' '))
            }
            b'/' => Some(b'/'),
            // The end of a line.
            _ => Some(b' '),
        },
        byte => Some(*byte),
    })
}

/// A JSON text; empty if it is another value.
fn json_text(raw: &[u8]) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let read = serde_json::from_slice::<Text<'_>>(raw);
    read.map_or_else(
        |_| serde_json::from_str(&repaired(&String::from_utf8_lossy(raw))).unwrap_or_default(),
        |text| text.0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(raw: &str, coding: Coding) -> String {
        let body = Body::new(raw.as_bytes(), coding);
        assert_eq!(body.len(), body.bytes().len(), "{raw}");
        String::from_utf8_lossy(&body.bytes()).into_owned()
    }

    #[test]
    fn undoes_each_encoding_and_passes_over_what_is_wrong() {
        let cases = [
            (Coding::Plain, "a=41%41", "a=41%41"),
            (Coding::Url, "a+%41%4%zz%", "a A%4%zz%"),
            (Coding::Base64, "aGVs\r\nbG8=", "hello"),
            (Coding::Base64, "aGk=aGk=!aGVsbG8", "hihihello"),
            (Coding::Base64, "a", ""),
            (Coding::QuotedPrintable, "a=3D=\r\nb= \t\nc=zz=4 =", "a=bc=zz=4 "),
            (Coding::Json, r#""a\n\u00e9""#, "a\né"),
            (Coding::Json, r#""\udce9""#, "\u{fffd}"),
            (Coding::Json, "7", ""),
            (Coding::JsonBase64, r#""aGVs\r\nbG8\u003d\u00e9\u20ac""#, "hello"),
            (Coding::JsonBase64, r#""Pz8\/Pj4\u002B""#, "???>>>"),
        ];
        for (coding, raw, expected) in cases {
            assert_eq!(decoded(raw, coding), expected, "{coding:?} {raw}");
        }
    }

    #[test]
    fn reads_text_in_its_charset_and_replaces_what_is_none() {
        let text = |raw: &'static [u8], label| Body::new(raw, Coding::Plain).in_charset(label).text();
        assert_eq!(text(b"caf\xe9", Some("ISO-8859-1")), "café");
        assert_eq!(text(b"\x83e\x83X\x83g", Some("cp932")), "テスト");
        assert_eq!(text(b"caf\xe9", None), "caf\u{fffd}");
        assert_eq!(text(b"caf\xc3\xa9", Some("no charset")), "café");
        assert_eq!(text(b"\x1b$)C kept", Some("iso-2022-kr")), "\u{1b}$)C kept");
        assert_eq!(text(b"\xef\xbb\xbfa", Some("utf-8")), "a");
        // A mark at its beginning tells more than a name.
        assert_eq!(text(b"\xef\xbb\xbf\xc3\xa9", Some("iso-8859-1")), "é");
        for (raw, label) in
            [(b"\xfe\xff\0a\0\xe9", "utf-16"), (b"\xff\xfea\0\xe9\0", "utf-16"), (b"\xfe\xff\0a\0\xe9", "utf-16be")]
        {
            assert_eq!(text(raw, Some(label)), "aé", "{label}");
        }
        let base64 = Body::new(b"/v8AYQDp", Coding::Base64).in_charset(Some("utf-16"));
        assert_eq!(base64.text(), "aé");
    }

    #[test]
    fn shares_what_stands_as_it_is_and_copies_nothing_else() {
        let body = Bytes::from_static(b"a%20b");
        let shared = Body::new(&body[1..], Coding::Plain).shared(&body);
        assert_eq!((shared.as_ptr(), &shared[..]), (body[1..].as_ptr(), &b"%20b"[..]));
        assert_eq!(Body::new(&body[1..], Coding::Url).shared(&body), " b");
        assert_eq!(Body::new(b"other", Coding::Plain).shared(&body), "other");
    }
}
