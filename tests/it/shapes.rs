//! A mail in the shape of each provider that posts received mail, and the sources that it proves itself at.

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use waypost::clock::{Clock, SystemClock};
use waypost_providers::{Draft, Headers, Login, PROVIDERS, Proof, Provider, Signed, by_name};

/// How one provider writes a mail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// Its provider, and the source of that.
    pub(crate) provider: &'static str,
    /// The body of a mail with this id and this attachment, which is base64.
    body: fn(&str, &str) -> String,
}

/// One at least for each provider of received mail.
pub(crate) const SHAPES: [Shape; 4] = [
    Shape { name: "Postmark, JSON", provider: "postmark-inbound", body: json },
    Shape { name: "SendGrid, multipart", provider: "sendgrid-inbound", body: sendgrid },
    Shape { name: "Mailgun, multipart", provider: "mailgun-inbound", body: mailgun },
    Shape { name: "Mailgun, url-encoded", provider: "mailgun-inbound", body: url_encoded },
];

impl Shape {
    pub(crate) fn path(&self) -> String {
        format!("/in/{}", self.provider)
    }

    pub(crate) fn body(&self, id: &str, attachment: &str) -> String {
        (self.body)(id, attachment)
    }

    /// A mail that proves itself.
    pub(crate) fn mail(&self, id: &str, attachment: &str) -> Signed {
        signed(self.provider, &self.body(id, attachment), &secret(self.provider))
    }
}

/// This body as its provider posts it, with this secret.
pub(crate) fn signed(provider: &str, body: &str, secret: &str) -> Signed {
    let provider = by_name(provider).unwrap();
    let now: Timestamp = SystemClock::new().now();
    let draft = Draft { body: body.as_bytes(), secret, now, nonce: nonce(body) };
    match fixture(provider).contains_key("logins") {
        true => Proof::Basic(Vec::<Login>::new()).sign(provider, provider.name(), draft).unwrap(),
        false => provider.sign(draft).unwrap(),
    }
}

/// No two mails have the same token.
fn nonce(body: &str) -> [u8; 16] {
    xxhash_rust::xxh3::xxh3_128(body.as_bytes()).to_be_bytes()
}

/// The same without what proves it.
pub(crate) fn unproven(signed: &Signed) -> Signed {
    let content_type = signed.headers.get("content-type").unwrap();
    let headers: Headers = [("content-type", content_type)].into_iter().collect();
    Signed { headers, ..signed.clone() }
}

/// The secret of a provider's test source.
pub(crate) fn secret(provider: &str) -> String {
    fixture(by_name(provider).unwrap())["secret"].as_str().unwrap().to_owned()
}

fn fixture(provider: &dyn Provider) -> toml::Table {
    provider.samples().source.parse().unwrap()
}

/// A source of each provider of received mail, under its name, for a config.
pub(crate) fn sources() -> String {
    let of_mail = PROVIDERS.iter().filter(|provider| provider.name().ends_with("-inbound"));
    let source = |provider: &&dyn Provider| {
        let keys = ["provider =", "verify =", "logins =", "public_keys =", "signing_keys ="];
        let lines = provider.samples().source.lines().filter(|line| keys.iter().any(|key| line.starts_with(key)));
        format!("[sources.{}]\n{}\n", provider.name(), lines.collect::<Vec<_>>().join("\n"))
    };
    of_mail.map(source).collect()
}

fn json(id: &str, attachment: &str) -> String {
    format!(
        r#"{{"MessageID":"{id}","From":"nora@customer.example","OriginalRecipient":"in@lanyard.example","TextBody":"Hello","Attachments":[{{"Name":"a.pdf","Content":"{attachment}","ContentType":"application/pdf"}}]}}"#
    )
}

const BOUNDARY: &str = "xYzZY";

fn multipart(fields: &[(&str, &str)], file: &str, content: &str) -> String {
    let mut body = String::with_capacity(content.len() + 2_000);
    for (name, value) in fields {
        body += &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{file}\"; filename=\"a.pdf\"\r\n");
    body += "Content-Type: application/pdf\r\n\r\n";
    body += content;
    body + &format!("\r\n--{BOUNDARY}--\r\n")
}

fn sendgrid(id: &str, attachment: &str) -> String {
    let headers = format!("Message-ID: <{id}@customer.example>\r\nFrom: nora@customer.example\r\n");
    let envelope = r#"{"to":["in@lanyard.example"],"from":"nora@customer.example"}"#;
    let fields = [("headers", headers.as_str()), ("envelope", envelope), ("text", "Hello"), ("attachments", "1")];
    multipart(&fields, "attachment1", attachment)
}

fn mailgun(id: &str, attachment: &str) -> String {
    let headers = format!(r#"[["Message-Id","<{id}@customer.example>"],["From","nora@customer.example"]]"#);
    let fields = [
        ("recipient", "in@lanyard.example"),
        ("sender", "nora@customer.example"),
        ("body-plain", "Hello"),
        ("message-headers", &headers),
        ("attachment-count", "1"),
    ];
    multipart(&fields, "attachment-1", attachment)
}

/// The mail as it was sent, with lines of 76 characters.
fn url_encoded(id: &str, attachment: &str) -> String {
    let head = format!(
        "Message-ID: <{id}@customer.example>\r\nFrom: nora@customer.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nHello\r\n\
         --b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    );
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut body =
        format!("recipient=in%40lanyard.example&sender=nora%40customer.example&body-mime={}", encoded(&head));
    for line in attachment.as_bytes().chunks(76) {
        body += &encoded(std::str::from_utf8(line).unwrap());
        body += "%0D%0A";
    }
    body + &encoded("--b--\r\n")
}
