//! The body of a request: one file for each format.

use bytes::Bytes;

use crate::domain::endpoint::EndpointSettings;
use crate::domain::event_type::EventType;
use crate::domain::format::Format;
use crate::domain::plan::StoredEvent;

mod cloudevents;
pub mod drin;
mod operational;
mod platform;
mod relaypost;
mod resend;
mod selfhosted;
mod sentinmail;
mod told;
mod view;
mod write;

/// The body of `event` for this endpoint as it is now, so a retry after a change has the new shape.
///
/// # Errors
/// When the stored event is not one that this version knows.
pub fn render(endpoint: &EndpointSettings, event: &StoredEvent) -> Result<Bytes, serde_json::Error> {
    let EventType::Provider(kind) = event.kind else { return operational::render(endpoint.format, event) };
    match endpoint.format {
        Format::Drin => drin::render(event),
        Format::Platform => platform::render(event, kind),
        Format::Selfhosted => selfhosted::render(event, kind, endpoint.events.prefers_queued()),
        Format::Sentinmail => sentinmail::render(event, kind),
        Format::Relaypost => relaypost::render(event, kind, endpoint.events.prefers_queued()),
        Format::Resend => resend::render(event, kind),
        Format::Cloudevents => cloudevents::render(event),
    }
}

/// The `Content-Type` of a format's bodies.
pub fn content_type(format: Format) -> &'static str {
    match format {
        Format::Cloudevents => "application/cloudevents+json",
        Format::Drin
        | Format::Platform
        | Format::Selfhosted
        | Format::Sentinmail
        | Format::Relaypost
        | Format::Resend => "application/json",
    }
}
