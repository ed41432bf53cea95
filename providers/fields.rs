//! Tolerant reading of the fields that providers send.
//!
//! Every field may be missing, `null` or of another type than last year: then that field is unknown, and the event is
//! read all the same. A missing key reads as `null`, so `event["bounce"]["type"]` never fails.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::repair::repaired;

/// A JSON body. Bytes that are no UTF-8 are replaced: quoting a foreign mail server may bring in anything.
pub(crate) fn json(body: &[u8]) -> Option<Value> {
    // Nearly all are UTF-8, and to find that out is quicker than to look for what would be replaced.
    std::str::from_utf8(body).map_or_else(|_| value(&String::from_utf8_lossy(body)), value)
}

/// The fields of a JSON object, as they are written: a long one is not copied before it is asked for. None if it is none.
pub(crate) fn written(json: &str) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(json).ok()
}

/// Reads the fields of a JSON object, as they are written; what [`json`] reads, this does.
pub(crate) fn with_written<T>(body: &[u8], read: impl FnOnce(&BTreeMap<String, &RawValue>) -> Option<T>) -> Option<T> {
    let text = String::from_utf8_lossy(body);
    if let Some(fields) = written(&text) {
        return read(&fields);
    }
    read(&written(&repaired(&text))?)
}

/// The text that a field is, copied once.
pub(crate) fn whole_text(field: Option<&&RawValue>) -> Option<String> {
    match value(field?.get())? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A JSON value. What its reader refuses and senders write all the same costs what it stands in, and not the whole.
pub(crate) fn value(json: &str) -> Option<Value> {
    serde_json::from_str(json).or_else(|_| serde_json::from_str(&repaired(json))).ok()
}

/// A text that says something.
pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

/// A text, or a number as text: codes and ids come as both.
pub(crate) fn text_or_number(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        _ => text(value),
    }
}

/// One text or a list of them; what else a list holds is left out.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().filter_map(text).collect(),
        _ => text(value).into_iter().collect(),
    }
}

/// A count, as a number (fractions cut) or as text.
pub(crate) fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let number = number.as_f64().filter(|number| (0.0..1e15).contains(number))?;
            Some(number as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The sender's own data, where it is an object. (Mailgun puts an error message there when it could not read it.)
pub(crate) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// An RFC 3339 time, with any number of decimals and any offset.
pub(crate) fn rfc3339(value: &Value) -> Option<Timestamp> {
    let text = value.as_str()?.trim();
    let Some(point) = text.find('.') else { return millis(text.parse().ok()?) };
    // A timestamp holds nine decimals and refuses more.
    let decimals = text[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
    let short = format!("{}{}", &text[..point + 1 + decimals.min(9)], &text[point + 1 + decimals..]);
    millis(short.parse().ok()?)
}

/// Unix time as seconds or milliseconds, whole or not, as a number or as text.
///
/// Above 10^11 it is milliseconds (an example of SendGrid's Marketing Campaigns): as seconds that is the year 5138.
pub(crate) fn epoch(value: &Value) -> Option<Timestamp> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok().filter(|number| number.is_finite())?,
        _ => return None,
    };
    let micros = (if number > 1e11 { number * 1e3 } else { number * 1e6 }).round();
    if !(0.0..4e17).contains(&micros) {
        return None;
    }
    millis(Timestamp::from_microsecond(micros as i64).ok()?)
}

/// Cut to the milliseconds that an event carries, so that it is the same before and after it was stored.
pub(crate) fn millis(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_millisecond(at.as_millisecond()).ok()
}

/// An RFC 5322 Message-ID with its angle brackets, which Mailgun leaves out.
pub(crate) fn message_id(text: &str) -> Option<String> {
    let id = text.trim().trim_start_matches('<').trim_end_matches('>');
    (!id.is_empty()).then(|| format!("<{id}>"))
}

/// The addresses of a header such as `To`, as given, parted at the commas that are neither quoted nor in brackets.
pub(crate) fn addresses(header: &str) -> Vec<String> {
    let mut addresses = vec![String::new()];
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_u32);
    for letter in header.chars() {
        match letter {
            _ if escaped => {}
            '"' => quoted = !quoted,
            '<' | '(' if !quoted => depth += 1,
            '>' | ')' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                addresses.push(String::new());
                continue;
            }
            _ => {}
        }
        escaped = quoted && !escaped && letter == '\\';
        if let Some(address) = addresses.last_mut() {
            address.push(letter);
        }
    }
    addresses.iter().map(|address| address.trim().to_owned()).filter(|address| !address.is_empty()).collect()
}

/// What an SMTP answer begins with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Smtp {
    /// Three digits.
    pub(crate) code: Option<String>,
    /// `x.y.z` (RFC 3463).
    pub(crate) status: Option<String>,
}

/// Reads `550 5.1.1 no such user`, also as `smtp; 550-5.1.1 …`: only what the text begins with, for further on any
/// three digits may be anything.
pub(crate) fn smtp(message: Option<&str>) -> Smtp {
    let text = message.unwrap_or_default().trim_start();
    let text = match text.get(..5) {
        Some(label) if label.eq_ignore_ascii_case("smtp;") => text[5..].trim_start(),
        _ => text,
    };
    let Some((code, rest)) = text.split_at_checked(3) else { return Smtp::default() };
    let is_code =
        matches!(code.as_bytes(), [b'2'..=b'5', second, third] if second.is_ascii_digit() && third.is_ascii_digit());
    if !is_code || !(rest.is_empty() || rest.starts_with([' ', '-', '\t', '\r', '\n'])) {
        return Smtp::default();
    }
    let status = rest.get(1..).unwrap_or_default().trim_start();
    let status = status.split(|letter: char| letter != '.' && !letter.is_ascii_digit()).next().unwrap_or_default();
    Smtp { code: Some(code.to_owned()), status: is_status(status).then(|| status.to_owned()) }
}

/// Whether this is an enhanced status code: `5.1.1`.
fn is_status(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    let numeric = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && matches!(parts[0], "2" | "4" | "5") && parts.iter().all(numeric)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(at: Option<Timestamp>) -> String {
        at.map(crate::event::rfc3339_millis).unwrap_or_default()
    }

    #[test]
    fn reads_times_of_any_fraction_and_offset() {
        assert_eq!(shown(rfc3339(&json!("2026-03-14T09:26:53.589Z"))), "2026-03-14T09:26:53.589Z");
        assert_eq!(shown(rfc3339(&json!("2024-02-22T23:41:11.894719+00:00"))), "2024-02-22T23:41:11.894Z");
        assert_eq!(shown(rfc3339(&json!("2024-02-22T23:41:11.1234567891234+05:30"))), "2024-02-22T18:11:11.123Z");
        assert_eq!(shown(rfc3339(&json!("2024-02-22T23:41:11Z"))), "2024-02-22T23:41:11.000Z");
        for bad in [json!("2024-02-22T23:41:11"), json!("."), json!(""), json!(7), json!(null), json!("é.é")] {
            assert_eq!(rfc3339(&bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_unix_times_of_any_unit() {
        for given in [json!(1_773_480_413), json!("1773480413"), json!(1_773_480_413_000_i64), json!(1.773480413e9)] {
            assert_eq!(shown(epoch(&given)), "2026-03-14T09:26:53.000Z", "{given}");
        }
        assert_eq!(shown(epoch(&json!(1_773_480_413.871_204))), "2026-03-14T09:26:53.871Z");
        for bad in [json!(-1), json!(1e300), json!("nan"), json!("inf"), json!("soon"), json!([1]), json!(null)] {
            assert_eq!(epoch(&bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_code_and_status_only_where_an_answer_begins() {
        let both = |code: &str, status: &str| Smtp { code: Some(code.into()), status: Some(status.into()) };
        assert_eq!(smtp(Some("smtp; 550 5.1.1 no such user")), both("550", "5.1.1"));
        assert_eq!(smtp(Some("smtp;550-5.1.1 unknown")), both("550", "5.1.1"));
        assert_eq!(smtp(Some("452 4.2.2 mailbox full")), both("452", "4.2.2"));
        assert_eq!(smtp(Some("250 OK 5.1.1")), Smtp { code: Some("250".into()), status: None });
        assert_eq!(smtp(Some("250")), Smtp { code: Some("250".into()), status: None });
        for text in ["5.1.1 no such user", "5500 x", "100% full", "no 550 5.1.1", "", "55", "ééé", "smtp;"] {
            assert_eq!(smtp(Some(text)), Smtp::default(), "{text}");
        }
    }

    #[test]
    fn parts_addresses_at_bare_commas() {
        assert_eq!(
            addresses(r#""Ng, J \" x" <j@a.example>, k@b.example ,"#),
            [r#""Ng, J \" x" <j@a.example>"#, "k@b.example"]
        );
        assert!(addresses(" , ").is_empty());
    }

    #[test]
    fn brackets_a_message_id_once() {
        assert_eq!(message_id("a@b").as_deref(), Some("<a@b>"));
        assert_eq!(message_id("<a@b>").as_deref(), Some("<a@b>"));
        assert_eq!(message_id("<>"), None);
    }

    #[test]
    fn counts_in_digits_text_and_floats() {
        assert_eq!(count(&json!(3)), Some(3));
        assert_eq!(count(&json!("3")), Some(3));
        assert_eq!(count(&json!(3.9)), Some(3));
        assert_eq!(count(&json!(-3)), None);
        assert_eq!(count(&json!("three")), None);
    }
}
