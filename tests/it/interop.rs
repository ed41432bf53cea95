//! The receivers' and the providers' own libraries agree with this gateway, both ways. Needs Node and npm; without them
//! it says so and passes, unless `WAYPOST_REQUIRE_NODE=1`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};
use waypost::clock::{Clock, SystemClock};
use waypost::domain::endpoint::Scheme;
use waypost::outbound::sign::{Secret, sign};
use waypost_providers::{Draft, Headers, Keys, Request, Signed, by_name};

use crate::readme::readme;
use crate::tidy::root;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const PRIVATE_KEY: &str = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=";
const BODY: &str = r#"{"type":"email.bounced","created_at":"2026-06-02T14:08:11Z","data":{"subject":"Grüße – ✉"}}"#;
const SIGNATURE: &str = "x-twilio-email-event-webhook-signature";
const TIMESTAMP: &str = "x-twilio-email-event-webhook-timestamp";

/// One question to a library, and what it has to answer.
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) ask: Value,
    pub(crate) expected: Value,
}

impl Check {
    /// The question, and the same of another body, which is to be refused.
    pub(crate) fn both(what: &str, ask: Value) -> [Self; 2] {
        let mut other = ask.clone();
        other["body"] = ask["body"].as_str().unwrap().replacen(":\"", ":\" ", 1).into();
        assert_ne!(ask["body"], other["body"]);
        [
            Self { what: what.into(), ask, expected: true.into() },
            Self { what: format!("{what}, another body"), ask: other, expected: false.into() },
        ]
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    pub(crate) answer: Value,
    pub(crate) error: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    /// Absent where only the provider has it.
    #[serde(default)]
    secret: String,
    #[serde(flatten)]
    rest: toml::Table,
}

impl Source {
    /// The keys, by their names in the config file.
    fn keys(&self) -> std::collections::BTreeMap<String, Vec<String>> {
        let lists = self.rest.iter().filter(|(_, value)| value.is_array());
        lists.map(|(name, value)| (name.clone(), value.clone().try_into().unwrap())).collect()
    }
}

fn source(folder: &str) -> Source {
    let text = std::fs::read_to_string(root().join("fixtures").join(folder).join("source.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

/// A folder with the libraries in it. Without Node it is none, and says so, unless there must be one.
pub(crate) fn installed() -> Option<PathBuf> {
    match try_installed() {
        Ok(folder) => Some(folder),
        Err(why) => {
            assert!(std::env::var("WAYPOST_REQUIRE_NODE").as_deref() != Ok("1"), "{why}");
            eprintln!("not checked against the libraries of others: {why}");
            None
        }
    }
}

fn try_installed() -> Result<PathBuf, String> {
    let from = root().join("tests/it/interop");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    std::fs::create_dir_all(to.join("seeds")).unwrap();
    // Several tests come here, each a process of its own; unlocked when dropped.
    let lock = std::fs::File::create(to.join("lock")).unwrap();
    lock.lock().unwrap();
    let wanted = std::fs::read_to_string(from.join("package.json")).unwrap();
    for folder in ["", "seeds"] {
        for entry in std::fs::read_dir(from.join(folder)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() && entry.file_name() != "package.json" {
                keep(&to.join(folder).join(entry.file_name()), &std::fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    keep(&to.join("readme.mjs"), &snippet());
    let example = std::fs::read_to_string(root().join("docs/examples/redis-streams.mjs")).unwrap();
    keep(&to.join("redis-streams.mjs"), &example);
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(&to).output();
        let output = output.map_err(|error| format!("{program} does not start: {error}"))?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{program} {}: {told}", arguments.join(" "))) }
    };
    run("node", &["--version"])?;
    run("python3", &["--version"])?;
    let done = to.join("installed.json");
    if std::fs::read_to_string(&done).ok().as_ref() != Some(&wanted) {
        std::fs::write(to.join("package.json"), &wanted).unwrap();
        let flags = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
        run("npm", &[&["install"][..], &flags].concat())?;
        std::fs::write(done, wanted).unwrap();
    }
    Ok(to)
}

/// Writes a file if it is another, for somebody may be reading it.
fn keep(path: &Path, text: &str) {
    if std::fs::read_to_string(path).ok().as_deref() != Some(text) {
        std::fs::write(path, text).unwrap();
    }
}

/// The README's own verifier.
fn snippet() -> String {
    let text = readme();
    let block = text.split("```js\n").nth(1).expect("the README shows how to verify in Node");
    block.split("```").next().unwrap().to_owned()
}

/// Asks the JavaScript libraries.
pub(crate) fn ask(folder: &Path, questions: &Value) -> Vec<Said> {
    ask_of(folder, ["node", "check.mjs"], questions)
}

/// The same of a program and its script.
pub(crate) fn ask_of(folder: &Path, [program, script]: [&str; 2], questions: &Value) -> Vec<Said> {
    let mut command = Command::new(program);
    command.arg(script).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Dropped at the end of the statement, which closes it.
    child.stdin.take().unwrap().write_all(questions.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {script} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn object(headers: &Headers) -> Value {
    headers.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<serde_json::Map<_, _>>().into()
}

/// What an endpoint receives, as its libraries see it; while a secret is rotated, either half is enough.
fn deliveries() -> Vec<Check> {
    let secrets = [SECRET, OLD_SECRET, PRIVATE_KEY].map(|text| Secret::parse(text).unwrap());
    let schemes = [Scheme::Drin, Scheme::Standard, Scheme::Ed25519, Scheme::Svix];
    let made = sign(&schemes, &secrets, "evt_1", SystemClock::new().now(), BODY.as_bytes());
    let headers: Headers = made.into_iter().collect();
    let drin = headers.get("drin-signature").unwrap();
    let mut checks = Vec::new();
    for secret in [SECRET, OLD_SECRET] {
        for library in ["stripe", "readme"] {
            let ask = json!({"library": library, "body": BODY, "header": drin, "secret": secret});
            checks.extend(Check::both(&format!("{library} on Drin-Signature"), ask));
        }
        for library in ["standard", "svix"] {
            let ask = json!({"library": library, "body": BODY, "headers": object(&headers), "secret": secret});
            // Svix takes the names of Standard Webhooks too.
            checks.extend(Check::both(&format!("{library} on webhook-signature"), ask));
        }
        let svix: Headers = headers.iter().filter(|(name, _)| name.starts_with("svix-")).collect();
        let ask = json!({"library": "svix", "body": BODY, "headers": object(&svix), "secret": secret});
        checks.extend(Check::both("svix on svix-signature", ask));
    }
    let key = secrets[2].public_key().unwrap();
    let ask = json!({"library": "ed25519", "body": BODY, "headers": object(&headers), "key": key});
    checks.extend(Check::both("Node's Ed25519 on webhook-signature", ask));
    checks
}

fn signed(provider: &str, secret: &str, body: &str) -> Signed {
    let draft = Draft { body: body.as_bytes(), secret, now: SystemClock::new().now(), nonce: [7; 16] };
    by_name(provider).unwrap().sign(draft).unwrap()
}

/// What this gateway signs as a provider would, as the provider's own library sees it.
fn provider_requests() -> Vec<Check> {
    let resend = source("resend").secret;
    let made = signed("resend", &resend, BODY);
    let ask = json!({"library": "svix", "body": BODY, "headers": object(&made.headers), "secret": resend});
    let mut checks: Vec<_> = Check::both("svix on Resend's signature", ask).into();

    let sendgrid = source("sendgrid");
    let body = "[{\"email\":\"a@example.com\",\"event\":\"open\"},\r\n{\"event\":\"click\"}]\r\n";
    let made = signed("sendgrid", &sendgrid.secret, body);
    let (signature, timestamp) = (made.headers.get(SIGNATURE), made.headers.get(TIMESTAMP));
    let key = &sendgrid.keys()["public_keys"][0];
    let ask = json!({"library": "sendgrid", "body": body, "key": key, "signature": signature, "timestamp": timestamp});
    checks.extend(Check::both("@sendgrid/eventwebhook on SendGrid's signature", ask));
    checks
}

/// The published SendGrid signatures, asked again.
fn vectors() -> Vec<Check> {
    let vectors = ["a/signed", "a/last-line-end-cut", "b/signed", "a-wrong-key/signed"];
    vectors.map(|case| {
        let (folder, name) = case.split_once('/').unwrap();
        let folder = format!("sendgrid/vectors/{folder}");
        let bytes = std::fs::read(root().join("fixtures").join(&folder).join(format!("{name}.http"))).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let headers: Headers = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": ")).collect();
        let key = &source(&folder).keys()["public_keys"][0];
        let (signature, timestamp) = (headers.get(SIGNATURE), headers.get(TIMESTAMP));
        let ask =
            json!({"library": "sendgrid", "body": body, "key": key, "signature": signature, "timestamp": timestamp});
        Check { what: format!("@sendgrid/eventwebhook on {folder}/{name}"), ask, expected: (case.ends_with("/signed") && case != "a-wrong-key/signed").into() }
    })
    .into()
}

/// Whether our verifier believes what Svix's library signed.
fn believed(signature: &str, secret: &Source, body: &'static str, seconds: i64) -> bool {
    let provider = by_name("resend").unwrap();
    let keys = Keys::read(provider, &secret.keys()).unwrap();
    let time = seconds.to_string();
    let headers = [("svix-id", "msg_1"), ("svix-timestamp", &time), ("svix-signature", signature)];
    let now = SystemClock::new().now();
    let headers = headers.into_iter().collect();
    let request = Request { source: "resend".into(), received_at: now, headers, body: body.as_bytes().into() };
    provider.verify(request, &keys, now).is_ok()
}

#[test]
fn the_libraries_of_others_agree() {
    let Some(folder) = installed() else { return };
    let checks: Vec<_> = [deliveries(), provider_requests(), vectors()].into_iter().flatten().collect();
    let resend = source("resend");
    let seconds = SystemClock::new().now().as_second();
    let mut questions: Vec<_> = checks.iter().map(|check| check.ask.clone()).collect();
    let sign =
        json!({"library": "svix_sign", "body": BODY, "id": "msg_1", "seconds": seconds, "secret": resend.secret});
    questions.push(sign);

    let mut said = ask(&folder, &questions.into());
    assert_eq!(said.len(), checks.len() + 1);
    let last = said.pop().unwrap();
    let signature = last.answer.as_str().unwrap_or_else(|| panic!("svix does not sign: {last:?}"));
    assert!(believed(signature, &resend, BODY, seconds));
    assert!(!believed(signature, &resend, "{}", seconds));
    hold(&checks, &said);
}

/// Each question was answered as expected.
pub(crate) fn hold(checks: &[Check], said: &[Said]) {
    assert_eq!(said.len(), checks.len());
    for (check, said) in checks.iter().zip(said) {
        assert_eq!(said.answer, check.expected, "{}: {:?}", check.what, said.error);
    }
}
