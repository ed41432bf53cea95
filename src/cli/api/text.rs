//! Text from outside on its way to a terminal, which obeys some of it.

use std::fmt::Write;

/// The same without what a terminal would obey: control characters, and those that turn the direction of writing, are
/// shown as `\u{1b}`.
pub(super) fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, one| {
        if is_obeyed(one) {
            out.extend(one.escape_unicode());
        } else {
            out.push(one);
        }
        out
    })
}

/// The same text of several lines, which stay lines.
pub(super) fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// JSON in one line, without what a terminal would obey; it says the same.
pub(super) fn json_line(json: &str) -> String {
    json.trim().chars().fold(String::with_capacity(json.len()), |mut out, one| {
        match one {
            // Outside of a text, where alone JSON may have it.
            '\n' | '\r' | '\t' => out.push(' '),
            // All of these are below U+FFFF.
            one if is_obeyed(one) => {
                let _ = write!(out, "\\u{:04x}", u32::from(one));
            }
            one => out.push(one),
        }
        out
    })
}

/// Control characters, and the marks of Unicode that part lines or reorder what is shown around them.
fn is_obeyed(one: char) -> bool {
    one.is_control()
        || matches!(one, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(plain("Grüße \u{1b}[31mred\u{7} \"a\" \\"), "Grüße \\u{1b}[31mred\\u{7} \"a\" \\");
        assert_eq!(plain("a\u{9b}2J\u{202e}b\r\n"), "a\\u{9b}2J\\u{202e}b\\u{d}\\u{a}");
        assert_eq!(plain_lines("a\nb\u{1b}c\n"), "a\nb\\u{1b}c");
    }

    #[test]
    fn json_says_the_same_in_one_line() {
        let json = "{\n  \"a\": \"\u{9b}2J\u{202e}é\\n\"\n}\n";
        let line = json_line(json);
        assert_eq!(line, r#"{   "a": "\u009b2J\u202eé\n" }"#);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&line), read(json));
    }
}
