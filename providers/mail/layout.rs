//! Where in a stored request the contents of a mail are.

use bytes::Bytes;

use super::limits::cut_at;
use crate::body::Body;
use crate::event::{Attachment, Mail};
use crate::parameters::Parameters;
use crate::{Content, Part};

/// No event lists more of them.
pub(crate) const ATTACHMENTS_MAX: usize = 256;
/// The most bytes of a file name or Content-ID.
const NAME_LEN_MAX: usize = 1024;
/// The longest media type (RFC 6838) and what charset it has.
const TYPE_LEN_MAX: usize = 255;

/// The contents of a mail, each where it is.
#[derive(Debug, Default)]
pub(crate) struct Layout<'a> {
    pub(super) text: Option<Body<'a>>,
    pub(super) html: Option<Body<'a>>,
    raw: Option<Body<'a>>,
    attachments: Vec<Attached<'a>>,
    is_cut: bool,
}

/// An attachment.
#[derive(Debug)]
pub(crate) struct Attached<'a> {
    pub(crate) body: Body<'a>,
    pub(crate) filename: Option<String>,
    /// The whole value of its `Content-Type`.
    pub(crate) content_type: Option<String>,
    pub(crate) content_id: Option<String>,
    pub(crate) inline: bool,
}

impl<'a> Layout<'a> {
    pub(crate) fn of(text: Option<Body<'a>>, html: Option<Body<'a>>) -> Self {
        Self { text, html, ..Self::default() }
    }

    /// The same with the mail as it was sent.
    pub(crate) fn with_raw(self, raw: Option<Body<'a>>) -> Self {
        Self { raw, ..self }
    }

    pub(crate) fn attach(&mut self, attached: Attached<'a>) {
        match self.attachments.len() < ATTACHMENTS_MAX {
            true => self.attachments.push(attached),
            false => self.cut(),
        }
    }

    /// There is more than is listed.
    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Puts it into the event.
    pub(crate) fn tell(&self, mail: &mut Mail) {
        let short = |body: &Option<Body<'_>>| Some(body.as_ref()?.short_text(Mail::BODY_LEN_MAX)?.into_owned());
        let url = |body: &Option<Body<'_>>, part: Part| body.as_ref().map(|_| part.url());
        (mail.text, mail.text_url) = (short(&self.text), url(&self.text, Part::Text));
        (mail.html, mail.html_url) = (short(&self.html), url(&self.html, Part::Html));
        mail.raw_url = url(&self.raw, Part::Raw);
        let attachment = |(n, attached): (usize, &Attached<'_>)| Attachment {
            n,
            filename: attached.filename.as_deref().and_then(file_name),
            content_type: attached.content_type.as_deref().and_then(media_type),
            size: Some(attached.body.len() as u64),
            content_id: attached.content_id.as_deref().and_then(file_name),
            inline: attached.inline,
            url: Some(Part::Attachment(n).url()),
        };
        mail.attachments = self.attachments.iter().enumerate().map(attachment).collect();
        if self.is_cut {
            mail.truncated.push("attachments".to_owned());
        }
    }

    /// One of its parts, out of the `body` of the request. Only that one is copied, and not even that if it stands there
    /// as it is.
    pub(crate) fn content(&self, body: &Bytes, part: Part) -> Option<Content> {
        let text = |text: Body<'_>, subtype: &str| Content {
            bytes: text.shared_text(body),
            content_type: format!("text/{subtype}; charset=utf-8"),
            filename: None,
        };
        Some(match part {
            Part::Text => text(self.text?, "plain"),
            Part::Html => text(self.html?, "html"),
            Part::Raw => {
                Content { bytes: self.raw?.shared(body), content_type: "message/rfc822".to_owned(), filename: None }
            }
            Part::Attachment(n) => {
                let attached = self.attachments.get(n)?;
                let content_type = attached.content_type.as_deref().and_then(media_type);
                Content {
                    bytes: attached.body.shared(body),
                    content_type: content_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
                    filename: attached.filename.as_deref().and_then(file_name),
                }
            }
        })
    }
}

/// The first of what another than the request has.
pub(crate) fn listed_attachments(
    attachments: impl ExactSizeIterator<Item = Attachment>,
    truncated: &mut Vec<String>,
) -> Vec<Attachment> {
    if attachments.len() > ATTACHMENTS_MAX {
        truncated.push("attachments".to_owned());
    }
    attachments.take(ATTACHMENTS_MAX).collect()
}

/// A name without what would end a line, and not too long.
pub(crate) fn file_name(given: &str) -> Option<String> {
    let name: String = given.chars().filter(|letter| !letter.is_control()).collect();
    (!name.trim().is_empty()).then(|| cut_at(&name, NAME_LEN_MAX))
}

/// A Content-ID without its angle brackets, as an HTML's `cid:` has it.
pub(crate) fn content_id(header: &str) -> Option<String> {
    let id = header.trim().trim_start_matches('<').trim_end_matches('>');
    (!id.is_empty()).then(|| id.to_owned())
}

/// `type/subtype`, and the charset of a text, for without it a text cannot be read.
pub(crate) fn media_type(header: &str) -> Option<String> {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let parameters = Parameters::read(header);
    let (kind, subtype) = parameters.value.split_once('/')?;
    let charset = parameters.get("charset").filter(|charset| kind == "text" && is_token(charset));
    let media_type = match charset {
        Some(charset) => format!("{kind}/{subtype}; charset={charset}"),
        None => format!("{kind}/{subtype}"),
    };
    (is_token(kind) && is_token(subtype) && media_type.len() <= TYPE_LEN_MAX).then_some(media_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Coding;

    #[test]
    fn names_and_types_fit_into_a_header() {
        let types = [
            ("TEXT/plain; charset=\"ISO-8859-1\"; format=flowed", Some("text/plain; charset=ISO-8859-1")),
            ("application/pdf; name=a; charset=utf-8", Some("application/pdf")),
            ("text/x; charset=\"a\r\nb\"", Some("text/x")),
            ("text", None),
            ("te\rxt/plain", None),
            ("text/", None),
        ];
        for (given, expected) in types {
            assert_eq!(media_type(given).as_deref(), expected, "{given}");
        }
        assert_eq!(file_name("a\r\n\u{85}b\u{0}.txt").as_deref(), Some("ab.txt"));
        assert_eq!(file_name(" \n"), None);
        assert_eq!(content_id(" <a@b> ").as_deref(), Some("a@b"));
    }

    #[test]
    fn a_text_is_in_the_event_or_only_at_its_url() {
        for (len, is_short) in [(Mail::BODY_LEN_MAX, true), (Mail::BODY_LEN_MAX + 1, false)] {
            let text = "a".repeat(len);
            let layout = Layout::of(Some(Body::new(text.as_bytes(), Coding::Plain)), None);
            let mut mail = Mail::default();
            layout.tell(&mut mail);
            assert_eq!((mail.text.is_some(), mail.text_url.as_deref()), (is_short, Some("content/text")));
            assert_eq!(layout.content(&Bytes::new(), Part::Text).map(|content| content.bytes.len()), Some(len));
            assert_eq!(layout.content(&Bytes::new(), Part::Html), None);
        }
    }

    #[test]
    fn attachments_are_bounded_and_it_is_said() {
        let mut layout = Layout::default();
        for n in 0..=ATTACHMENTS_MAX {
            let filename = Some(format!("{n}{}", "x".repeat(NAME_LEN_MAX)));
            let body = Body::new(b"a", Coding::Plain);
            layout.attach(Attached { body, filename, content_type: None, content_id: None, inline: false });
        }
        let mut mail = Mail::default();
        layout.tell(&mut mail);
        assert_eq!((mail.attachments.len(), &mail.truncated[..]), (ATTACHMENTS_MAX, &["attachments".to_owned()][..]));
        assert!(mail.attachments[0].filename.as_ref().is_some_and(|name| name.ends_with('…')));
    }
}
