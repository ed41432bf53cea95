//! Operational events, which read the same in each format but for the frame of CloudEvents and the precision of the time.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::write::{Seconds, json};
use super::{cloudevents, drin};
use crate::domain::event_type::EventType;
use crate::domain::format::Format;
use crate::domain::plan::StoredEvent;

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    r#type: EventType,
    created_at: Seconds<'a>,
    data: &'a RawValue,
}

pub(super) fn render(format: Format, event: &StoredEvent) -> Result<Bytes, serde_json::Error> {
    match format {
        Format::Drin | Format::Relaypost | Format::Resend => drin::render(event),
        Format::Cloudevents => cloudevents::render(event),
        Format::Platform | Format::Selfhosted | Format::Sentinmail => json(&Body {
            id: event.id.as_str(),
            r#type: event.kind,
            created_at: Seconds(&event.created_at),
            data: &event.data,
        }),
    }
}
