//! The content of received mail: in the request that told of it, or fetched from the provider and kept beside it.

use std::sync::Arc;

use waypost_providers::event::Mail;
use waypost_providers::{Content, Gives, Headers, Parsed, Part, Provider, Request, Verified};

use super::id::{EventId, RequestId};
use super::plan::RawRequest;
use super::source::Fetching;

/// What stands for the provider of a part that was fetched: no webhook has brought it.
pub const FETCHED: &str = "fetched";

/// What a part's file name is kept as.
const FILENAME: &str = "filename";
const CONTENT_TYPE: &str = "content-type";

/// What a request says to its provider. Where the content is to be fetched and nobody does, links to it are left out.
pub fn read(provider: &dyn Provider, verified: &Verified, fetching: Option<&Fetching>) -> Vec<Parsed> {
    let mut parsed = provider.parse(verified);
    if provider.api().is_none() || fetching.is_some() {
        return parsed;
    }
    let request = verified.request();
    for part in &mut parsed {
        if let Parsed::Event(found) = part
            && let Some(mail) = &mut found.event.data.mail
        {
            unlink(mail, provider, request);
        }
    }
    parsed
}

/// The request is taken apart once for each of three links at most: a mail may have many attachments, and those of one are
/// all in the request, or all fetched.
fn unlink(mail: &mut Mail, provider: &dyn Provider, request: &Request) {
    let fetches = provider.to_fetch(request, "");
    if fetches.is_empty() {
        return;
    }
    let body = [(Part::Text, &mut mail.text_url), (Part::Html, &mut mail.html_url), (Part::Raw, &mut mail.raw_url)];
    for (part, link) in body {
        if link.is_some() && provider.content(request, part).is_none() {
            *link = None;
        }
    }
    let is_attachment =
        |gives: &Gives| matches!(gives, Gives::Attachments | Gives::Part { part: Part::Attachment(_), .. });
    if fetches.iter().any(|fetch| is_attachment(&fetch.gives)) {
        mail.attachments.iter_mut().for_each(|attachment| attachment.url = None);
    }
}

/// A part that was fetched of an event's mail, as it is kept: like a request, beside the one that told of the mail.
pub fn kept(event: &EventId, told: &Request, part: Part, content: Content) -> RawRequest {
    let Content { bytes: body, content_type, filename } = content;
    let mut headers: Headers = [(CONTENT_TYPE, content_type)].into_iter().collect();
    if let Some(filename) = filename {
        headers.push(FILENAME, filename);
    }
    let request = Request { source: Arc::clone(&told.source), received_at: told.received_at, headers, body };
    let id = RequestId::of_part(event, &part.url());
    RawRequest { id, provider: FETCHED, request, unmapped: 0, unreadable: 0 }
}

/// The part again.
pub fn unkept(request: Request) -> Content {
    let header = |name| request.headers.get(name).map(str::to_owned);
    Content { content_type: header(CONTENT_TYPE).unwrap_or_default(), filename: header(FILENAME), bytes: request.body }
}
