//! The folders under `fixtures/`: sources and their recorded requests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use waypost_providers::{
    Draft, Headers, KeyError, Keys, Login, Parsed, Proof, Provider, Refusal, Request, Signed, Verified, VerifyError,
    by_name,
};

/// `source.toml`.
#[derive(Deserialize)]
struct Settings {
    provider: String,
    now: Timestamp,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    test: About,
    #[serde(default)]
    logins: Vec<BTreeMap<String, String>>,
    #[serde(flatten)]
    keys: BTreeMap<String, toml::Value>,
}

/// What tests need to know of a provider's requests: `[test]`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct About {
    /// The header with the (last) signature; without it, the signature is in the body.
    pub(crate) signature: Option<String>,
    /// Keys that decide whether there is an event at all. Any other costs itself at most.
    pub(crate) deciding: Vec<String>,
}

/// A folder with a `source.toml`.
pub(crate) struct Source {
    pub(crate) provider: &'static dyn Provider,
    pub(crate) proof: Proof,
    pub(crate) now: Timestamp,
    /// What signing takes; published vectors of SendGrid have none.
    pub(crate) secret: Option<String>,
    pub(crate) about: About,
    pub(crate) cases: Vec<Case>,
}

/// One `CASE.http`.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) path: PathBuf,
    /// The source's name, from the request line.
    pub(crate) source: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// Every source, in the order of their paths.
pub(crate) fn sources() -> Vec<Source> {
    let mut folders = Vec::new();
    find(&fixtures(), &mut folders);
    folders.sort();
    folders.iter().map(|folder| Source::read(folder)).collect()
}

/// The source of the provider's own folder, `fixtures/<provider>`.
pub(crate) fn source(provider: &str) -> Source {
    Source::read(&fixtures().join(provider))
}

/// Above this package, or the one for fuzzing.
fn fixtures() -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("fixtures"));
    above.into_iter().find(|folder| folder.is_dir()).expect("there are fixtures")
}

/// By its logins, if it has any; else by its keys.
fn proof(provider: &'static dyn Provider, settings: &Settings) -> Proof {
    let login = |login: &BTreeMap<String, String>| Login::new(&login["user"], &login["password"]).unwrap();
    if !settings.logins.is_empty() {
        return Proof::Basic(settings.logins.iter().map(login).collect());
    }
    let lists = settings.keys.iter().filter(|(_, value)| value.is_array());
    let keys = lists.map(|(name, value)| (name.clone(), value.clone().try_into().unwrap())).collect();
    Proof::Signature(Keys::read(provider, &keys).unwrap())
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("source.toml").exists() {
        found.push(folder.to_owned());
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, found);
        }
    }
}

impl Source {
    fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("source.toml")).unwrap();
        let settings: Settings = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let provider = by_name(&settings.provider).unwrap_or_else(|| panic!("{}: no such provider", folder.display()));
        let proof = proof(provider, &settings);
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "http"));
        paths.sort();
        let cases = paths.into_iter().map(Case::read).collect();
        Self { provider, proof, now: settings.now, secret: settings.secret, about: settings.test, cases }
    }

    /// The cases that are proven.
    pub(crate) fn good(&self) -> impl Iterator<Item = (&Case, Verified)> {
        self.cases.iter().filter_map(|case| Some((case, self.verify(case).ok()?)))
    }

    pub(crate) fn verify(&self, case: &Case) -> Result<Verified, VerifyError> {
        self.verify_at(case, self.now)
    }

    pub(crate) fn verify_at(&self, case: &Case, now: Timestamp) -> Result<Verified, VerifyError> {
        self.proof.verify(self.provider, case.request(now), now)
    }

    /// Signs `body` with the source's secret, as the provider would. Another `name` gives another message id or token.
    pub(crate) fn sign(&self, name: &str, body: &[u8], now: Timestamp) -> Signed {
        self.try_sign(name, body, now).unwrap()
    }

    pub(crate) fn try_sign(&self, name: &str, body: &[u8], now: Timestamp) -> Result<Signed, KeyError> {
        let secret = self.secret.as_deref().expect("a source that can sign");
        let mut nonce = [0_u8; 16];
        for (n, byte) in name.bytes().enumerate() {
            nonce[n % 16] = nonce[n % 16].wrapping_mul(31).wrapping_add(byte);
        }
        self.proof.sign(self.provider, "fixture", Draft { body, secret, now, nonce })
    }

    /// What the source says, when the provider posts `body` now.
    pub(crate) fn read_body(&self, body: &[u8]) -> Result<Vec<Parsed>, VerifyError> {
        let signed = self.sign("read", body, self.now);
        let request =
            Request { source: "fixture".into(), received_at: self.now, headers: signed.headers, body: signed.body };
        Ok(self.provider.parse(&self.proof.verify(self.provider, request, self.now)?))
    }

    /// What the golden of a case holds.
    pub(crate) fn outcome(&self, case: &Case) -> Value {
        match self.verify(case) {
            Ok(verified) => serde_json::to_value(self.provider.parse(&verified)).unwrap(),
            Err(error) => {
                let refusal = match self.provider.refusal(&error) {
                    Refusal::Retryable => "retryable",
                    Refusal::Unavailable => "unavailable",
                    Refusal::Final => "final",
                };
                json!({ "error": error.to_string(), "refusal": refusal })
            }
        }
    }
}

impl Case {
    fn read(path: PathBuf) -> Self {
        let bytes = fs::read(&path).unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head that ends in CRLF CRLF");
        let head = str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let target = lines.next().and_then(|line| line.strip_prefix("POST /in/")?.strip_suffix(" HTTP/1.1"));
        let source = target.unwrap_or_else(|| panic!("{}: request line", path.display())).to_owned();
        let headers = lines.map(|line| line.split_once(": ").unwrap()).collect();
        Self { source, headers, body: bytes[end + 4..].to_vec(), path }
    }

    /// As it arrives at `now`.
    pub(crate) fn request(&self, now: Timestamp) -> Request {
        Request {
            source: self.source.as_str().into(),
            received_at: now,
            headers: self.headers.clone(),
            body: self.body.clone().into(),
        }
    }

    pub(crate) fn golden(&self) -> PathBuf {
        self.path.with_extension("json")
    }

    pub(crate) fn name(&self) -> String {
        let path = self.path.components().rev().map(|part| part.as_os_str().to_string_lossy());
        let mut parts: Vec<_> = path.take_while(|part| part != "fixtures").collect();
        parts.reverse();
        parts.join("/")
    }

    pub(crate) fn with_header(&self, name: &str, value: &str) -> Self {
        let mut headers: Headers = self.headers.iter().filter(|(known, _)| *known != name).collect();
        headers.push(name, value);
        Self { headers, ..self.clone() }
    }

    pub(crate) fn with_body(&self, body: Vec<u8>) -> Self {
        Self { body, ..self.clone() }
    }
}
