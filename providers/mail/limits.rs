//! How much of what a sender wrote is in an event.

/// The most bytes of one header's value, of one address.
const TEXT_LEN_MAX: usize = 4 * 1024;
/// The most entries of a list, and the most bytes of them together.
const LIST_MAX: usize = 500;
const LIST_LEN_MAX: usize = 64 * 1024;

/// A text, cut at 4 KiB.
pub(crate) fn cut(text: &str) -> String {
    cut_at(text, TEXT_LEN_MAX)
}

/// A text of at most so many bytes; `…` ends one that was longer.
pub(super) fn cut_at(text: &str, len_max: usize) -> String {
    if text.len() <= len_max {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(len_max - '…'.len_utf8())])
}

/// The first texts of a list; of one that is longer, `truncated` gets the name.
pub(crate) fn listed<T: Length>(list: impl IntoIterator<Item = T>, name: &str, truncated: &mut Vec<String>) -> Vec<T> {
    let (mut kept, mut len) = (Vec::new(), 0);
    for text in list {
        len += text.length();
        if kept.len() == LIST_MAX || len > LIST_LEN_MAX {
            truncated.push(name.to_owned());
            break;
        }
        kept.push(text);
    }
    kept
}

/// What an entry of a list counts for.
pub(crate) trait Length {
    fn length(&self) -> usize;
}

impl Length for String {
    fn length(&self) -> usize {
        self.len()
    }
}

impl Length for (String, String) {
    fn length(&self) -> usize {
        self.0.len() + self.1.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        assert_eq!(cut(&"a".repeat(4096)).len(), 4096);
        let long = cut(&"é".repeat(2049));
        assert!(long.len() <= 4096 && long.ends_with("é…"), "{}", long.len());

        let mut truncated = Vec::new();
        assert_eq!(listed(vec!["a".to_owned(); 500], "few", &mut truncated).len(), 500);
        assert_eq!(listed(vec!["a".repeat(1024); 64], "short", &mut truncated).len(), 64);
        assert!(truncated.is_empty());
        assert_eq!(listed(vec!["a".to_owned(); 501], "many", &mut truncated).len(), 500);
        assert_eq!(listed(vec![("a".repeat(1000), "b".repeat(25)); 64], "long", &mut truncated).len(), 63);
        assert_eq!(truncated, ["many", "long"]);
    }
}
