//! CloudEvents 1.0 in JSON, structured mode (CNCF, "JSON Event Format for CloudEvents"), around the `data` of `drin`.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::view::View;
use super::write::json;
use crate::domain::event_type::EventType;
use crate::domain::plan::StoredEvent;

#[derive(Serialize)]
struct Body<'a> {
    specversion: &'static str,
    id: &'a str,
    /// Where it happened: at a source, or with an endpoint.
    source: String,
    /// An operational event has its lead already.
    r#type: Cow<'a, str>,
    /// The mail's id, and never an address: brokers log and route by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: &'a str,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

pub(super) fn render(event: &StoredEvent) -> Result<Bytes, serde_json::Error> {
    let view = View::of(event)?;
    json(&Body {
        specversion: "1.0",
        id: event.id.as_str(),
        source: match &view.endpoint_id {
            Some(endpoint) => format!("/endpoints/{}", &**endpoint),
            None => format!("/sources/{}", event.source.as_deref().unwrap_or_default()),
        },
        r#type: match event.kind {
            EventType::Provider(kind) => format!("waypost.{}", kind.as_str()).into(),
            EventType::Operational(operational) => operational.as_str().into(),
        },
        subject: view.id.as_deref(),
        time: &event.created_at,
        datacontenttype: "application/json",
        data: &event.data,
    })
}
