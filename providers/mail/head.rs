//! The header of a mail (RFC 5322).

use serde_json::Value;

use super::encoded::decoded;
use super::{cut, listed};
use crate::event::Mail;
use crate::fields::{addresses, message_id};

/// No mail has a longer header that anybody could use.
const HEAD_LEN_MAX: usize = 256 * 1024;
const FIELDS_MAX: usize = 1_000;
/// What is read of a longer one, wherever it stands, once: without it the mail cannot be taken apart, or be known.
const NEEDED: [&str; 11] = [
    "content-type",
    "content-disposition",
    "content-transfer-encoding",
    "content-id",
    "message-id",
    "in-reply-to",
    "from",
    "to",
    "cc",
    "subject",
    "date",
];
const NEEDED_LEN_MAX: usize = 16 * 1024;
/// The longest line of a mail (RFC 5322).
const NAME_LEN_MAX: usize = 998;

/// Names and values in order, values on one line and not yet decoded.
#[derive(Debug, Default)]
pub(crate) struct Head {
    fields: Vec<(String, String)>,
    is_whole: bool,
}

impl Head {
    /// Of the lines of a header. A line that is none costs itself.
    pub(crate) fn read(lines: &[u8]) -> Self {
        let mut head = Self { fields: Vec::new(), is_whole: true };
        let (mut needed, mut left, mut room) = (None, HEAD_LEN_MAX, 0);
        for line in lines.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let told = match field(line) {
                _ if matches!(line, [b' ' | b'\t', ..]) && !head.fields.is_empty() => line,
                Some((name, value)) => {
                    room = head.begin(name, left, &mut needed);
                    value
                }
                None => continue,
            };
            let kept = &told[..told.len().min(room)];
            head.is_whole &= kept.len() == told.len();
            (room, left) = (room - kept.len(), left.saturating_sub(line.len()));
            let value = head.fields.last_mut().map(|(_, value)| value);
            value.into_iter().for_each(|value| value.push_str(&String::from_utf8_lossy(kept)));
        }
        head.fields.iter_mut().for_each(|(_, value)| *value = value.trim().to_owned());
        head
    }

    /// Begins a field, if it is kept. Answers how long its value may be. What is `needed` is asked for once there is too much.
    fn begin(&mut self, name: &str, left: usize, needed: &mut Option<Vec<&str>>) -> usize {
        let mut room = left;
        if left == 0 || self.fields.len() >= FIELDS_MAX {
            let missing = || NEEDED.into_iter().filter(|name| self.get(name).is_none()).collect();
            let needed = needed.get_or_insert_with(missing);
            let found = needed.iter().position(|needed| needed.eq_ignore_ascii_case(name));
            room = found.map(|at| needed.swap_remove(at)).map_or(0, |_| NEEDED_LEN_MAX);
        }
        match room {
            0 => self.is_whole = false,
            _ => self.fields.push((name.to_owned(), String::new())),
        }
        room
    }

    /// Of names and values that somebody else has read.
    pub(crate) fn of(fields: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { fields: fields.into_iter().collect(), is_whole: true }
    }

    /// The same, and some of it is missing.
    pub(crate) fn not_whole(self) -> Self {
        Self { is_whole: false, ..self }
    }

    /// Whether nothing of it is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Of a JSON list of pairs; what is none costs itself.
    pub(crate) fn of_pairs(pairs: &Value) -> Self {
        let pair = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
        Self::of(pairs.as_array().into_iter().flatten().filter_map(pair))
    }

    /// The first field of this name, in any case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Each field of this name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// How many fields have exactly this name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(known, _)| known == name).count()
    }

    /// What stands above the topmost field of this name, if there is one.
    pub(crate) fn above(&self, name: &str) -> Option<Self> {
        let at = self.fields.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(Self::of(self.fields[..at].iter().cloned()))
    }

    /// What it says of the mail.
    pub(crate) fn mail(&self) -> Mail {
        let mut truncated = Vec::new();
        let text = |name: &str| self.get(name).map(decoded).filter(|text| !text.trim().is_empty());
        let mut list = |name: &str, key: &str| listed(self.all(name).flat_map(each_address), key, &mut truncated);
        let (to, cc, bcc, reply_to) =
            (list("to", "to"), list("cc", "cc"), list("bcc", "bcc"), list("reply-to", "reply_to"));
        let ids = |name: &str| self.get(name).into_iter().flat_map(str::split_ascii_whitespace).filter_map(message_id);
        let references = listed(ids("references").map(|id| cut(&id)), "references", &mut truncated);
        let fields = self.fields.iter().map(|(name, value)| (cut(name), cut(&decoded(value))));
        let headers = listed(fields, "headers", &mut truncated);
        if !self.is_whole && !truncated.iter().any(|name| name == "headers") {
            truncated.push("headers".to_owned());
        }
        Mail {
            from: self.get("from").filter(|from| !from.is_empty()).map(address),
            to,
            cc,
            bcc,
            reply_to,
            subject: text("subject").as_deref().map(cut),
            date: text("date").as_deref().map(cut),
            message_id: self.get("message-id").and_then(message_id).as_deref().map(cut),
            in_reply_to: ids("in-reply-to").next().as_deref().map(cut),
            references,
            headers,
            truncated,
            ..Mail::default()
        }
    }
}

/// The field that begins in this line.
fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let at = memchr::memchr(b':', line)?;
    let name = str::from_utf8(&line[..at]).ok()?.trim_end();
    let is_name = (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then_some((name, &line[at + 1..]))
}

/// The addresses of a value, parted before anything is decoded: a decoded name may have a comma in it.
pub(crate) fn each_address(value: &str) -> Vec<String> {
    addresses(&value[..value.floor_char_boundary(HEAD_LEN_MAX)]).iter().map(|one| address(one)).collect()
}

/// One address, its name decoded, and then in quotes if it would be read otherwise.
fn address(one: &str) -> String {
    let Some((name, address)) = one.rsplit_once('<').filter(|(name, _)| name.contains("=?")) else { return cut(one) };
    let name = decoded(name.trim().trim_matches('"'));
    let name = match name.contains(|letter: char| "()<>[]:;@\\,.\"".contains(letter)) {
        true => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
        false => name,
    };
    cut(&format!("{name} <{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_folded_and_encoded_fields() {
        let head = Head::read(
            b"From: =?utf-8?q?Ng=2C_J=C3=B6?= <j@a.example>\r\nTO : b@c.example,\r\n\t\"D, E\" <d@e.example>\n\
              no field\r\nBad name: x\r\nSubject: =?utf-8?q?caf=C3?=\r\n =?utf-8?q?=A9?=\r\nReferences: <1@a>\r\n <2@a>\r\n\
              Message-ID: <3@a>\r\nIn-Reply-To: <2@a> (of mine)\r\nTo: f@g.example\r\nSubject: another",
        );
        let mail = head.mail();
        assert_eq!(mail.from.as_deref(), Some("\"Ng, Jö\" <j@a.example>"));
        assert_eq!(mail.to, ["b@c.example", "\"D, E\" <d@e.example>", "f@g.example"]);
        assert_eq!(mail.subject.as_deref(), Some("café"));
        assert_eq!(mail.references, ["<1@a>", "<2@a>"]);
        assert_eq!((mail.message_id.as_deref(), mail.in_reply_to.as_deref()), (Some("<3@a>"), Some("<2@a>")));
        assert_eq!(mail.headers[2], ("Subject".to_owned(), "café".to_owned()));
        assert!(mail.truncated.is_empty());
    }

    #[test]
    fn what_takes_a_mail_apart_is_found_behind_any_header() {
        let parts = "Content-Type: text/html\r\nMessage-ID: <a@b>\r\nX: y\r\nSubject: a\r\n b\r\nSubject: c\r\n";
        let long = format!("To: {}\r\n", "a@b.example,\r\n ".repeat(HEAD_LEN_MAX / 12));
        let many = "a: b\r\n".repeat(FIELDS_MAX);
        for before in [&long, &many] {
            let head = Head::read(format!("{before}{parts}").as_bytes());
            let found = ["content-type", "message-id", "subject", "x"].map(|name| head.get(name));
            assert_eq!(found, [Some("text/html"), Some("<a@b>"), Some("a b"), None]);
            assert!(!head.is_whole() && head.all("subject").count() == 1);
            let len: usize = head.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(len < HEAD_LEN_MAX + NEEDED_LEN_MAX && head.fields.len() < FIELDS_MAX + NEEDED.len());
        }
        let long = Head::read(format!("{many}From:{}", "a".repeat(HEAD_LEN_MAX)).as_bytes());
        assert_eq!(long.get("from").map(str::len), Some(NEEDED_LEN_MAX));
        assert!(Head::read(format!(" no field\r\n{many}").as_bytes()).is_whole());
    }

    #[test]
    fn says_when_a_header_is_not_whole() {
        let long = Head::read(&b"a: b\r\n".repeat(HEAD_LEN_MAX / 6 + 1)).mail();
        assert_eq!((long.headers.len(), &long.truncated[..]), (500, &["headers".to_owned()][..]));
        let many = Head::read(format!("to: {}", "a@b.example,".repeat(501)).as_bytes()).mail();
        assert_eq!((many.to.len(), &many.truncated[..]), (500, &["to".to_owned()][..]));
    }
}
