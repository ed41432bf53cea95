//! The libraries that Svix and SendGrid give their customers against ours, both ways.
//!
//! Runs where `node` and `npm` are found; `WAYPOST_REQUIRE_NODE=1` makes their absence a failure.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use waypost_providers::Headers;

use crate::cases::{Case, Source, source, sources};

/// Where the libraries are installed, once for all tests; nothing where there is no Node.
fn installed() -> Option<&'static Path> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    INSTALLED.get_or_init(install).as_deref()
}

fn install() -> Option<PathBuf> {
    for program in ["node", "npm"] {
        if !Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("WAYPOST_REQUIRE_NODE").is_none_or(|flag| flag != "1"), "`{program}` is missing");
            return None;
        }
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let there = Path::new(env!("CARGO_TARGET_TMPDIR")).join("providers-interop");
    let lock = fs::read(here.join("package-lock.json")).unwrap();
    // Every test is a process of its own; they must not install at once.
    fs::create_dir_all(&there).unwrap();
    let _alone = alone(&there);
    let is_current = fs::read(there.join("installed")).is_ok_and(|installed| installed == lock);
    for file in ["package.json", "package-lock.json", "run.mjs"] {
        fs::copy(here.join(file), there.join(file)).unwrap();
    }
    if !is_current {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&there);
        let output = npm.output().unwrap();
        assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
        fs::write(there.join("installed"), lock).unwrap();
    }
    Some(there)
}

/// Held by one process at a time.
fn alone(folder: &Path) -> fs::File {
    let file = fs::File::create(folder.join("lock")).unwrap();
    file.lock().unwrap();
    file
}

/// What the libraries say to each job; nothing where there is no Node.
pub(crate) fn ask(jobs: &[Value]) -> Option<Vec<Value>> {
    let Some(folder) = installed() else {
        println!("skipped: `node` and `npm` are not both here");
        return None;
    };
    let mut node = Command::new("node");
    let mut node =
        node.arg("run.mjs").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(json!(jobs).to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "node failed");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn object(headers: &Headers) -> Map<String, Value> {
    headers.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

/// The bodies of the good cases that are UTF-8: both libraries turn a body into text before they check it.
fn bodies(source: &Source) -> Vec<&Case> {
    source.good().map(|(case, _)| case).filter(|case| str::from_utf8(&case.body).is_ok()).collect()
}

#[test]
fn what_svix_signs_is_accepted() {
    let source = source("resend");
    let bodies = bodies(&source);
    let job = |case: &&Case| {
        json!({ "op": "svixSign", "secret": source.secret, "id": "msg_interop", "now": source.now.as_second(),
            "body": STANDARD.encode(&case.body) })
    };
    let Some(signatures) = ask(&bodies.iter().map(job).collect::<Vec<_>>()) else { return };
    for (case, signature) in bodies.iter().zip(signatures) {
        let case = case.with_header("svix-id", "msg_interop");
        let case = case.with_header("svix-timestamp", &source.now.as_second().to_string());
        let case = case.with_header("svix-signature", signature.as_str().unwrap());
        assert!(source.verify(&case).is_ok(), "{}", case.name());
    }
}

#[test]
fn svix_accepts_what_we_sign_as_resend() {
    let source = source("resend");
    let job = |case: &&Case| {
        let signed = source.sign(&case.name(), &case.body, source.now);
        json!({ "op": "svixVerify", "secret": source.secret, "now": source.now.as_second(),
            "headers": object(&signed.headers), "body": STANDARD.encode(signed.body) })
    };
    // The library also reads the body as JSON.
    let cases: Vec<_> = bodies(&source).into_iter().filter(|case| case.body.starts_with(b"{\"type\"")).collect();
    let mut jobs: Vec<_> = cases.iter().map(job).collect();
    let mut forged = jobs[0].clone();
    forged["body"] = json!(STANDARD.encode("{}"));
    jobs.push(forged);
    let Some(mut answers) = ask(&jobs) else { return };
    assert_eq!(answers.pop(), Some(json!(false)), "a forged body");
    for (case, answer) in cases.iter().zip(answers) {
        assert_eq!(answer, json!(true), "{}", case.name());
    }
}

#[test]
fn sendgrid_accepts_what_we_sign_and_what_is_recorded() {
    let mut names = Vec::new();
    let mut jobs = Vec::new();
    let mut ask_of = |name: String, key: &str, headers: &Headers, body: &[u8]| {
        names.push(name);
        jobs.push(
            json!({ "op": "sendgridVerify", "key": key, "headers": object(headers), "body": STANDARD.encode(body) }),
        );
    };
    for source in sources().iter().filter(|source| source.provider.name() == "sendgrid") {
        let key = public_key(source);
        for case in bodies(source) {
            ask_of(case.name(), &key, &case.headers, &case.body);
        }
    }
    let source = source("sendgrid");
    let case = bodies(&source)[0];
    let signed = source.sign(&case.name(), &case.body, source.now);
    ask_of("signed by us".into(), &public_key(&source), &signed.headers, &signed.body);
    ask_of("forged".into(), &public_key(&source), &signed.headers, b"[]\r\n");
    let Some(answers) = ask(&jobs) else { return };
    for (name, answer) in names.iter().zip(answers) {
        assert_eq!(answer, json!(name != "forged"), "{name}");
    }
}

/// The first `public_keys` of a source, as text.
fn public_key(source: &Source) -> String {
    let folder = source.cases[0].path.parent().unwrap();
    let settings: toml::Table = fs::read_to_string(folder.join("source.toml")).unwrap().parse().unwrap();
    settings["public_keys"][0].as_str().unwrap().to_owned()
}
