//! The `drin` format: `id`, `type`, `created_at`, `data`.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::event_type::EventType;
use crate::domain::plan::StoredEvent;

/// Room for everything but `data`.
const FRAME_BYTES: usize = 160;

#[derive(Serialize)]
struct Drin<'a> {
    id: &'a str,
    r#type: EventType,
    created_at: &'a str,
    data: &'a RawValue,
}

/// The body. `data` was rendered when the event was stored and is copied as it is, so that each attempt posts the same
/// bytes.
///
/// # Errors
/// None that a stored event can cause.
pub fn render(event: &StoredEvent) -> Result<Bytes, serde_json::Error> {
    let mut body = Vec::with_capacity(event.data.get().len() + FRAME_BYTES);
    let drin =
        Drin { id: event.id.as_str(), r#type: event.kind, created_at: &event.created_at, data: event.data.as_ref() };
    serde_json::to_writer(&mut body, &drin)?;
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::request::tests::event;

    #[test]
    fn data_is_copied_byte_for_byte() {
        let body = render(&event()).unwrap();
        let expected = concat!(
            r#"{"id":"evt_1","type":"email.delivered","created_at":"2026-06-02T14:08:11.000Z","#,
            r#""data":{"id": "msg_1",  "to":"user@acme.com"}}"#
        );
        assert_eq!(body, expected.as_bytes());
    }
}
