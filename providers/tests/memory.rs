//! What a mail of 30 MiB takes beside its own body: measured as the most memory that a process of its own has had.
//!
//! Linux tells that; elsewhere there is nothing to be measured.
#![cfg(target_os = "linux")]

use std::process::Command;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::json;
use waypost_providers::{Headers, Part, Request};

use crate::cases::source;

const MIB: usize = 1024 * 1024;
const BODY_LEN: usize = 30 * MIB;
const BOUNDARY: &str = "=_of-the-test";
/// What reading it may take: no copy of it, but for one that is url-encoded, and something to read with.
const EXTRA_KIB_MAX: usize = 2 * 1024;

/// Name, provider, and whether the mail comes as it was sent, url-encoded.
const MAILS: [(&str, &str, bool); 6] = [
    ("parsed", "sendgrid-inbound", false),
    ("raw", "sendgrid-inbound", false),
    ("forward", "mailgun-inbound", false),
    ("mime", "mailgun-inbound", false),
    ("mime", "mailgun-inbound", true),
    ("attached", "postmark-inbound", false),
];

fn part(body: &mut Vec<u8>, head: &str, value: &[u8]) {
    body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n").bytes());
    body.extend(value);
    body.extend(b"\r\n");
}

/// A mail with one attachment, which is nearly all of it.
fn body(name: &str, is_url_encoded: bool) -> Vec<u8> {
    let base64 = STANDARD.encode(vec![0x5a; BODY_LEN / 4 * 3]);
    let mail =
        format!("Message-ID: <a@b.example>\r\nContent-Transfer-Encoding: base64\r\nContent-Type: a/b\r\n\r\n{base64}");
    let mut body = Vec::with_capacity(BODY_LEN + MIB);
    match name {
        "attached" => {
            // Escaped slashes make it as long as the others.
            let base64 = STANDARD.encode(vec![0xff; BODY_LEN / 8 * 3]);
            let attached = json!([{ "Name": "a", "Content": base64 }]);
            let body = json!({ "MessageID": "a", "OriginalRecipient": "a@b.example", "Attachments": attached });
            return body.to_string().replace('/', "\\/").into();
        }
        "mime" if is_url_encoded => {
            body.extend(b"recipient=a%40b.example&body-mime=");
            body.extend(form_urlencoded::byte_serialize(mail.as_bytes()).flat_map(str::bytes));
            return body;
        }
        "mime" => part(&mut body, "name=\"body-mime\"", mail.as_bytes()),
        "raw" => part(&mut body, "name=\"email\"", mail.as_bytes()),
        "parsed" => part(&mut body, "name=\"attachment1\"; filename=a", base64.as_bytes()),
        _ => part(&mut body, "name=\"attachment-1\"; filename=a", base64.as_bytes()),
    }
    part(&mut body, "name=\"recipient\"", b"a@b.example");
    part(&mut body, "name=\"to\"", b"a@b.example");
    part(&mut body, "name=\"from\"", b"c@d.example");
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

/// In KiB: `VmRSS` is what it has now, `VmHWM` the most that it has had since that was last forgotten.
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches([':', '\t', ' ']).split(' ').next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "the test below runs it, once for each mail, in a process of its own"]
fn one_is_measured() {
    let (name, provider, is_url_encoded) = MAILS[std::env::var("MAIL").unwrap().parse::<usize>().unwrap()];
    let source = source(provider);
    let signed = source.sign(name, &body(name, is_url_encoded), source.now);
    let body = Bytes::from(signed.body.to_vec().into_boxed_slice());
    let headers: Headers = signed.headers.iter().collect();
    drop(signed.body);
    let request = Request { source: "memory".into(), received_at: source.now, headers, body };
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");

    let verified = source.proof.verify(source.provider, request, source.now).unwrap();
    let parsed = source.provider.parse(&verified);
    let told = serde_json::to_string(&parsed).unwrap();
    let read = memory("VmHWM");
    assert!(told.contains("attachments/0"), "{told}");
    drop(parsed);

    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let between = memory("VmRSS");
    let content = source.provider.content(verified.request(), Part::Attachment(0)).unwrap();
    let served = memory("VmHWM");
    println!("measured: {} {} {}", read - before, served - between, content.bytes.len() / 1024);
}

#[test]
fn a_long_mail_takes_about_its_own_length() {
    for (n, (name, provider, is_url_encoded)) in MAILS.into_iter().enumerate() {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "memory::one_is_measured", "--ignored", "--nocapture"]).env("MAIL", n.to_string());
        // The allocator gives back at once what is freed, so that nothing is taken from what the test itself had.
        test.env("MALLOC_MMAP_THRESHOLD_", "65536").env("MALLOC_TRIM_THRESHOLD_", "65536");
        let output = test.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = String::from_utf8(output.stdout).unwrap();
        let told = output.lines().find_map(|line| line.split_once("measured: ")).unwrap().1;
        let kib: Vec<usize> = told.split(' ').map(|number| number.parse().unwrap()).collect();
        let (read, served, content) = (kib[0], kib[1], kib[2]);
        println!("{provider} {name} url-encoded: {is_url_encoded}: {read} KiB to read it, {served} to serve {content}");
        let most = EXTRA_KIB_MAX + if is_url_encoded { BODY_LEN / 1024 } else { 0 };
        assert!(read <= most, "{provider} {name}: {read} KiB to read it");
        assert!(served <= most + content, "{provider} {name}: {served} KiB to serve {content}");
    }
}
