//! The fields of a form, url-encoded or multipart, in the order sent, and nothing of them decoded but their names.

use std::borrow::Cow;
use std::collections::VecDeque;

use memchr::memmem::{self, FinderRev};
use sha2::{Digest, Sha256};

use crate::Request;
use crate::body::{Body, Coding};
use crate::parameters::Parameters;

/// Of a form that has more, the first and the last are read. Whoever is not proven yet could make each cost far more than its
/// bytes; and what a provider writes itself stands around what it makes of a mail's header.
pub(crate) const FIELDS_MAX: usize = 1_000;
/// No head of a part is so long, whatever its file's name.
const HEAD_LEN_MAX: usize = 16 * 1024;

/// A form.
#[derive(Debug)]
pub(crate) struct Form<'a> {
    fields: Vec<Field<'a>>,
    is_whole: bool,
}

/// One field. A file is a field like any other, under its field's name.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: String,
    /// Of a file.
    pub(crate) filename: Option<String>,
    /// Of a part that says so.
    pub(crate) content_type: Option<String>,
    pub(crate) body: Body<'a>,
}

impl<'a> Form<'a> {
    /// The fields of a body that says it is a form, and does not look like JSON. A part that cannot be read costs itself;
    /// none if all of it cannot.
    pub(crate) fn read(request: &'a Request) -> Option<Self> {
        let content_type = Parameters::read(request.headers.get("content-type")?);
        let is_json = request.body.trim_ascii_start().starts_with(b"{");
        match content_type.value.as_str() {
            _ if is_json => None,
            "application/x-www-form-urlencoded" => Some(url_encoded(&request.body)),
            "multipart/form-data" => multipart(&request.body, content_type.get("boundary")?),
            _ => None,
        }
    }

    /// Every field that was read, in order.
    pub(crate) fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    /// Whether that is all of it.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The first field of this name.
    pub(crate) fn first(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The last field of this name.
    pub(crate) fn last(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().rfind(|field| field.name == name)
    }

    /// SHA-256 of what the fields say, but those named: neither the boundary makes a difference, nor the order of fields
    /// of different names.
    pub(crate) fn digest(&self, but: &[&str]) -> [u8; 32] {
        let mut fields: Vec<_> = self.fields.iter().filter(|field| !but.contains(&field.name.as_str())).collect();
        fields.sort_by_key(|field| &field.name);
        let mut hash = Sha256::new();
        for field in fields {
            for text in [Some(&field.name), field.filename.as_ref(), field.content_type.as_ref()] {
                hash.update(text.map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
                hash.update(text.map_or("", String::as_str));
            }
            hash.update(field.digest());
        }
        hash.finalize().into()
    }
}

impl<'a> Field<'a> {
    /// The value as text, whatever is no UTF-8 replaced.
    pub(crate) fn text(&self) -> Cow<'a, str> {
        self.body.text()
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut block = Vec::with_capacity(4096);
        self.body.each(|byte| {
            block.push(byte);
            if block.len() == block.capacity() {
                hash.update(&block);
                block.clear();
            }
        });
        hash.update(&block);
        hash.finalize().into()
    }
}

fn url_encoded<'a>(body: &'a [u8]) -> Form<'a> {
    let (pairs, is_whole) = ends(body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()));
    let field = |pair: &'a [u8]| {
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let name = Body::new(&pair[..end], Coding::Url).text().into_owned();
        let value = pair.get(end + 1..).unwrap_or_default();
        Field { name, filename: None, content_type: None, body: Body::new(value, Coding::Url) }
    };
    Form { fields: pairs.into_iter().map(field).collect(), is_whole }
}

/// RFC 7578. A value may have in it what looks like a delimiter: a true one has its line for itself, and of those that end the
/// form the last does.
fn multipart<'a>(body: &'a [u8], boundary: &str) -> Option<Form<'a>> {
    let delimiter = format!("--{boundary}");
    let last = format!("{delimiter}--");
    let end = FinderRev::new(&last).rfind_iter(body).find(|at| is_line(body, *at, last.len()))?;
    let lines = memmem::find_iter(&body[..end], &delimiter).filter(|at| is_line(body, *at, delimiter.len()));
    let mut start = None;
    let section = |at| Some(&body[start.replace(at)? + delimiter.len()..at]);
    let (sections, is_all) = ends(lines.chain([end]).filter_map(section));
    let fields: Vec<_> = sections.iter().filter_map(|section| field(section)).collect();
    let is_whole = is_all && fields.len() == sections.len();
    (is_whole || !fields.is_empty()).then_some(Form { fields, is_whole })
}

/// Whether what stands here has its line for itself, but for blanks behind it.
fn is_line(body: &[u8], at: usize, len: usize) -> bool {
    let (before, behind) = (&body[..at], &body[at + len..]);
    let blanks = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    (before.is_empty() || before.ends_with(b"\r\n")) && matches!(behind[blanks..], [] | [b'\r', b'\n', ..])
}

/// The first and the last of many, and whether these are all.
fn ends<T>(mut all: impl Iterator<Item = T>) -> (Vec<T>, bool) {
    let mut ends: Vec<_> = all.by_ref().take(FIELDS_MAX / 2).collect();
    let (mut last, mut is_all) = (VecDeque::new(), true);
    for one in all {
        if last.len() == FIELDS_MAX / 2 {
            is_all = false;
            last.pop_front();
        }
        last.push_back(one);
    }
    ends.extend(last);
    (ends, is_all)
}

/// The field that is between two delimiters: a head, an empty line, and the value, whose line end is the delimiter's.
fn field(section: &[u8]) -> Option<Field<'_>> {
    let at = memmem::find(section, b"\r\n\r\n")?;
    let (head, value) = (&section[..at.min(HEAD_LEN_MAX)], &section[at + 4..]);
    let head = String::from_utf8_lossy(head).replace("\r\n ", " ").replace("\r\n\t", " ");
    let header = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let disposition = Parameters::read(header("content-disposition")?);
    Some(Field {
        name: disposition.get("name")?.to_owned(),
        filename: disposition.get("filename").map(str::to_owned),
        content_type: header("content-type").map(str::to_owned),
        body: Body::new(value.strip_suffix(b"\r\n").unwrap_or(value), Coding::Plain),
    })
}

/// The boundary of a body that looks like a multipart form.
pub(crate) fn boundary_of(body: &[u8]) -> Option<&str> {
    let line = &body[..memmem::find(body, b"\r\n")?];
    let boundary = str::from_utf8(line.strip_prefix(b"--")?).ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    (!boundary.is_empty() && boundary.len() <= 70 && boundary.bytes().all(is_plain)).then_some(boundary)
}

/// What a sender of this body would call it.
pub(crate) fn content_type_of(body: &[u8]) -> String {
    boundary_of(body).map_or_else(
        || "application/json".to_owned(),
        |boundary| format!("multipart/form-data; boundary=\"{boundary}\""),
    )
}

#[cfg(test)]
mod tests;
