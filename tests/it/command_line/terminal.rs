//! What a person sees: tables, and nothing that a terminal obeys but what the program means.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::command;
use crate::gateway::{Gateway, Poster};

/// What a command prints to a terminal.
fn seen(gateway: &Gateway, arguments: &[&str]) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let open = || Stdio::from(File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap());
    // One end stays open here until all that was written is read.
    let mut process = {
        let mut command = command(gateway, arguments);
        command.stdin(Stdio::null()).stdout(open()).stderr(open()).spawn().unwrap()
    };
    let reader = std::thread::spawn(move || {
        let (mut terminal, mut bytes, mut part) = (File::from(terminal), Vec::new(), [0; 4096]);
        // When nobody has the other end any more, reading it is an error.
        while let Ok(len @ 1..) = terminal.read(&mut part) {
            bytes.extend_from_slice(&part[..len]);
        }
        bytes
    });
    assert!(process.wait().unwrap().success());
    String::from_utf8(reader.join().unwrap()).unwrap().replace("\r\n", "\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_line_up_and_no_sender_writes_to_the_terminal() {
    let mut gateway =
        Gateway::serving("embedded", &crate::gateway::endpoint("wh_a", "http://127.0.0.1:9/", "active = false\n"));
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    let body = r#"{"type":"email.bounced","created_at":"2026-03-14T09:27:01.044Z","data":{"email_id":"1","to":["n@customer.example"],"subject":"\u001b]0;owned\u0007\u009b2J\u202ehi","bounce":{"type":"Permanent"}}}"#;
    assert_eq!(poster.post(&gateway.url("resend"), poster.sign("resend", body, [1; 16])).await, Some(200));
    let table = seen(&gateway, &["events", "list"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    for (head, cell) in [("TYPE", "email.bounced"), ("SOURCE", "resend"), ("ABOUT", "n@customer.example")] {
        assert_eq!(lines[0].find(head), lines[1].find(cell), "{table}");
    }
    assert!(table.contains(r"\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}hi"), "{table}");
    let id = lines[1].split(' ').next().unwrap();
    for arguments in [
        &["events", "show", id][..],
        &["events", "list", "--json"],
        &["events", "raw", id],
        &["events", "raw", id, "--body"],
    ] {
        let told = seen(&gateway, arguments);
        assert!(told.contains("owned") && !told.chars().any(|one| one.is_control() && one != '\n'), "{told:?}");
        assert!(!told.contains('\u{202e}'), "{told:?}");
    }
    let json: serde_json::Value = serde_json::from_str(&seen(&gateway, &["events", "show", id, "--json"])).unwrap();
    assert_eq!(json["data"]["subject"], "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}hi");

    let endpoints = seen(&gateway, &["endpoints", "list"]);
    let row = endpoints.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(row, "wh_a file no: operator drin * http://127.0.0.1:9/", "{endpoints}");
    assert_eq!(seen(&gateway, &["deliveries", "list", "--status", "failed"]), "none\n");
    let checked = seen(&gateway, &["suppressions", "check", "n@customer.example", "free@customer.example"]);
    assert!(checked.starts_with("ADDRESS") && checked.contains("yes") && checked.contains("bounce ("), "{checked}");
    for number in 0..2 {
        assert_eq!(poster.sendgrid(&gateway.url("sendgrid"), number).await.1, Some(200));
    }
    assert!(seen(&gateway, &["events", "list"]).ends_with("there are more: --limit N shows N, --all shows all\n"));
    assert!(seen(&gateway, &["sources"]).starts_with("NAME"), "sources");
}
