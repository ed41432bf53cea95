//! The smaller commands, as processes.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use waypost::clock::{Clock, SystemClock};
use waypost::domain::endpoint::Scheme;
use waypost::domain::header::BODY_SIGNATURE;
use waypost::outbound::sign::{Secret, sign};
use waypost_providers::Signed;

use crate::tidy::root;
use crate::wire;

const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

const PRINTED_WITHIN: Duration = Duration::from_secs(20);

/// Killed when dropped.
struct Listener(Child);

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn listen_believes_either_secret_and_either_scheme_and_says_why_it_refuses() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
    command
        .args(["listen", "--port", "0", "--signature-header", "X-Mine"])
        .env("WAYPOST_SECRET", OLD)
        .stdout(Stdio::piped());
    let mut listener = Listener(command.spawn().unwrap());
    let output = BufReader::new(listener.0.stdout.take().unwrap());
    let (printed, lines) = mpsc::channel();
    // A thread of its own, so that a line that never comes ends the test.
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| printed.send(line)));
    let line = || lines.recv_timeout(PRINTED_WITHIN).unwrap();
    let port = line().rsplit(':').next().unwrap().parse().unwrap();
    let cases: [(&[Scheme], &[&str], u16, &str); 7] = [
        (&[Scheme::Drin, Scheme::Standard], &[NEW, OLD], 200, "evt_1 attempt 3 {}"),
        (&[Scheme::Drin], &[OLD], 200, "evt_1 attempt 3 {}"),
        (&[Scheme::Standard], &[OLD], 200, "evt_1 attempt 3 {}"),
        (&[Scheme::Drin], &[NEW], 401, "evt_1 attempt 3 refused, Drin-Signature is wrong: {}"),
        (&[], &[], 401, "evt_1 attempt 3 refused, no signature is there: {}"),
        (&[Scheme::Sha256], &[OLD], 200, "evt_1 attempt 3 {}"),
        (&[Scheme::Hex], &[NEW], 401, "evt_1 attempt 3 refused, x-mine is wrong: {}"),
    ];
    for (schemes, secrets, status, printed) in cases {
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::parse(secret).unwrap()).collect();
        let mut headers = sign(schemes, &secrets, "evt_1", SystemClock::new().now(), b"{}");
        headers.retain(|(name, _)| *name != "webhook-id");
        headers.iter_mut().filter(|(name, _)| *name == BODY_SIGNATURE).for_each(|(name, _)| *name = "X-Mine");
        headers.extend([("webhook-id", "evt_1".to_owned()), ("waypost-attempt", "3".to_owned())]);
        let signed = Signed { headers: headers.into_iter().collect(), body: "{}".into() };
        let reply = wire::exchange(port, &wire::post("/", &signed)).await.unwrap();
        assert_eq!(reply.status, status, "{printed}");
        assert_eq!(line(), printed);
    }
}

#[test]
fn a_variable_that_is_not_utf8_stops_no_command() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("waypost.toml");
    std::fs::write(&config, "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
    command.arg("check").arg(&config).current_dir(root());
    let odd = OsString::from_vec(b"hunter2\xff".to_vec());
    let output = command.env("SOMEBODY_ELSES", &odd).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = command.env("WAYPOST__SERVER__LISTEN", &odd).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("WAYPOST__SERVER__LISTEN: is not UTF-8"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn check_tells_public_keys_and_what_is_left_out_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("waypost.toml");
    let private = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=";
    let endpoint = format!(
        "[[endpoints]]\nid = 'wh_a'\nurl = 'https://a.example/'\nsecrets = ['a secret in plain text', '{private}']\n"
    );
    std::fs::write(&config, endpoint).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_waypost")).arg("check").arg(&config).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let public = Secret::parse(private).unwrap().public_key().unwrap();
    for expected in ["drin signed drin, ed25519", "left out: standard", &format!("public key: {public}")] {
        assert!(told.contains(expected), "{told}");
    }
    assert!(!told.contains("plain text") && !told.contains("whsk_"), "{told}");
}
