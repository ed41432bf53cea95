//! The fields of a form, url-encoded or multipart, in the order sent, and nothing of them decoded but their names.

use std::borrow::Cow;

use memchr::memmem::{self, Finder};
use sha2::{Digest, Sha256};

use crate::Request;
use crate::body::{Body, Coding};
use crate::parameters::Parameters;

/// No form of a provider has so many fields. Whoever is not proven yet could make each cost far more than its bytes.
pub(crate) const FIELDS_MAX: usize = 1_000;
/// No head of a part is so long, whatever its file's name.
const HEAD_LEN_MAX: usize = 16 * 1024;

/// A form.
#[derive(Debug)]
pub(crate) struct Form<'a>(Vec<Field<'a>>);

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
    /// The fields of a body that says it is a form, and does not look like JSON. None if it cannot be taken apart.
    pub(crate) fn read(request: &'a Request) -> Option<Self> {
        let content_type = Parameters::read(request.headers.get("content-type")?);
        let is_json = request.body.trim_ascii_start().starts_with(b"{");
        let fields = match content_type.value.as_str() {
            _ if is_json => return None,
            "application/x-www-form-urlencoded" => url_encoded(&request.body),
            "multipart/form-data" => multipart(&request.body, content_type.get("boundary")?)?,
            _ => return None,
        };
        (fields.len() <= FIELDS_MAX).then_some(Self(fields))
    }

    /// Every field, in order.
    pub(crate) fn fields(&self) -> &[Field<'a>] {
        &self.0
    }

    /// The first field of this name.
    pub(crate) fn first(&self, name: &str) -> Option<&Field<'a>> {
        self.0.iter().find(|field| field.name == name)
    }

    /// The last field of this name.
    pub(crate) fn last(&self, name: &str) -> Option<&Field<'a>> {
        self.0.iter().rfind(|field| field.name == name)
    }

    /// SHA-256 of what the fields say, but those named: neither the boundary makes a difference, nor the order of fields
    /// of different names.
    pub(crate) fn digest(&self, but: &[&str]) -> [u8; 32] {
        let mut fields: Vec<_> = self.0.iter().filter(|field| !but.contains(&field.name.as_str())).collect();
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

fn url_encoded(body: &[u8]) -> Vec<Field<'_>> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair: &&[u8]| !pair.is_empty());
    let field = |pair| {
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let name = Body::new(&pair[..end], Coding::Url).text().into_owned();
        let value = pair.get(end + 1..).unwrap_or_default();
        Field { name, filename: None, content_type: None, body: Body::new(value, Coding::Url) }
    };
    pairs.map(field).take(FIELDS_MAX + 1).collect()
}

/// RFC 7578.
fn multipart<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Field<'a>>> {
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = Finder::new(delimiter.as_bytes());
    // The first one begins the body, unless something precedes it.
    let mut rest = match body.strip_prefix(&delimiter.needle()[2..]) {
        Some(rest) => rest,
        None => split(body, &delimiter)?.1,
    };
    let end_of_head = Finder::new(b"\r\n\r\n");
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") && fields.len() <= FIELDS_MAX {
        let (part, after) = split(rest, &delimiter)?;
        let (head, value) = split(part, &end_of_head)?;
        fields.push(field(head, value)?);
        rest = after;
    }
    Some(fields)
}

/// What is before the first `mark`, and what is behind it.
fn split<'a>(bytes: &'a [u8], mark: &Finder<'_>) -> Option<(&'a [u8], &'a [u8])> {
    let at = mark.find(bytes)?;
    Some((&bytes[..at], &bytes[at + mark.needle().len()..]))
}

/// The field that a part with this head is.
fn field<'a>(head: &[u8], value: &'a [u8]) -> Option<Field<'a>> {
    let head = String::from_utf8_lossy(&head[..head.len().min(HEAD_LEN_MAX)]);
    let header = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let disposition = Parameters::read(header("content-disposition")?);
    Some(Field {
        name: disposition.get("name")?.to_owned(),
        filename: disposition.get("filename").map(str::to_owned),
        content_type: header("content-type").map(str::to_owned),
        body: Body::new(value, Coding::Plain),
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
