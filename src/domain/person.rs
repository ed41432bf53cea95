//! Whether something names a person: whether an address stands in it, in whatever way mail, forms and JSON write one.
//!
//! Nothing is parsed, for what cannot be parsed is kept too. What may hide an address is undone wherever it may stand, a
//! step at a time, and each time the address is looked for: the escapes of JSON, percent-encoding, quoted-printable and
//! HTML entities, one in another too, and base64 in any of them. What is compressed or encrypted (an attached archive) is
//! not opened, nor is text in UTF-16.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem::Finder;
use waypost_providers::Headers;

use super::address::Address;
use super::encodings::{unescaped, unpercented, unpercented_form, unquoted, without_entities};

/// Base64 in base64 is looked into, and no further.
const DEPTH: u32 = 2;
/// A writing may stand in another: the encoded JSON of a form.
const ROUNDS: usize = 2;

/// What a mail's base64 is read with: its end may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

type Decode = fn(&[u8]) -> Option<Vec<u8>>;
/// What is undone one upon the other: in forms a `+` is a space, elsewhere a letter of an address or of base64. Each answers
/// none where nothing is written so.
const CHAINS: [[Decode; 4]; 2] =
    [[unescaped, unpercented, unquoted, without_entities], [unescaped, unpercented_form, unquoted, without_entities]];

/// A person, by address.
pub struct Person {
    needles: [Needle; 3],
    is_ascii: bool,
    /// Shorter texts name nobody.
    len_min: usize,
}

/// An address in one of its spellings.
struct Needle {
    finder: Finder<'static>,
    len: usize,
    /// What before it makes it a part of another.
    glue: &'static [char],
}

impl Person {
    /// The person of this address.
    pub fn new(address: &Address) -> Self {
        let text = address.as_str();
        let (local, domain) = text.rsplit_once('@').unwrap_or((text, ""));
        let needle = |text: String, glue| Needle { len: text.len(), finder: Finder::new(&text).into_owned(), glue };
        let needles = [
            needle(text.to_owned(), &['.', '_', '-', '+'][..]),
            // Quotes that are not needed make no other address.
            needle(format!("\"{local}\"@{domain}"), &[]),
            // As a bounce address holds it (`bounces+17-nora=customer.example@`).
            needle(format!("{local}={domain}"), &['.', '_']),
        ];
        Self { needles, is_ascii: text.is_ascii(), len_min: text.len() }
    }

    /// Whether a request, an answer or anything else of these headers and this body names the person.
    pub fn is_in_message(&self, headers: &Headers, body: &[u8]) -> bool {
        headers.iter().any(|(_, value)| self.is_in(value.as_bytes())) || self.is_in(body)
    }

    /// Whether these bytes do.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.is_within(bytes, DEPTH)
    }

    fn is_within(&self, bytes: &[u8], depth: u32) -> bool {
        if self.is_seen(bytes, depth) {
            return true;
        }
        CHAINS.iter().any(|chain| self.is_behind(chain, bytes, depth))
    }

    /// Whether it is seen after any of these steps, one upon the other.
    fn is_behind(&self, chain: &[Decode], bytes: &[u8], depth: u32) -> bool {
        let mut text = Cow::Borrowed(bytes);
        for decode in std::iter::repeat_n(chain, ROUNDS).flatten() {
            if let Some(next) = decode(&text) {
                if self.is_seen(&next, depth) {
                    return true;
                }
                text = Cow::Owned(next);
            }
        }
        false
    }

    /// As it stands here, or in base64.
    fn is_seen(&self, bytes: &[u8], depth: u32) -> bool {
        bytes.len() >= self.len_min && (self.is_plain(bytes) || depth > 0 && self.is_in_base64(bytes, depth))
    }

    fn is_plain(&self, bytes: &[u8]) -> bool {
        let lower = match self.is_ascii {
            true => bytes.to_ascii_lowercase(),
            false => String::from_utf8_lossy(bytes).to_lowercase().into_bytes(),
        };
        let is_alone = |needle: &Needle, at: usize| {
            let before = last_letter(&lower[..at]);
            let is_begun = before.is_some_and(|letter| letter.is_alphanumeric() || needle.glue.contains(&letter));
            !is_begun && !goes_on(&lower[at + needle.len..])
        };
        self.needles.iter().any(|needle| needle.finder.find_iter(&lower).any(|at| is_alone(needle, at)))
    }

    /// In each run of its letters, from each of the four places that it may begin at.
    fn is_in_base64(&self, bytes: &[u8], depth: u32) -> bool {
        let (mut run, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            run.clear();
            at = read_run(bytes, at, &mut run);
            if run.len() / 4 * 3 + 3 >= self.len_min && (0..4).any(|skip| self.is_in_run(&run, skip, depth)) {
                return true;
            }
        }
        false
    }

    fn is_in_run(&self, run: &[u8], skip: usize, depth: u32) -> bool {
        let part = run.get(skip..).unwrap_or_default();
        // A single letter at the end stands for nothing.
        let part = &part[..part.len() - usize::from(part.len() % 4 == 1)];
        let Ok(decoded) = BASE64.decode(part) else { return false };
        // What was begun at a wrong place is hardly ever text.
        let is_text = depth > 0 && std::str::from_utf8(&decoded).is_ok();
        if is_text { self.is_within(&decoded, depth - 1) } else { self.is_plain(&decoded) }
    }
}

/// The letter that these bytes end with, if they end with one.
fn last_letter(bytes: &[u8]) -> Option<char> {
    let ends = (1..=bytes.len().min(4)).map(|len| &bytes[bytes.len() - len..]);
    ends.filter_map(|end| std::str::from_utf8(end).ok()).find_map(|end| end.chars().next())
}

/// Whether the host goes on here, so that it is another.
fn goes_on(after: &[u8]) -> bool {
    let after = &after[..after.len().min(8)];
    let valid = after.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let mut letters = valid.chars();
    match letters.next() {
        Some('.' | '-') => letters.next().is_some_and(char::is_alphanumeric),
        letter => letter.is_some_and(char::is_alphanumeric),
    }
}

/// Reads the next run of base64's letters, of either alphabet, over single line breaks. Answers where to go on.
fn read_run(bytes: &[u8], mut at: usize, run: &mut Vec<u8>) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => run.push(*byte),
            b'-' => run.push(b'+'),
            b'_' => run.push(b'/'),
            b'\r' if !run.is_empty() && bytes.get(at + 1) == Some(&b'\n') => at += 1,
            b'\n' if !run.is_empty() => {}
            _ => return at + 1,
        }
        at += 1;
        // An empty line ends it.
        if *byte <= b'\r' && matches!(bytes.get(at), Some(b'\r' | b'\n')) {
            return at + 1;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    const NORA: &str = "nora.li@customer.example";

    fn named(address: &str, text: &str) -> bool {
        Person::new(&Address::parse(address).unwrap()).is_in(text.as_bytes())
    }

    #[test]
    fn a_person_is_named_however_the_address_is_written() {
        for text in [
            NORA,
            "to Nora <NORA.LI@Customer.Example>.",
            r#"{"to":"nora.li\u0040customer.example"}"#,
            r#"{"to":"Nora\u003cNora.Li\u0040customer\u002Eexample\u003e"}"#,
            r#"{"raw":"To: x\r\nnora.li@customer.example"}"#,
            "event=delivered&recipient=nora.li%40customer.example",
            "to=a%40b.example%2C+nora.li%40customer.example&x=1",
            "event-data=%7B%22recipient%22%3A%22nora.li%5Cu0040customer.example%22%7D",
            "write to nora.li=40customer.exa=\r\nmple, please",
            "Subject: =?utf-8?Q?nora.li=40customer.example?=",
            "<a href=\"mailto:nora.li&#64;customer.example\">",
            "nora.li&#x40;customer&period;example",
            "nora.li&commat;customer.example",
            "Return-Path: <bounces+17-ab-nora.li=customer.example@em.lanyard.example>",
            "\"nora.li\"@customer.example",
            "see \u{201c}nora.li@customer.example\u{201d}",
            "/unsubscribe/nora.li@customer.example/all",
            "https://x.example/?to=nora.li@customer.example&n=1",
            "nora.li@customer.example.",
            "nora.li@customer.example-",
        ] {
            assert!(named(NORA, text), "{text}");
        }
    }

    #[test]
    fn one_way_of_writing_in_another_hides_no_address() {
        let each = |text: &str, code: &dyn Fn(char) -> String| {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || letter.is_whitespace();
            text.chars().map(|one| if plain(one) { one.to_string() } else { code(one) }).collect::<String>()
        };
        type Way<'a> = (&'a str, &'a dyn Fn(&str) -> String);
        let ways: [Way<'_>; 6] = [
            ("plain", &str::to_owned),
            ("json", &|text| each(text, &|one| format!("\\u{:04x}", u32::from(one)))),
            ("url", &|text| each(text, &|one| format!("%{:02X}", u32::from(one)))),
            ("mail", &|text| each(text, &|one| format!("={:02X}", u32::from(one))).replace("exam", "exa=\r\nm")),
            ("html", &|text| each(text, &|one| format!("&#{};", u32::from(one)))),
            ("base64", &|text| STANDARD.encode(text)),
        ];
        let (address, beside) = ("nora+news@customer.example", "see https://x.example/?a=1%2F2 and a=3Db ");
        for (outer, write) in ways {
            for (inner, first) in ways {
                let text = format!("{beside}{}", write(&format!("to {} now", first(address))));
                assert!(named(address, &text), "{inner} in {outer}: {text}");
                assert!(!named("nora@customer.example", &text), "{inner} in {outer}: {text}");
            }
        }
    }

    #[test]
    fn another_with_a_part_of_the_address_is_not_named() {
        for text in [
            "",
            "nora.li",
            "a.nora.li@customer.example",
            "eleanora.li@customer.example",
            "x-nora.li@customer.example",
            "tag+nora.li@customer.example",
            "to=tag%2Bnora.li%40customer.example",
            "nora.li+tag@customer.example",
            "nora.li@customer.example.org",
            "nora.li@customer.example-x.org",
            "nora.li@customer.examples",
            "nora.li@customer",
            "nora%li@customer.example",
            "bounces+e.nora.li=customer.example@em.lanyard.example",
        ] {
            assert!(!named(NORA, text), "{text}");
        }
    }

    #[test]
    fn base64_is_looked_into_wherever_it_begins() {
        let text = format!("Dear Nora,\r\nyour address is {NORA}.\r\n");
        let lines = |text: &str| {
            let coded = STANDARD.encode(text);
            coded.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>().join("\r\n")
        };
        let part = format!("Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n", lines(&text));
        let long =
            format!("Content-Type: text/plain\r\n\r\n{}\r\n", lines(&format!("{}{text}", "Lorem ipsum. ".repeat(40))));
        let cases = [
            part.clone(),
            long,
            // Another word right before it.
            format!("abc\r\n{}", lines(&text)),
            format!("Subject: =?utf-8?B?{}?=", STANDARD.encode(NORA)),
            format!("token={}", URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"{NORA}\"}}"))),
            serde_json::json!({ "mail": part }).to_string(),
            format!("body-mime={}", percent_encoding::utf8_percent_encode(&part, percent_encoding::NON_ALPHANUMERIC)),
            // A forwarded mail.
            lines(&part),
            lines(&text.replace('@', "&#64;")),
        ];
        for text in cases {
            assert!(named(NORA, &text), "{text}");
            assert!(!named("nora.lo@customer.example", &text), "{text}");
        }
    }

    #[test]
    fn letters_of_any_script_are_compared_without_their_case() {
        let address = "ÉLISE@Café.example";
        assert!(named(address, "an <élise@CAFÉ.example>"));
        assert!(named(address, r#""\u00e9lise@caf\u00e9.example""#));
        assert!(named(address, "=?utf-8?Q?=C3=A9lise=40caf=C3=A9.example?="));
        assert!(!named(address, "ÉÉlise@café.example"));
        assert!(!named("lise@cafe.example", "Élise@cafe.example"));
    }

    #[test]
    fn headers_are_looked_into_and_what_is_no_text_is_no_panic() {
        let person = Person::new(&Address::parse(NORA).unwrap());
        let headers = [("x-to", "nora.li%40customer.example")].into_iter().collect();
        assert!(person.is_in_message(&headers, b""));
        assert!(!person.is_in_message(&Headers::default(), b""));
        let noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert!(!person.is_in(&noise));
        assert!(person.is_in(&[&noise[..], b" ", NORA.as_bytes(), &noise[..]].concat()));
        for odd in ["%", "%4", "\\", "\\u00", "=", "=4", "&#", "&#x;", "&#99999999;", "\u{1f600}", "+/+/+/+/+"] {
            assert!(!person.is_in(odd.repeat(9).as_bytes()), "{odd}");
        }
    }
}
