//! The header of a mail (RFC 5322).

use serde_json::Value;

use super::encoded::decoded;
use super::{cut, listed};
use crate::event::Mail;
use crate::fields::{addresses, message_id};

/// No mail has a longer header that anybody could use. What is behind is not read as one.
const HEAD_LEN_MAX: usize = 256 * 1024;
const FIELDS_MAX: usize = 1_000;

/// Names and values in order, values on one line and not yet decoded.
#[derive(Debug, Default)]
pub(crate) struct Head {
    fields: Vec<(String, String)>,
    is_whole: bool,
}

impl Head {
    /// Of the lines of a header. A line that is none costs itself.
    pub(crate) fn read(lines: &[u8]) -> Self {
        let mut is_whole = lines.len() <= HEAD_LEN_MAX;
        let text = String::from_utf8_lossy(&lines[..lines.len().min(HEAD_LEN_MAX)]);
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if fields.len() == FIELDS_MAX {
                is_whole = false;
                break;
            }
            if line.starts_with([' ', '\t']) {
                fields.last_mut().into_iter().for_each(|(_, value)| value.push_str(line));
            } else if let Some((name, value)) = line.split_once(':') {
                let name = name.trim_end();
                if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) {
                    fields.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        fields.iter_mut().for_each(|(_, value)| *value = value.trim().to_owned());
        Self { fields, is_whole }
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
    fn says_when_a_header_is_not_whole() {
        let long = Head::read(&b"a: b\r\n".repeat(HEAD_LEN_MAX / 6 + 1)).mail();
        assert_eq!((long.headers.len(), &long.truncated[..]), (500, &["headers".to_owned()][..]));
        let many = Head::read(format!("to: {}", "a@b.example,".repeat(501)).as_bytes()).mail();
        assert_eq!((many.to.len(), &many.truncated[..]), (500, &["to".to_owned()][..]));
    }
}
