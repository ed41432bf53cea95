//! JSON as some senders write it and its reader refuses it, made readable.

/// The same JSON with U+FFFD for each `\uD800` to `\uDFFF` that is no half of a pair (what Python's `surrogateescape`
/// makes of an SMTP answer that is not UTF-8), and `null` for each number that no double holds (`1e999`).
pub(crate) fn repaired(json: &str) -> String {
    let mut repaired = String::with_capacity(json.len());
    let (mut rest, mut quoted) = (json, false);
    loop {
        let is_next = |letter: char| match letter {
            '"' => true,
            '\\' => quoted,
            _ => !quoted && (letter == '-' || letter.is_ascii_digit()),
        };
        let (plain, next) = rest.split_at(rest.find(is_next).unwrap_or(rest.len()));
        repaired.push_str(plain);
        let Some(first) = next.chars().next() else { return repaired };
        let (len, replaced) = match first {
            '"' => {
                quoted = !quoted;
                (1, None)
            }
            '\\' => escape(next),
            _ => number(next),
        };
        let (token, after) = next.split_at_checked(len).unwrap_or((next, ""));
        repaired.push_str(replaced.unwrap_or(token));
        rest = after;
    }
}

/// How long the escape is that `text` begins with, and what it is replaced by.
fn escape(text: &str) -> (usize, Option<&'static str>) {
    match (unit(text), text.get(6..).and_then(unit)) {
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, None),
        (Some(0xD800..=0xDFFF), _) => (6, Some("\\ufffd")),
        // Of a longer one, what follows is plain text.
        _ => (1 + text.chars().nth(1).map_or(0, char::len_utf8), None),
    }
}

/// The UTF-16 code unit of the escape (`\u` and four digits) that `text` begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // The parser takes a sign, too.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// How long the number is that `text` begins with, and what it is replaced by.
fn number(text: &str) -> (usize, Option<&'static str>) {
    let is_part = |letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '+' | '.' | 'e' | 'E');
    let len = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    let is_endless = text[..len].parse().is_ok_and(f64::is_infinite);
    (len, is_endless.then_some("null"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_are_kept() {
        let cases = [
            (r#""a \udce9 b""#, r#""a \ufffd b""#),
            (r#""\uD83D\uDE41""#, r#""\uD83D\uDE41""#),
            (r#""\ud83d\ud83d\ude41""#, r#""\ufffd\ud83d\ude41""#),
            (r#""\ude41\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\n\ud83dx""#, r#""\ufffd\n\ufffdx""#),
            // A backslash, and then plain text.
            (r#""\\udce9 \\\udce9""#, r#""\\udce9 \\\ufffd""#),
            (r#"{"\udce9":1,"b\"\udce9":"é"}"#, r#"{"\ufffd":1,"b\"\ufffd":"é"}"#),
        ];
        for (given, expected) in cases {
            assert_eq!(repaired(given), expected);
            assert!(serde_json::from_str::<Value>(expected).is_ok(), "{expected}");
        }
    }

    #[test]
    fn numbers_beyond_a_double_are_null() {
        assert_eq!(repaired(r#"[1e999,-1E+400,1e308,0,"1e999",-0.5e-9]"#), r#"[null,null,1e308,0,"1e999",-0.5e-9]"#);
        assert_eq!(repaired(&"9".repeat(400)), "null");
        assert_eq!(repaired(r#"{"1e999":1e999}"#), r#"{"1e999":null}"#);
    }

    proptest! {
        #[test]
        fn what_can_be_read_is_not_changed(text in any::<String>(), number in any::<f64>(), count in any::<i64>()) {
            let json = serde_json::json!({ text.clone(): [text, number, count] }).to_string();
            prop_assert_eq!(repaired(&json), json);
        }

        #[test]
        fn any_text_is_taken(text in r#"["\\udDeE90-9+.é{}:, ]*"#) {
            repaired(&text);
        }
    }
}
