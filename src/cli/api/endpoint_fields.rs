//! The fields of an endpoint as arguments, and the body that they make.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use super::super::Failure;

/// What can be told of an endpoint. What is checked, the gateway checks.
#[derive(Debug, Default, Args)]
pub(super) struct Fields {
    /// Where to post: its `url`.
    #[arg(long = "to", value_name = "URL")]
    to: Option<String>,
    /// What it is told of, parted by commas; none is all eleven types.
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    events: Option<Vec<String>>,
    /// The body that it gets, such as `drin` or `cloudevents`.
    #[arg(long)]
    format: Option<String>,
    /// Only events of these sources, parted by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    sources: Option<Vec<String>>,
    /// Only events with one of these tags, parted by commas.
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Option<Vec<String>>,
    /// How each request is signed, parted by commas, such as `drin,standard`.
    #[arg(long, value_name = "SCHEMES", value_delimiter = ',')]
    signatures: Option<Vec<String>>,
    /// The header of `hex` and `sha256`.
    #[arg(long, value_name = "NAME")]
    signature_header: Option<String>,
    /// Seconds to wait after each failed attempt, parted by commas.
    #[arg(long, value_name = "SECONDS", value_delimiter = ',')]
    retry: Option<Vec<u64>>,
    /// Seconds that an attempt may take.
    #[arg(long, value_name = "SECONDS")]
    timeout_s: Option<u64>,
    /// Attempts under way at once.
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// Requests a second at most.
    #[arg(long, value_name = "N")]
    rate_limit: Option<u32>,
    /// A note.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A file with any of these fields as a JSON object, and `headers`, whose values may be credentials; `-` is standard
    /// input. What is told by a flag counts.
    #[arg(long, value_name = "FILE")]
    fields: Option<PathBuf>,
}

impl Fields {
    /// The fields that are given; `null` for those that get their default again.
    pub(super) fn body(self, unset: &[String]) -> Result<Map<String, Value>, Failure> {
        let mut body = match &self.fields {
            Some(path) => object(path)?,
            None => Map::new(),
        };
        let given = [
            ("url", self.to.map(Value::from)),
            ("events", self.events.as_deref().map(words)),
            ("format", self.format.map(Value::from)),
            ("sources", self.sources.as_deref().map(words)),
            ("tags", self.tags.as_deref().map(words)),
            ("signatures", self.signatures.as_deref().map(words)),
            ("signature_header", self.signature_header.map(Value::from)),
            ("retry", self.retry.map(Value::from)),
            ("timeout_s", self.timeout_s.map(Value::from)),
            ("max_in_flight", self.max_in_flight.map(Value::from)),
            ("rate_limit", self.rate_limit.map(Value::from)),
            ("description", self.description.map(Value::from)),
        ];
        body.extend(unset.iter().map(|name| (name.trim().to_owned(), Value::Null)));
        body.extend(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Ok(body)
    }
}

/// An argument that is there and empty is an empty list.
fn words(words: &[String]) -> Value {
    words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()).collect::<Vec<_>>().into()
}

/// The JSON object in a file, of which an error repeats nothing.
fn object(path: &Path) -> Result<Map<String, Value>, Failure> {
    let text =
        if path == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text = text.map_err(|error| format!("--fields: `{}` cannot be read: {error}", path.display()))?;
    let wrong = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        format!("--fields: `{}` holds no JSON object: see line {line}, column {column}", path.display())
    };
    Ok(serde_json::from_str(&text).map_err(wrong)?)
}

/// The field of a secret that is in a file; none of no file.
pub(super) fn secret(file: Option<&Path>) -> Result<Map<String, Value>, Failure> {
    let Some(path) = file else { return Ok(Map::new()) };
    let secret = std::fs::read_to_string(path);
    let secret = secret.map_err(|error| format!("--secret-file: `{}` cannot be read: {error}", path.display()))?;
    Ok(Map::from_iter([("secret".to_owned(), secret.trim_end_matches(['\r', '\n']).into())]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_given_is_in_the_body() {
        assert_eq!(Value::from(Fields::default().body(&[]).unwrap()), json!({}));
        let fields = Fields {
            to: Some("https://a.example/".into()),
            events: Some(vec![String::new()]),
            sources: Some(vec!["eu".into(), " us ".into()]),
            retry: Some(vec![1, 2]),
            rate_limit: Some(5),
            ..Fields::default()
        };
        let expected = json!({"url": "https://a.example/", "events": [], "sources": ["eu", "us"], "retry": [1, 2], "rate_limit": 5, "tags": null});
        assert_eq!(Value::from(fields.body(&["tags".into(), "url".into()]).unwrap()), expected);
    }

    #[test]
    fn a_file_has_what_no_flag_has_and_no_error_repeats_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fields.json");
        let body = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let fields = Fields { fields: Some(path.clone()), description: Some("b".into()), ..Fields::default() };
            fields.body(&[]).map(Value::from)
        };
        let expected = json!({"headers": {"x-a": "1"}, "description": "b"});
        assert_eq!(body(r#"{"headers": {"x-a": "1"}, "description": "a"}"#).unwrap(), expected);
        for wrong in [r#"{"headers": hunter2}"#, r#"["hunter2"]"#, ""] {
            let told = body(wrong).unwrap_err().to_string();
            assert!(told.contains("line 1") && !told.contains("hunter2"), "{wrong}: {told}");
        }
        std::fs::write(&path, "a secret of its own \n").unwrap();
        assert_eq!(Value::from(secret(Some(&path)).unwrap()), json!({"secret": "a secret of its own "}));
    }
}
