//! The content of received mail: in the request that told of it, or fetched from the provider and kept beside it.

use std::borrow::Cow;
use std::sync::Arc;

use waypost_providers::event::{Data, Mail};
use waypost_providers::{Content, Found, Gives, Headers, Kind, Part, Provider, Request};

use super::endpoint::Endpoint;
use super::id::{EventId, RequestId};
use super::plan::{RawRequest, StoredEvent};

/// What stands for the provider of a part that was fetched: no webhook has brought it.
pub const FETCHED: &str = "fetched";

/// What a part's file name is kept as.
const FILENAME: &str = "filename";
const CONTENT_TYPE: &str = "content-type";

/// An event as it is told: where the content of its mail is to be fetched and none of these endpoints does so, links to it
/// are left out. Who plans with a set of endpoints tells by it, too: no link is told that no delivery stands behind.
pub fn linked<'a>(
    found: &'a Found,
    provider: &dyn Provider,
    request: &Request,
    endpoints: &[Endpoint],
) -> Cow<'a, Found> {
    if found.event.data.mail.is_none() || provider.api().is_none() {
        return Cow::Borrowed(found);
    }
    let is_source = |name: &String| **name == *request.source;
    let fetcher = endpoints.iter().find(|one| one.settings.fetches && one.settings.sources.iter().any(is_source));
    if fetcher.is_some_and(|one| one.disabled.is_none()) {
        return Cow::Borrowed(found);
    }
    let mut found = found.clone();
    if let Some(mail) = &mut found.event.data.mail {
        unlink(mail, provider, request, fetcher.map_or("", |fetcher| &fetcher.settings.url));
    }
    Cow::Owned(found)
}

/// The request is taken apart once for each of three links at most: a mail may have many attachments, and those of one are
/// all in the request, or all fetched.
fn unlink(mail: &mut Mail, provider: &dyn Provider, request: &Request, base: &str) {
    let fetches = provider.to_fetch(request, base);
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
        |gives: &Gives| matches!(gives, Gives::Attachments { .. } | Gives::Part { part: Part::Attachment(_), .. });
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

/// Under which ids the parts of an event's mail are kept if they are fetched, whether they have been or not.
pub fn kept_as(event: &StoredEvent) -> Vec<RequestId> {
    let data = match event.kind.provider() {
        Some(Kind::Received) => serde_json::from_str::<Data>(event.data.get()).ok(),
        _ => None,
    };
    let Some(mail) = data.and_then(|data| data.mail) else { return Vec::new() };
    let attachments = mail.attachments.iter().map(|attachment| Part::Attachment(attachment.n));
    let parts = [Part::Text, Part::Html, Part::Raw].into_iter().chain(attachments);
    parts.map(|part| RequestId::of_part(&event.id, &part.url())).collect()
}

/// The part again.
pub fn unkept(request: Request) -> Content {
    let header = |name| request.headers.get(name).map(str::to_owned);
    Content { content_type: header(CONTENT_TYPE).unwrap_or_default(), filename: header(FILENAME), bytes: request.body }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use waypost_providers::by_name;

    use super::super::endpoint::{Disabled, DisabledReason, Origin};
    use super::super::fan_out::plan;
    use super::super::plan::Generation;
    use super::super::reprocess;
    use super::super::source::Fetching;
    use super::*;

    const MAIL: &str = r#"{"type":"email.received","created_at":"2026-03-14T12:15:09Z","data":{"email_id":"m","from":"a@a.example","to":["b@b.example"],"attachments":[{"id":"a1","filename":"a.pdf"}]}}"#;

    /// What fetches the mail of a source.
    fn fetcher(source: &str, disabled: Option<Disabled>) -> Endpoint {
        let fetching = Fetching { key: "k".into(), url: "https://api.resend.com".into(), timeout_s: 1 };
        let (id, settings) = fetching.endpoint(source).unwrap();
        let at = Timestamp::UNIX_EPOCH;
        Endpoint { id, number: 1, settings, origin: Origin::File, disabled, enabled_at: None, created_at: at }
    }

    /// How many links are told of a mail that came in by the source `mail`, and to whom.
    fn told(endpoints: &[Endpoint]) -> (usize, usize) {
        let provider = by_name("resend").unwrap();
        let request = Request {
            source: "mail".into(),
            received_at: Timestamp::UNIX_EPOCH,
            headers: [("svix-id", "msg_1")].into_iter().collect(),
            body: MAIL.into(),
        };
        let (verified, parsed) = reprocess::read(request, provider);
        let planned = plan(provider, &verified, &parsed, Generation(1), endpoints, &[]).unwrap().units;
        let deliveries = planned[0].deliveries.iter().filter(|one| !one.skipped).count();
        (planned[0].event.data.get().matches("url\":").count(), deliveries)
    }

    #[test]
    fn links_are_told_where_a_delivery_fetches_what_they_lead_to_and_nowhere_else() {
        assert_eq!(told(&[fetcher("mail", None)]), (4, 1), "text, html, raw and the attachment");
        assert_eq!(told(&[]), (0, 0), "the key was just given, or just taken away");
        let disabled = Some(Disabled { reason: DisabledReason::Failing, at: Timestamp::UNIX_EPOCH });
        assert_eq!(told(&[fetcher("mail", disabled)]), (0, 0));
        assert_eq!(told(&[fetcher("other", None)]), (0, 0));
    }
}
