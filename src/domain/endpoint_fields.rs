//! What must hold of an endpoint's fields, whether the config file gives them or the API.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use super::endpoint::EndpointSettings;
use super::field::{FieldError, within};
use super::header::is_reserved;
use super::rate::Rate;
use super::target::{self, Networks, TargetError};

type Checked<T> = Result<T, FieldError>;

/// A year: no wait is longer.
pub const WAIT_S_MAX: u64 = 365 * 24 * 3_600;
/// Attempts under way at once.
pub const MAX_IN_FLIGHT_MAX: u64 = 10_000;

/// What can be told of a URL without asking a name server. The addresses behind a name are checked when it is called.
///
/// # Errors
/// When it may not be called.
pub fn check_url(url: &str, networks: &Networks) -> Checked<()> {
    target::check_url(url, networks).map_err(|error| {
        let remedy = match error {
            TargetError::Url => "write one such as `https://billing.example/hooks/email`",
            TargetError::Scheme => "use https, or allow the network",
            TargetError::Userinfo => "take it out: the signature is the proof",
            TargetError::Address(_) => "use a public address",
        };
        FieldError::new("url", error.to_string(), remedy)
    })
}

/// Whether there are sources of these names.
///
/// # Errors
/// Names one that there is not, and those that there are.
pub fn check_sources<'a>(wanted: &[String], known: impl Iterator<Item = &'a String> + Clone) -> Checked<()> {
    match wanted.iter().find(|name| !known.clone().any(|known| known == *name)) {
        None => Ok(()),
        Some(name) => {
            let known = known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let remedy = if known.is_empty() { "configure it".to_owned() } else { format!("use one of {known}") };
            Err(FieldError::new("sources", format!("there is no source `{name}`"), remedy))
        }
    }
}

/// The numbers: how long it is tried and waited, and how much at once.
///
/// # Errors
/// Names the first that is out of range.
pub fn check_numbers(retry: &[u64], timeout_s: u64, max_in_flight: u32, rate_limit: Option<u32>) -> Checked<()> {
    for (index, wait_s) in retry.iter().enumerate() {
        within(&format!("retry[{index}]"), *wait_s, 0, WAIT_S_MAX)?;
    }
    within("timeout_s", timeout_s, 1, EndpointSettings::TIMEOUT_S_MAX)?;
    within("max_in_flight", u64::from(max_in_flight), 1, MAX_IN_FLIGHT_MAX)?;
    rate_limit.map_or(Ok(()), |rate| within("rate_limit", u64::from(rate), 1, u64::from(Rate::PER_S_MAX)))
}

/// Static headers, their names in lower case. `text` is a value's text, if one is given.
///
/// # Errors
/// Names one whose name is taken, or which no header can be.
pub fn headers<V>(given: BTreeMap<String, V>, text: impl Fn(&V) -> Option<&str>) -> Checked<BTreeMap<String, V>> {
    let mut headers = BTreeMap::new();
    for (name, value) in given {
        let wrong = |problem, remedy| Err(FieldError::new(format!("headers.{name}"), problem, remedy));
        let Ok(known) = HeaderName::try_from(name.as_str()) else {
            return wrong("is no header name", "use letters, digits and `-`");
        };
        let known = known.as_str();
        if is_reserved(known) {
            return wrong("is set by Waypost or by HTTP itself", "use another name");
        }
        if text(&value).is_some_and(|text| HeaderValue::try_from(text).is_err()) {
            return wrong("holds a character that no header may hold", "keep to one line of text");
        }
        if headers.insert(known.to_owned(), value).is_some() {
            return wrong("is there twice", "keep one; case does not matter");
        }
    }
    Ok(headers)
}
