//! The parts of a mail (RFC 2046), bounded: a mail may be made to have any number of them, in one another.

use memchr::memmem;

use super::{Attached, Head, Layout, content_id};
use crate::body::{Body, Coding};
use crate::parameters::Parameters;

/// How deep parts are looked for in parts. What is deeper is an attachment as a whole.
const DEPTH_MAX: usize = 16;
/// How many parts are looked at.
const PARTS_MAX: usize = 1_000;

/// A mail as it was sent.
pub(crate) struct Message<'a> {
    pub(crate) head: Head,
    pub(crate) layout: Layout<'a>,
}

impl<'a> Message<'a> {
    /// Total: what is no mail has no head, and is its text.
    pub(crate) fn read(raw: &'a [u8]) -> Self {
        let (head, body) = parted(raw);
        let mut walk = Walk { layout: Layout::default(), count: 0 };
        let head = Head::read(head);
        walk.entity(&head, body, 0);
        Self { head, layout: walk.layout }
    }
}

struct Walk<'a> {
    layout: Layout<'a>,
    count: usize,
}

impl<'a> Walk<'a> {
    fn entity(&mut self, head: &Head, body: &'a [u8], depth: usize) {
        let content_type = Parameters::read(head.get("content-type").unwrap_or_default());
        let boundary = content_type.get("boundary").filter(|_| content_type.value.starts_with("multipart/"));
        match boundary.filter(|boundary| depth < DEPTH_MAX && !boundary.is_empty()) {
            Some(boundary) => {
                for section in sections(body, boundary) {
                    self.count += 1;
                    if self.count > PARTS_MAX {
                        return self.layout.cut();
                    }
                    let (head, body) = parted(section);
                    self.entity(&Head::read(head), body, depth + 1);
                }
            }
            None => self.leaf(head, &content_type, body),
        }
    }

    /// The first plain text and the first HTML are the mail's; all else is attached.
    fn leaf(&mut self, head: &Head, content_type: &Parameters, body: &'a [u8]) {
        let disposition = Parameters::read(head.get("content-disposition").unwrap_or_default());
        let encoding = head.get("content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
        let coding = match encoding.trim() {
            "base64" => Coding::Base64,
            "quoted-printable" => Coding::QuotedPrintable,
            _ => Coding::Plain,
        };
        let filename = disposition.get("filename").or_else(|| content_type.get("name")).map(str::to_owned);
        let body = Body::new(body, coding);
        if disposition.value != "attachment" && filename.is_none() {
            let place = match content_type.value.as_str() {
                "" | "text" | "text/plain" => Some(&mut self.layout.text),
                "text/html" => Some(&mut self.layout.html),
                _ => None,
            };
            if let Some(place @ None) = place {
                *place = Some(body.in_charset(content_type.get("charset")));
                return;
            }
        }
        let content_id = head.get("content-id").and_then(content_id);
        self.layout.attach(Attached {
            body,
            filename,
            content_type: head.get("content-type").map(str::to_owned),
            inline: disposition.value == "inline" || content_id.is_some() && disposition.value != "attachment",
            content_id,
        });
    }
}

/// Header and body, without the empty line between them.
fn parted(entity: &[u8]) -> (&[u8], &[u8]) {
    if let Some(body) = entity.strip_prefix(b"\r\n").or_else(|| entity.strip_prefix(b"\n")) {
        return (&[], body);
    }
    let mut breaks = memchr::memchr_iter(b'\n', entity).map(|at| at + 1);
    let end = breaks.find_map(|at| {
        let rest = &entity[at..];
        let body = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n"))?;
        Some((&entity[..at], body))
    });
    match end {
        Some(parted) => parted,
        // Some programs leave out the empty line where there is no body, or send a body alone.
        None if memchr::memchr(b':', entity.split(|byte| *byte == b'\n').next().unwrap_or_default()).is_some() => {
            (entity, &[])
        }
        None => (&[], entity),
    }
}

/// What stands between the lines of this boundary; without a last one, up to the end.
fn sections<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = format!("--{}", boundary.trim_end());
    let (mut sections, mut start) = (Vec::new(), None);
    for at in memmem::find_iter(body, delimiter.as_bytes()) {
        let (before, line) = (&body[..at], &body[at + delimiter.len()..]);
        let is_last = line.starts_with(b"--");
        let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        let is_line = is_last || line.get(blanks).is_none_or(|byte| *byte == b'\n');
        if !is_line || !(before.is_empty() || before.ends_with(b"\n")) {
            continue;
        }
        if let Some(start) = start {
            // The line end before a boundary is the boundary's.
            let section = body.get(start..at).unwrap_or_default();
            let section = section.strip_suffix(b"\n").unwrap_or(section);
            sections.push(section.strip_suffix(b"\r").unwrap_or(section));
        }
        start = (!is_last).then(|| (at + delimiter.len() + blanks + 1).min(body.len()));
        if is_last || sections.len() > PARTS_MAX {
            return sections;
        }
    }
    sections.extend(start.map(|start| &body[start..]));
    sections
}

#[cfg(test)]
mod tests;
