//! The fields of a webhook as somebody sends them, and what they make of an endpoint.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::endpoint::{EndpointSettings, Scheme};
use crate::domain::endpoint_fields::{MAX_IN_FLIGHT_MAX, WAIT_S_MAX, check_numbers, check_sources, check_url, headers};
use crate::domain::field::{FieldError, without_value};
use crate::domain::format::Format;
use crate::domain::given;
use crate::domain::rate::Rate;
use crate::domain::secret::SigningSecret;
use crate::domain::signing;
use crate::domain::target::Networks;
use crate::http::openapi::AnyEventWord;
use crate::sources::Sources;

/// A header's name (RFC 9110, section 5.1).
const NAME: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// How the error of a field that nobody knows begins.
const UNKNOWN: &str = "unknown field";

/// A body's fields.
pub(in crate::http) type Given = Map<String, Value>;
/// Static headers; one without a value keeps the value it has.
pub(super) type Headers = BTreeMap<String, Option<String>>;

/// What an endpoint is checked against.
pub(super) struct Known<'a> {
    pub(super) sources: &'a Sources,
    pub(super) networks: &'a Networks,
    /// The format of the route that it is made on, where that is one format's own.
    pub(super) route: Option<Format>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    /// Where to post: `https`, and no private address.
    #[serde(default)]
    #[schemars(url)]
    url: String,
    /// What to tell; all of the eleven when empty.
    #[serde(default)]
    #[schemars(with = "Vec<AnyEventWord>")]
    events: Vec<String>,
    /// The body to send. Left out, the one whose names `events` has.
    format: Option<Format>,
    /// Only events of these sources of the config; all, when empty.
    #[serde(default)]
    sources: Vec<String>,
    /// Only events that carry one of these tags; all, when empty.
    #[serde(default)]
    tags: Vec<String>,
    /// How each request is signed. Left out, in the ways of the format.
    #[schemars(length(min = 1))]
    signatures: Option<Vec<Scheme>>,
    /// The header of `hex` and `sha256`, if not `X-Webhook-Signature`.
    #[schemars(regex(pattern = NAME))]
    signature_header: Option<String>,
    /// Static headers. In a change, `null` keeps the value that one has.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": NAME }))]
    headers: Headers,
    /// Seconds to wait after each failed attempt. Left out, those of the format.
    #[schemars(length(max = EndpointSettings::RETRY_LEN_MAX), inner(range(max = WAIT_S_MAX)))]
    retry: Option<Vec<u64>>,
    /// Seconds for the whole exchange.
    #[serde(default = "EndpointSettings::timeout_s_default")]
    #[schemars(range(min = 1, max = EndpointSettings::TIMEOUT_S_MAX))]
    timeout_s: u64,
    /// How many attempts may be under way at once.
    #[serde(default = "EndpointSettings::max_in_flight_default")]
    #[schemars(range(min = 1, max = MAX_IN_FLIGHT_MAX))]
    max_in_flight: u32,
    /// How many requests a second it is sent at most; none is no limit.
    #[schemars(range(min = 1, max = Rate::PER_S_MAX))]
    rate_limit: Option<u32>,
    /// A note.
    description: Option<String>,
    /// Whether it gets anything.
    #[serde(default = "EndpointSettings::active_default")]
    active: bool,
}

/// What a whole set of fields makes of an endpoint that is signed for with these secrets. The headers come apart from
/// the settings, for they are sealed. What depends on the config is checked of new fields only: an endpoint whose source
/// or network is no longer there can still be changed.
///
/// # Errors
/// The first field that is wrong.
pub(super) fn settings(
    given: Given,
    secrets: &[SigningSecret],
    known: &Known<'_>,
    is_new: impl Fn(&str) -> bool,
) -> Result<(EndpointSettings, Headers), FieldError> {
    let fields: Fields = read(given)?;
    if is_new("url") {
        check_url(&fields.url, known.networks)?;
    }
    if is_new("sources") {
        check_sources(&fields.sources, known.sources.keys())?;
    }
    let retry = fields.retry.as_deref().unwrap_or_default();
    check_numbers(retry, fields.timeout_s, fields.max_in_flight, fields.rate_limit)?;
    let headers = headers(fields.headers, Option::as_deref)?;
    let shape = given::Given {
        events: fields.events,
        format: fields.format,
        route: known.route,
        signatures: fields.signatures,
        signature_header: fields.signature_header,
        retry: fields.retry,
        // Their names are what matters here.
        headers: headers.keys().map(|name| (name.clone(), String::new())).collect(),
        secrets,
    };
    let settled = shape.settle().map_err(|error| FieldError::told(error.field(), &error))?;
    let settings = EndpointSettings {
        events: settled.events,
        format: settled.format,
        signatures: settled.signatures,
        signature_header: settled.signature_header,
        headers: BTreeMap::new(),
        url: fields.url,
        sources: fields.sources,
        tags: fields.tags,
        retry: settled.retry,
        timeout_s: fields.timeout_s,
        max_in_flight: fields.max_in_flight,
        rate_limit: fields.rate_limit,
        description: fields.description,
        active: fields.active,
        fetches: false,
    };
    Ok((settings, headers))
}

/// What an endpoint's fields are after a change: those given in place of those it has, and the default for each `null`.
pub(super) fn merged(now: &Value, headers: &[&str], given: &Given) -> Given {
    let mut fields = now.as_object().cloned().unwrap_or_default();
    fields.insert("headers".into(), headers.iter().map(|name| ((*name).to_owned(), Value::Null)).collect());
    for (name, value) in given {
        match value {
            Value::Null if is_known(name) => drop(fields.remove(name)),
            value => drop(fields.insert(name.clone(), value.clone())),
        }
    }
    fields
}

/// Whether an endpoint has such a field.
fn is_known(name: &str) -> bool {
    let alone: Result<Fields, _> = read(Given::from_iter([(name.to_owned(), Value::Null)]));
    alone.err().is_none_or(|error| !error.problem.starts_with(UNKNOWN))
}

/// Reads a body's fields as what they should be.
///
/// # Errors
/// Names the field that is unknown or has another shape, and never repeats its value.
pub(super) fn read<T: for<'de> Deserialize<'de>>(given: Given) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(Value::Object(given)).map_err(|error| {
        let problem = without_value(error.inner());
        let remedy = if problem.starts_with(UNKNOWN) { "leave it out" } else { "send it in that shape" };
        FieldError::new(error.path().to_string(), problem, remedy)
    })
}

/// Takes a secret out of a body; none if there is none to take.
///
/// # Errors
/// When it can sign nothing. It is not repeated.
pub(super) fn take_secret(given: &mut Given) -> Result<Option<SigningSecret>, FieldError> {
    let wrong = |problem: String| FieldError::new("secret", problem, "leave it out to have one generated");
    match given.remove("secret") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => SigningSecret::parse(&text).map(Some).map_err(|error| wrong(error.to_string())),
        Some(_) => Err(wrong("is no text".into())),
    }
}

/// Whether requests to an endpoint can go on being signed as they are, with this secret alone.
///
/// # Errors
/// When one of its schemes could not.
pub(super) fn check_secret(settings: &EndpointSettings, secret: &SigningSecret) -> Result<(), FieldError> {
    match signing::settle(Some(&settings.signatures), &[], std::slice::from_ref(secret)) {
        Ok(signing) if signing.left_out.is_empty() => Ok(()),
        _ => {
            let remedy = "give one that is, or change `signatures` first";
            Err(FieldError::new("secret", "is not good for each of the endpoint's `signatures`", remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WHSEC: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";

    fn given(value: Value) -> Given {
        let Value::Object(given) = value else { panic!("no object") };
        given
    }

    fn json(settings: &EndpointSettings) -> Value {
        serde_json::to_value(settings).unwrap()
    }

    fn made(value: Value) -> Result<(EndpointSettings, Headers), FieldError> {
        let (sources, networks) = (Sources::new(), Networks::default());
        let secrets = [SigningSecret::parse(WHSEC).unwrap()];
        settings(given(value), &secrets, &Known { sources: &sources, networks: &networks, route: None }, |_| true)
    }

    #[test]
    fn a_url_alone_makes_an_endpoint_with_the_defaults_of_the_config_file() {
        let (settings, headers) = made(json!({ "url": "https://a.example/" })).unwrap();
        assert_eq!(settings.retry, EndpointSettings::RETRY_DEFAULT);
        assert_eq!((settings.timeout_s, settings.max_in_flight, settings.active), (15, 32, true));
        assert_eq!(settings.signatures, [Scheme::Drin, Scheme::Standard]);
        assert!(headers.is_empty() && settings.headers.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_remedy_and_no_secret() {
        let cases = [
            (json!({}), "url: is no absolute `https` URL; write one such as"),
            (json!({ "url": "http://a.example/" }), "url: must be `https`"),
            (json!({ "url": "https://10.0.0.1/" }), "url: leads to a private address"),
            (json!({ "evnts": [] }), "evnts: unknown field `evnts`, expected one of `url`"),
            (json!({ "events": ["email.bouncy"] }), "events: unknown event `email.bouncy`"),
            (json!({ "events": "email.sent" }), "events: invalid type: string, expected a sequence; send it in"),
            (json!({ "sources": ["resend"] }), "sources: there is no source `resend`; configure it"),
            (json!({ "timeout_s": 61 }), "timeout_s: 61 is out of range; use 1 to 60"),
            (json!({ "retry": vec![1; 21] }), "retry: 21 waits are too many; keep 20 or fewer"),
            (json!({ "retry": [5, 99_999_999] }), "retry[1]: 99999999 is out of range; use 0 to 31536000"),
            (json!({ "max_in_flight": 0 }), "max_in_flight: 0 is out of range"),
            (json!({ "rate_limit": 0 }), "rate_limit: 0 is out of range"),
            (json!({ "signatures": [] }), "signatures: "),
            (json!({ "signature_header": "x-mine" }), "signature_header: "),
            (json!({ "format": "resent" }), "format: "),
            (json!({ "events": ["open"] }), "format: "),
            (json!({ "headers": { "Host": "hunter2" } }), "headers.Host: is set by Waypost or by HTTP itself"),
            (json!({ "headers": { "x-a": "hunter2\n" } }), "headers.x-a: holds a character that no header may hold"),
            (json!({ "headers": { "x-a": "a\r\nx-b: hunter2" } }), "headers.x-a: holds a character that no header may"),
            (json!({ "headers": { "x-a": "\0hunter2" } }), "headers.x-a: holds a character that no header may hold"),
            (json!({ "headers": { "x-a\r\nx-b": "hunter2" } }), "headers.x-a\r\nx-b: is no header name"),
            (json!({ "headers": { "X-A": "1", "x-a": "hunter2" } }), "headers.x-a: is there twice"),
            (json!({ "headers": { "x-a": ["hunter2"] } }), "headers.x-a: invalid type: sequence, expected a string"),
            (json!({ "headers": "hunter2" }), "headers: invalid type: string, expected a map"),
        ];
        for (mut value, expected) in cases {
            let is_url = value.get("url").is_some() || expected.starts_with("url");
            if !is_url {
                value["url"] = "https://a.example/".into();
            }
            let told = made(value).unwrap_err().to_string();
            assert!(told.starts_with(expected) && !told.contains("hunter2"), "{told}\nexpected {expected}");
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name_and_null_is_the_default() {
        let (settings, _) = made(json!({ "url": "https://a.example/", "timeout_s": 3, "description": "a" })).unwrap();
        let change = given(json!({ "timeout_s": null, "description": null, "tags": ["b"] }));
        let (changed, headers) = made(Value::Object(merged(&json(&settings), &["x-a"], &change))).unwrap();
        let expected =
            EndpointSettings { timeout_s: 15, description: None, tags: vec!["b".into()], ..settings.clone() };
        assert_eq!((changed, headers), (expected, [("x-a".to_owned(), None)].into()));
        let unknown = made(Value::Object(merged(&json(&settings), &[], &given(json!({ "tag": null })))));
        assert!(unknown.unwrap_err().to_string().starts_with("tag: unknown field"));
        let change = given(json!({ "headers": { "x-b": "1" } }));
        let (_, headers) = made(Value::Object(merged(&json(&settings), &["x-a"], &change))).unwrap();
        assert_eq!(headers, [("x-b".to_owned(), Some("1".to_owned()))].into());
    }

    #[test]
    fn a_secret_is_taken_out_and_checked() {
        let take = |secret: Value| take_secret(&mut given(json!({ "secret": secret })));
        assert_eq!(take(WHSEC.into()).unwrap().unwrap().text(), WHSEC);
        assert_eq!(take(Value::Null), Ok(None));
        for wrong in [json!("hunter2"), json!(["hunter2"]), json!(2)] {
            let told = take(wrong).unwrap_err().to_string();
            assert!(told.starts_with("secret: ") && !told.contains("hunter2"), "{told}");
        }
        let (settings, _) = made(json!({ "url": "https://a.example/" })).unwrap();
        let text = SigningSecret::parse("a text of more than 16").unwrap();
        assert!(check_secret(&settings, &text).unwrap_err().to_string().starts_with("secret: is not good for each"));
        let drin = EndpointSettings { signatures: vec![Scheme::Drin], ..settings };
        assert_eq!(check_secret(&drin, &text), Ok(()));
    }
}
