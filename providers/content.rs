//! What of a received mail is served by a URL of its own.

use bytes::Bytes;

/// A part of a received mail, as its content URLs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its plain text.
    Text,
    /// Its HTML.
    Html,
    /// The mail as it was sent.
    Raw,
    /// The attachment of this [`crate::event::Attachment::n`].
    Attachment(usize),
}

impl Part {
    /// Its URL, relative to that of the event: `content/text`, `attachments/0`.
    pub fn url(self) -> String {
        match self {
            Self::Text => "content/text".to_owned(),
            Self::Html => "content/html".to_owned(),
            Self::Raw => "content/raw".to_owned(),
            Self::Attachment(n) => format!("attachments/{n}"),
        }
    }
}

/// One [`Part`], read from the stored request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// As the sender composed them, transfer encodings undone. Text and HTML are UTF-8.
    pub bytes: Bytes,
    /// Its media type, in printable ASCII.
    pub content_type: String,
    /// The file name of an attachment that has one, as the sender wrote it, without control characters.
    pub filename: Option<String>,
}
