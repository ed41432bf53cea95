//! The whole request of one attempt.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request};
use jiff::Timestamp;

use super::{format, sign};
use crate::domain::endpoint::EndpointSettings;
use crate::domain::header::{BODY_SIGNATURE, is_reserved};
use crate::domain::id::ReplayId;
use crate::domain::plan::StoredEvent;

/// `User-Agent` of every delivery.
pub const AGENT: &str = concat!("Waypost/", env!("CARGO_PKG_VERSION"));

/// Stands for what is not told.
const MASK: &str = "…";
/// What the headers of most requests take.
const TOLD_BYTES: usize = 448;

/// The client adds two.
const OWN_HEADERS_MAX: usize = 10;

/// A request that cannot be made from an endpoint's settings.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Its URL or one of its headers.
    #[error("the request cannot be made: {0}")]
    Http(#[from] http::Error),
    /// The event.
    #[error("the event cannot be rendered: {0}")]
    Render(#[from] serde_json::Error),
    /// None of its schemes can be signed with the secrets at hand.
    #[error("none of the endpoint's schemes can be signed with its secrets")]
    Unsigned,
}

/// Renders, signs and addresses attempt `number`, sent at `at`; of a replay, if one made the delivery.
///
/// # Errors
/// When the URL or a static header is none, or when nothing can be signed: a request is never sent unsigned.
pub fn build(
    endpoint: &EndpointSettings,
    secrets: &[sign::Secret],
    event: &StoredEvent,
    replay: Option<&ReplayId>,
    number: u32,
    at: Timestamp,
) -> Result<Request<Bytes>, RequestError> {
    let body = format::render(endpoint, event)?;
    let signatures = sign::sign(&endpoint.signatures, secrets, event.id.as_str(), at, &body);
    if signatures.is_empty() {
        return Err(RequestError::Unsigned);
    }
    let mut request = Request::builder().method(Method::POST).uri(&endpoint.url).body(body)?;
    let headers = request.headers_mut();
    headers.reserve(OWN_HEADERS_MAX + endpoint.headers.len());
    for (name, text) in &endpoint.headers {
        if !is_reserved(name) {
            headers.insert(name.parse::<HeaderName>().map_err(http::Error::from)?, value(text)?);
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format::content_type(endpoint.format)));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert("waypost-attempt", number.into());
    headers.insert("webhook-id", value(event.id.as_str())?);
    if let Some(replay) = replay {
        headers.insert("waypost-replay", value(replay.as_str())?);
    }
    for (name, value) in signatures {
        let value = HeaderValue::try_from(value).map_err(http::Error::from)?;
        match &endpoint.signature_header {
            Some(own) if name == BODY_SIGNATURE => {
                headers.insert(own.parse::<HeaderName>().map_err(http::Error::from)?, value)
            }
            _ => headers.insert(name, value),
        };
    }
    Ok(request)
}

/// What the attempt log keeps of a request's headers: a line each, values of the endpoint's own headers masked, for they
/// may be credentials.
pub fn told(endpoint: &EndpointSettings, request: &Request<Bytes>) -> String {
    let mut told = String::with_capacity(TOLD_BYTES);
    for (name, value) in request.headers() {
        let is_own =
            endpoint.headers.keys().any(|own| own.eq_ignore_ascii_case(name.as_str())) && !is_reserved(name.as_str());
        let value = if is_own { MASK } else { value.to_str().unwrap_or(MASK) };
        told.extend([name.as_str(), ": ", value, "\n"]);
    }
    told
}

fn value(text: &str) -> Result<HeaderValue, http::Error> {
    Ok(HeaderValue::from_str(text)?)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::value::RawValue;
    use waypost_providers::Kind;

    use super::*;
    use crate::domain::endpoint::Scheme;
    use crate::domain::format::Format;
    use crate::domain::id::{MailKey, RequestId};
    use crate::domain::subscription::Subscription;

    pub(crate) fn event() -> StoredEvent {
        StoredEvent {
            id: "evt_1".into(),
            kind: Kind::Delivered.into(),
            created_at: "2026-06-02T14:08:11.000Z".into(),
            data: RawValue::from_string(r#"{"id": "msg_1",  "to":"user@acme.com"}"#.into()).unwrap(),
            source: Some("resend".into()),
            received_at: Timestamp::UNIX_EPOCH,
            request_id: Some(RequestId::from("req_1")),
            mail: MailKey(1),
            possible_duplicate_of: None,
            endpoints: vec!["wh_1".into()],
        }
    }

    pub(crate) fn settings(url: &str) -> EndpointSettings {
        EndpointSettings {
            url: url.into(),
            format: Format::Drin,
            events: Subscription::new(vec![]).unwrap(),
            sources: vec![],
            tags: vec![],
            signatures: vec![Scheme::Drin, Scheme::Standard],
            signature_header: None,
            headers: [("X-Team", "mail"), ("Host", "other.example"), ("Webhook-Id", "mine")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            retry: EndpointSettings::RETRY_DEFAULT.to_vec(),
            timeout_s: 5,
            max_in_flight: 2,
            rate_limit: None,
            description: None,
            active: true,
            fetches: false,
        }
    }

    #[test]
    fn the_head_is_complete_and_static_headers_cannot_replace_it() {
        let secrets = [sign::Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap()];
        let endpoint = settings("https://hooks.example/in");
        let replay = ReplayId::from("rpl_1");
        let request = build(&endpoint, &secrets, &event(), Some(&replay), 3, Timestamp::UNIX_EPOCH).unwrap();
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("content-type").unwrap(), "application/json");
        assert_eq!(header("user-agent").unwrap(), AGENT);
        assert_eq!(header("waypost-attempt").unwrap(), "3");
        assert_eq!(header("webhook-id").unwrap(), "evt_1", "of a replay too");
        assert_eq!(header("waypost-replay").unwrap(), "rpl_1");
        assert_eq!(header("webhook-timestamp").unwrap(), "0");
        assert_eq!(header("x-team").unwrap(), "mail");
        assert_eq!(header("host"), None);
        assert!(header("drin-signature").unwrap().starts_with("t=0,v1="));
    }

    #[test]
    fn the_log_tells_all_headers_and_masks_the_endpoints_own() {
        let secrets = [sign::Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap()];
        let endpoint = settings("https://hooks.example/in");
        let request = build(&endpoint, &secrets, &event(), None, 3, Timestamp::UNIX_EPOCH).unwrap();
        let told = told(&endpoint, &request);
        for line in ["content-type: application/json\n", "waypost-attempt: 3\n", "webhook-id: evt_1\n", "x-team: …\n"]
        {
            assert!(told.contains(line), "{told}");
        }
        assert!(told.contains("drin-signature: t=0,v1=") && !told.contains("mail"), "{told}");
        assert!(told.lines().count() == request.headers().len());
    }

    #[test]
    fn a_request_is_never_sent_unsigned() {
        let endpoint = EndpointSettings { signatures: vec![Scheme::Standard], ..settings("https://hooks.example/in") };
        let secrets = [sign::Secret::parse("whsec_your_secret_key_here").unwrap()];
        let built = build(&endpoint, &secrets, &event(), None, 1, Timestamp::UNIX_EPOCH);
        assert!(matches!(built, Err(RequestError::Unsigned)));
    }

    #[test]
    fn a_body_signature_goes_into_the_header_that_the_endpoint_names() {
        let secrets = [sign::Secret::parse("your-webhook-secret").unwrap()];
        let signed_in = |signature_header: Option<&str>| {
            let signature_header = signature_header.map(str::to_owned);
            let endpoint = EndpointSettings {
                signatures: vec![Scheme::Drin, Scheme::Sha256],
                signature_header,
                ..settings("https://hooks.example/in")
            };
            build(&endpoint, &secrets, &event(), None, 1, Timestamp::UNIX_EPOCH).unwrap()
        };
        let (usual, own) = (signed_in(None), signed_in(Some("X-RelayPost-Signature")));
        assert!(usual.headers()["x-webhook-signature"].to_str().unwrap().starts_with("sha256="));
        assert_eq!(usual.headers()["x-webhook-signature"], own.headers()["x-relaypost-signature"]);
        assert!(!own.headers().contains_key("x-webhook-signature") && own.headers().contains_key("drin-signature"));
    }
}
