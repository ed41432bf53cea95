//! Encoded words in header values (RFC 2047): `=?utf-8?q?caf=C3=A9?=`.

use encoding_rs::UTF_8;

use crate::body::{Body, Coding, charset};

/// The longest name of a charset.
const LABEL_LEN_MAX: usize = 64;

/// What a word stands for.
struct Word<'a> {
    label: &'a str,
    bytes: Vec<u8>,
}

/// The value with its encoded words decoded. Those with nothing but blanks between them are one text, and its bytes are
/// put together first: senders part characters of several bytes.
pub(crate) fn decoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let (mut rest, mut open) = (value, None::<Word<'_>>);
    while let Some(at) = rest.find("=?") {
        let (before, from) = rest.split_at(at);
        let Some((word, after)) = word(from) else {
            close(&mut text, open.take());
            text.push_str(&rest[..at + 2]);
            rest = &rest[at + 2..];
            continue;
        };
        let is_next = open.is_some() && before.chars().all(char::is_whitespace);
        match &mut open {
            Some(open) if is_next && open.label.eq_ignore_ascii_case(word.label) => open.bytes.extend(word.bytes),
            _ => {
                close(&mut text, open.take());
                text.push_str(if is_next { "" } else { before });
                open = Some(word);
            }
        }
        rest = after;
    }
    close(&mut text, open);
    text.push_str(rest);
    text
}

fn close(text: &mut String, word: Option<Word<'_>>) {
    if let Some(Word { label, bytes }) = word {
        text.push_str(&charset(label).unwrap_or(UTF_8).decode_without_bom_handling(&bytes).0);
    }
}

/// The word that `text` begins with, and what is behind it.
fn word(text: &str) -> Option<(Word<'_>, &str)> {
    let text = text.strip_prefix("=?")?;
    let end = text.bytes().take(LABEL_LEN_MAX + 1).position(|byte| byte == b'?')?;
    // RFC 2231 puts a language behind the charset.
    let label = text[..end].split('*').next().unwrap_or_default();
    let (encoding, text) = text[end + 1..].split_once('?').filter(|(encoding, _)| encoding.len() == 1)?;
    let (data, after) = text.split_once('?')?;
    let after = after.strip_prefix('=')?;
    let bytes = match encoding {
        "b" | "B" => Body::new(data.as_bytes(), Coding::Base64).bytes().into_owned(),
        "q" | "Q" => Body::new(data.replace('_', " ").as_bytes(), Coding::QuotedPrintable).bytes().into_owned(),
        _ => return None,
    };
    Some((Word { label, bytes }, after))
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn decodes_words_and_nothing_else() {
        let cases = [
            ("plain", "plain"),
            ("=?utf-8?q?caf=C3=A9_au_lait?= ok", "café au lait ok"),
            ("a =?iso-8859-1?Q?=E9?=b", "a éb"),
            ("=?utf-8?b?4oI=?= \t=?UTF-8?b?rA==?=", "€"),
            ("=?utf-8?q?a?= =?iso-8859-1?q?=E9?= c", "aé c"),
            ("=?koi8-r?B?0NLJ18XU?=", "привет"),
            ("=?utf-8*en?q?a?=", "a"),
            ("=?x?q?a", "=?x?q?a"),
            ("=?utf-8?z?a?=", "=?utf-8?z?a?="),
            ("=?=?utf-8?q?a?=", "=?a"),
            ("=?utf-8?q?a?= =?", "a =?"),
            ("=?unknown?q?a=FF?=", "a\u{fffd}"),
        ];
        for (value, expected) in cases {
            assert_eq!(decoded(value), expected, "{value}");
        }
    }
}
