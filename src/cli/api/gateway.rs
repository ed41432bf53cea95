//! The gateway that is asked: one call of its API, and what went wrong in words for the person who called.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::Failure;
use super::text::plain;
use crate::dispatch::client::{Client, Got};
use crate::dispatch::room::Room;
use crate::domain::delivery::ErrorClass;

/// How long a call may take.
const WITHIN: Duration = Duration::from_secs(60);
/// The largest answer: a mail of 40 MiB as it was received, in base64, and some.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// What stands for itself in a part of a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// A gateway, and the key that it is asked with.
pub(super) struct Gateway {
    client: Client,
    room: Room,
    url: String,
    authorization: HeaderValue,
}

/// What it answered.
#[derive(Debug)]
pub(super) struct Answer(Bytes);

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No whole answer came.
    #[error("{url}: {}", unanswered(*.class))]
    Unanswered {
        /// Who was asked.
        url: String,
        /// Why.
        class: ErrorClass,
    },
    /// The gateway, or whoever answers there, said no.
    #[error("{}", refused(*.status, .body))]
    Refused {
        /// The status.
        status: u16,
        /// What was said.
        body: Bytes,
    },
}

impl Gateway {
    /// One at this URL.
    ///
    /// # Errors
    /// When no header can hold the key, which is not repeated.
    pub(super) fn new(client: Client, url: String, key: &str) -> Result<Self, Failure> {
        let wrong = |_| "the API key holds a character that none can hold; give it as `waypost key new` printed it";
        let mut authorization = HeaderValue::from_str(&format!("Bearer {key}")).map_err(wrong)?;
        authorization.set_sensitive(true);
        Ok(Self { client, room: Room::for_one_of(ANSWER_BYTES_MAX), url, authorization })
    }

    /// Asks for what is there.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, CallError> {
        self.call(Method::GET, path, None).await
    }

    /// Has something made or done.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer, CallError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// One call. `path` begins with a slash, and what of it comes from outside is [encoded](segment).
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, CallError> {
        let url = format!("{}{path}", self.url);
        let failed = |class| CallError::Unanswered { url: self.url.clone(), class };
        let request = Request::builder().method(method).uri(url).header(AUTHORIZATION, self.authorization.clone());
        let request = request.header(ACCEPT, "application/json, application/problem+json");
        let request = request.header(USER_AGENT, concat!("Waypost/", env!("CARGO_PKG_VERSION")));
        let request = request.header(CONTENT_TYPE, "application/json");
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(Bytes::from(body)).map_err(|_| failed(ErrorClass::Protocol))?;
        let Got { posted, body, .. } = self.client.get(request, WITHIN, ANSWER_BYTES_MAX, &self.room).await;
        match (posted.answer.error, posted.answer.status) {
            (None, Some(200..=299)) => Ok(Answer(body)),
            (None, Some(status)) => Err(CallError::Refused { status, body }),
            (error, _) => Err(failed(error.unwrap_or(ErrorClass::Protocol))),
        }
    }
}

impl Answer {
    /// What it says.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let wrong = |error| format!("the answer is not a gateway's ({error}); --url or WAYPOST_URL says where that is");
        serde_json::from_slice(&self.0).map_err(|error| wrong(error).into())
    }
}

/// RFC 9457, as the gateway sends it.
#[derive(Default, Deserialize)]
struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    title: String,
    detail: Option<String>,
    field: Option<String>,
}

impl CallError {
    /// Whether the gateway said that what was asked for is not there.
    pub(super) fn is_not_found(&self) -> bool {
        let Self::Refused { status: 404, body } = self else { return false };
        problem(body).is_some_and(|problem| problem.kind == "urn:waypost:problem:not_found")
    }

    /// Whether it may go by itself: the gateway is being restarted, or its store is.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unanswered { class, .. } => !matches!(class, ErrorClass::Blocked | ErrorClass::Tls),
            Self::Refused { status, .. } => matches!(status, 502..=504),
        }
    }
}

fn problem(body: &[u8]) -> Option<Problem> {
    serde_json::from_slice(body).ok()
}

fn unanswered(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Resolve => "the name has no address; correct --url or WAYPOST_URL",
        ErrorClass::Connect => {
            "nobody accepts the connection; is the gateway up? --url or WAYPOST_URL says where it is"
        }
        ErrorClass::Tls => {
            "the TLS handshake failed; the certificate must be for this name, and of a public authority or one in the file \
             of --ca-file; a gateway by itself speaks plain http"
        }
        ErrorClass::Timeout => "no answer within 60 s; try again",
        ErrorClass::Closed => "the connection was closed before the answer; what was asked for may be done or not",
        ErrorClass::Blocked | ErrorClass::Protocol | ErrorClass::Proxy => {
            "the answer is no HTTP, or over 128 MiB; --url or WAYPOST_URL says where the gateway is"
        }
    }
}

/// What was said, and what to do about it where the gateway does not say that itself.
fn refused(status: u16, body: &[u8]) -> String {
    let Some(Problem { title, detail, field, .. }) = problem(body) else {
        return format!("the answer is {status}, and not a gateway's; --url or WAYPOST_URL says where the gateway is");
    };
    let told = detail.or(field.map(|field| format!("`{field}`"))).map(|detail| format!(": {detail}"));
    let remedy = match status {
        401 => "; put one of the gateway's `api.keys` into WAYPOST_API_KEY, or into the file of --key-file",
        429 | 503 => "; try again in a few seconds",
        _ => "",
    };
    plain(&format!("{title}{}{remedy} ({status})", told.unwrap_or_default()))
}

/// The API key: what the file holds if one is named, else what the variable holds.
///
/// # Errors
/// When there is none, or the file cannot be read.
pub(super) fn key(file: Option<&Path>, variable: Option<OsString>) -> Result<String, Failure> {
    let key = match (file, variable) {
        (Some(path), _) => {
            let read = std::fs::read_to_string(path);
            read.map_err(|error| format!("--key-file: `{}` cannot be read: {error}", path.display()))?
        }
        (None, Some(text)) => text.into_string().map_err(|_| "WAYPOST_API_KEY: is not UTF-8")?,
        (None, None) => String::new(),
    };
    match key.trim() {
        "" => Err("there is no API key; set WAYPOST_API_KEY, or name a file that holds it with --key-file".into()),
        key => Ok(key.to_owned()),
    }
}

/// A URL of a gateway, without the slash at its end.
///
/// # Errors
/// When it is none, or holds a password. It is not repeated.
pub(super) fn base(text: &str) -> Result<String, String> {
    let wrong = || "--url or WAYPOST_URL: write it as http://127.0.0.1:8080 or https://hooks.acme.example".to_owned();
    let url: Uri = text.parse().map_err(|_| wrong())?;
    let is_known = matches!(url.scheme_str(), Some("http" | "https"));
    let is_bare = url.query().is_none() && url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if is_known && is_bare { Ok(text.trim_end_matches('/').to_owned()) } else { Err(wrong()) }
}

/// Text as one part of a path, whatever it holds.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, IN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_remedy() {
        let told = |status, json: &str| refused(status, json.as_bytes());
        let problem =
            r#"{"type":"urn:waypost:problem:not_found","title":"There is no such thing","detail":"no such event"}"#;
        assert_eq!(told(404, problem), "There is no such thing: no such event (404)");
        assert!(told(401, r#"{"title":"A known API key is needed"}"#).contains("WAYPOST_API_KEY"));
        assert_eq!(told(503, r#"{"title":"No\u001b"}"#), "No\\u{1b}; try again in a few seconds (503)");
        assert!(told(404, "<html>").contains("--url"));
        let refused = |status, body: &'static str| CallError::Refused { status, body: body.into() };
        assert!(refused(404, problem).is_not_found());
        assert!(!refused(404, "<html>").is_not_found() && !refused(409, "{}").is_passing());
        assert!(refused(503, "{}").is_passing());
    }

    #[test]
    fn a_key_is_the_files_or_the_variables_and_is_never_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "of-the-file\n").unwrap();
        assert_eq!(key(Some(&file), Some("of-the-variable".into())).unwrap(), "of-the-file");
        assert_eq!(key(None, Some("of-the-variable".into())).unwrap(), "of-the-variable");
        assert!(key(None, None).unwrap_err().to_string().contains("--key-file"));
        assert!(key(Some(&dir.path().join("none")), None).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn a_url_is_whole_and_holds_no_password() {
        assert_eq!(base("https://hooks.acme.example/waypost/").unwrap(), "https://hooks.acme.example/waypost");
        for wrong in ["127.0.0.1:8080", "ftp://a.example", "http://me:secret@a.example", "http://a.example/?b", "/v1"] {
            let told = base(wrong).unwrap_err();
            assert!(told.contains("http://127.0.0.1:8080") && !told.contains("secret"), "{wrong}: {told}");
        }
    }

    #[test]
    fn a_part_of_a_path_stays_one() {
        assert_eq!(segment("Nora <n/o?ra@a.example>"), "Nora%20%3Cn%2Fo%3Fra%40a%2Eexample%3E");
        assert_eq!(segment(".."), "%2E%2E");
    }
}
