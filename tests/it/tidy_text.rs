//! Reads Rust well enough to count its lines: no parser, but strings and comments do not fool it.

/// The same text with comments, strings and characters blanked; lines stay where they are.
pub(crate) fn without_text(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|one| if *one == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment, string or character that starts here ends; `at` itself if none does.
fn skipped(chars: &[char], at: usize) -> usize {
    let starts = |from: usize, with: &str| with.chars().enumerate().all(|(i, one)| chars.get(from + i) == Some(&one));
    let until = |from: usize, with: &str| {
        let end = (from..chars.len()).find(|i| starts(*i, with));
        end.map_or(chars.len(), |end| end + with.chars().count())
    };
    let in_word = at > 0 && is_word(chars[at - 1]) && !(chars[at - 1] == 'b' && (at < 2 || !is_word(chars[at - 2])));
    if starts(at, "//") {
        return (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len());
    }
    if starts(at, "/*") {
        return until(at + 2, "*/");
    }
    if chars[at] == 'r' && !in_word {
        let hashes = chars[at + 1..].iter().take_while(|one| **one == '#').count();
        if chars.get(at + 1 + hashes) == Some(&'"') {
            return until(at + 2 + hashes, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    if chars[at] == '"' {
        return closed(chars, at, '"');
    }
    // A lifetime has no closing quote after its first character.
    if chars[at] == '\'' && (starts(at + 1, "\\") || chars.get(at + 2) == Some(&'\'')) {
        return closed(chars, at, '\'');
    }
    at
}

/// Past the quote that closes the one at `at`.
fn closed(chars: &[char], at: usize, quote: char) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn is_word(one: char) -> bool {
    one.is_alphanumeric() || one == '_'
}

/// Whether a path such as `crate::store` or `tokio` is named, as whole words.
pub(crate) fn has_path(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + path.len()..].chars().next();
        let ends = path.ends_with('{') || after.is_none_or(|one| !is_word(one));
        before.is_none_or(|one| !is_word(one) && one != '$') && ends
    })
}

/// Each function with a body, and its lines from `fn` to the closing brace. Takes what [`without_text`] gives.
pub(crate) fn functions(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("fn ") {
        let starts_word = text[..at].chars().next_back().is_none_or(|one| !is_word(one));
        let name: String = text[at + 3..].chars().take_while(|one| is_word(*one)).collect();
        if let Some(end) = body_end(&text[at..]).filter(|_| starts_word && !name.is_empty()) {
            found.push((name, text[at..at + end].lines().count()));
        }
    }
    found
}

/// Where the first block ends; nothing if a `;` outside of brackets comes first.
fn body_end(text: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (at, one) in text.char_indices() {
        match one {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.checked_sub(1)?,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && brackets == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn strings_and_comments_count_for_nothing() {
    let text = r##"fn a<'x>(s: [u8; 3]) { // }
    let _ = ("}", '}', '\'', r#"}"#, b"}", br"}");
}
fn b();
fn c() {}"##;
    assert_eq!(functions(&without_text(text)), [("a".to_owned(), 3), ("c".to_owned(), 1)]);
    assert!(has_path(&without_text("use crate::store::Store;"), "crate::store"));
    assert!(!has_path(&without_text("use crate::stored; // crate::store"), "crate::store"));
}
