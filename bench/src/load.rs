//! What is posted: requests as the providers send them, signed, each event unlike any other.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use jiff::Timestamp;
use waypost_providers::{Draft, by_name};

use crate::Failure;

/// Leads the number of an event wherever it stands in a body, so that the receiver can tell what came.
pub(crate) const MARK: &[u8] = b"wpb-";
/// Digits (hexadecimal) of the number after it.
pub(crate) const MARK_DIGITS: usize = 16;

/// The test keys of `fixtures/`: they protect nothing.
pub(crate) const SOURCES: [(&str, &str); 3] = [
    ("resend", include_str!("../../fixtures/resend/source.toml")),
    ("sendgrid", include_str!("../../fixtures/sendgrid/source.toml")),
    ("mailgun", include_str!("../../fixtures/mailgun/source.toml")),
];

/// A mix of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// One event a request, HMAC.
    Resend,
    /// So many events a request, ECDSA.
    SendGrid(u32),
    /// One event a request, HMAC over a token, 1.4 kB.
    Mailgun,
    /// Six Resend, three Mailgun and one SendGrid batch of 50.
    Mixed,
}

impl Load {
    /// The load of the request at this place in the run, and how many events it has.
    fn at(self, place: u64) -> (Self, u32) {
        match (self, place % 10) {
            (Self::SendGrid(events), _) => (self, events),
            (Self::Mixed, 0..6) => (Self::Resend, 1),
            (Self::Mixed, 6..9) => (Self::Mailgun, 1),
            (Self::Mixed, _) => (Self::SendGrid(50), 50),
            (Self::Resend | Self::Mailgun, _) => (self, 1),
        }
    }

    /// More requests a second than any gateway takes on two cores, to make enough of them beforehand.
    pub(crate) fn requests_per_s_max(self) -> u64 {
        match self {
            Self::Resend => 50_000,
            Self::Mailgun => 30_000,
            Self::Mixed => 20_000,
            Self::SendGrid(events) => 300_000 / u64::from(events.max(10)),
        }
    }

    /// How many requests hold at least so many events.
    pub(crate) fn requests_for(self, events: u64) -> u64 {
        match self {
            Self::SendGrid(batch) => events.div_ceil(u64::from(batch)),
            Self::Mixed => events.div_ceil(59) * 10,
            Self::Resend | Self::Mailgun => events,
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resend => f.write_str("resend"),
            Self::SendGrid(events) => write!(f, "sendgrid-{events}"),
            Self::Mailgun => f.write_str("mailgun"),
            Self::Mixed => f.write_str("mixed"),
        }
    }
}

impl FromStr for Load {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match (text, text.strip_prefix("sendgrid-").map(str::parse)) {
            ("resend", _) => Ok(Self::Resend),
            ("mailgun", _) => Ok(Self::Mailgun),
            ("mixed", _) => Ok(Self::Mixed),
            (_, Some(Ok(events))) if events > 0 => Ok(Self::SendGrid(events)),
            _ => Err(format!("no load {text:?}: resend, sendgrid-N, mailgun or mixed").into()),
        }
    }
}

/// Requests, head and body, ready to be written to a socket.
#[derive(Default)]
pub(crate) struct Stock {
    bytes: Vec<u8>,
    requests: Vec<Slot>,
}

/// One request of a stock.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    end: usize,
    /// The number of its first event.
    pub(crate) first: u64,
    /// How many events it has.
    pub(crate) events: u32,
}

impl Stock {
    /// Makes `requests` of them, with events numbered from `first`, to a host and below a path.
    pub(crate) fn make(load: Load, first: u64, requests: u64, to: (&str, &str)) -> Result<Self, Failure> {
        let secrets = SOURCES.map(|(name, _)| secret(name).map(|secret| (name, secret)));
        let secrets: Vec<_> = secrets.into_iter().collect::<Result<_, _>>()?;
        let now = crate::clock::time_of_day();
        let (mut stock, mut number, mut body) = (Self::default(), first, String::new());
        for place in 0..requests {
            let (kind, events) = load.at(place);
            body.clear();
            let source = write_body(&mut body, kind, number, now)?;
            let secret = secrets.iter().find(|(name, _)| *name == source).map_or("", |(_, secret)| secret);
            stock.sign(source, secret, body.as_bytes(), (number, now), to)?;
            stock.requests.push(Slot { end: stock.bytes.len(), first: number, events });
            number += u64::from(events);
        }
        Ok(stock)
    }

    fn sign(
        &mut self,
        source: &str,
        secret: &str,
        body: &[u8],
        (number, now): (u64, Timestamp),
        (host, path): (&str, &str),
    ) -> Result<(), Failure> {
        let mut nonce = [0x77; 16];
        nonce[8..].copy_from_slice(&number.to_be_bytes());
        let provider = by_name(source).ok_or("no such provider")?;
        let signed = provider.sign(Draft { body, secret, now, nonce })?;
        let mut head = format!("POST {path}/{source} HTTP/1.1\r\nhost: {host}\r\n");
        for (name, value) in signed.headers.iter() {
            write!(head, "{name}: {value}\r\n")?;
        }
        write!(head, "content-length: {}\r\n\r\n", signed.body.len())?;
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(&signed.body);
        Ok(())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// One of them, and its bytes.
    pub(crate) fn get(&self, place: usize) -> (Slot, &[u8]) {
        let start = if place == 0 { 0 } else { self.requests[place - 1].end };
        let slot = self.requests[place];
        (slot, &self.bytes[start..slot.end])
    }
}

/// What signs as this source's provider.
pub(crate) fn secret(source: &str) -> Result<String, Failure> {
    Ok(table(source)?.get("secret").and_then(toml::Value::as_str).ok_or("no secret")?.to_owned())
}

/// The keys of this source, by their names in the config file.
pub(crate) fn keys(source: &str) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let lists = table(source)?.into_iter().filter(|(_, value)| value.is_array());
    lists.map(|(name, value)| Ok((name, value.try_into()?))).collect()
}

fn table(source: &str) -> Result<toml::Table, Failure> {
    let (_, text) = SOURCES.into_iter().find(|(name, _)| *name == source).ok_or("no such source")?;
    Ok(text.parse()?)
}

/// One body, and whose it is.
pub(crate) fn body(load: Load, number: u64, now: Timestamp) -> Result<(&'static str, String), Failure> {
    let mut body = String::new();
    let source = write_body(&mut body, load, number, now)?;
    Ok((source, body))
}

/// Writes a body like those of `fixtures/`, with ids of its own; answers whose it is.
fn write_body(body: &mut String, kind: Load, number: u64, now: Timestamp) -> Result<&'static str, fmt::Error> {
    let (low, seconds) = (number & 0xffff_ffff_ffff, now.as_second());
    match kind {
        Load::Resend | Load::Mixed => {
            write!(
                body,
                concat!(
                    r#"{{"type":"email.delivered","created_at":"{now:.3}","data":{{"email_id":"0b9f6c1e-7d1a-4a8e-9a55-{low:012x}","#,
                    r#""message_id":"<0100019c-{number:016x}@send.lanyard.example>","created_at":"{now:.6}","#,
                    r#""from":"Lanyard Billing <billing@send.lanyard.example>","to":["wpb-{number:016x}@customer.example"],"#,
                    r#""subject":"Invoice {number}"}}}}"#
                ),
                now = now,
                low = low,
                number = number
            )?;
            Ok("resend")
        }
        Load::SendGrid(events) => {
            for place in 0..u64::from(events) {
                body.push_str(if place == 0 { "[" } else { ",\r\n" });
                write_sendgrid(body, number + place, seconds)?;
            }
            body.push_str("]\r\n");
            Ok("sendgrid")
        }
        Load::Mailgun => write_mailgun(body, number, seconds).map(|()| "mailgun"),
    }
}

fn write_sendgrid(body: &mut String, number: u64, seconds: i64) -> fmt::Result {
    write!(
        body,
        concat!(
            r#"{{"email":"wpb-{number:016x}@customer.example","timestamp":{seconds},"#,
            r#""smtp-id":"<q9Zk{number:016x}A@geopod-ismtpd-7>","event":"delivered","ip":"198.51.100.17","tls":1,"#,
            r#""response":"250 2.0.0 OK {seconds} ab12-20020a05","category":"invoice","#,
            r#""sg_event_id":"ZGVsaXZlcmVkLTAtOTAwMTEyMi1xOVpr{number:016x}WhFMGJXMW1WZ","#,
            r#""sg_message_id":"q9Zk{number:016x}A.recvd-7c6b9f4d5b-x2k4p-1-69B52A5D-3.0","tenant":"t_88"}}"#
        ),
        number = number,
        seconds = seconds
    )
}

fn write_mailgun(body: &mut String, number: u64, seconds: i64) -> fmt::Result {
    write!(
        body,
        concat!(
            r#"{{"event-data":{{"event":"delivered","id":"Zp0c{number:016x}Qw","timestamp":{seconds}.871204,"log-level":"info","#,
            r#""recipient":"wpb-{number:016x}@customer.example","recipient-domain":"customer.example","recipient-provider":"Other","#,
            r#""envelope":{{"sender":"bounce@mg.lanyard.example","transport":"smtp","targets":"wpb-{number:016x}@customer.example","#,
            r#""sending-ip":"198.51.100.40"}},"flags":{{"is-routed":false,"is-authenticated":true,"is-system-test":false,"#,
            r#""is-test-mode":false}},"delivery-status":{{"code":250,"message":"OK","description":"","attempt-no":1,"#,
            r#""session-seconds":0.512,"mx-host":"mx1.customer.example","tls":true,"utf8":true,"certificate-verified":true}},"#,
            r#""message":{{"headers":{{"to":"wpb-{number:016x}@customer.example","from":"Lanyard Billing <billing@mg.lanyard.example>","#,
            r#""subject":"Invoice {number}","message-id":"20260314092653.{number:016x}@mg.lanyard.example"}},"attachments":[],"#,
            r#""size":9120}},"storage":{{"url":"https://storage-europe-west1.api.mailgun.net/v3/domains/mg.lanyard.example/messages/BAAA","#,
            r#""key":"BAAA","region":"europe-west1","env":"production"}},"tags":["invoice"],"campaigns":[],"#,
            r#""user-variables":{{"tenant":"t_88","order_id":"{number}"}},"account":{{"id":"5f00aa11bb22cc33dd44ee55"}},"#,
            r#""domain":{{"name":"mg.lanyard.example"}}}}}}"#
        ),
        number = number,
        seconds = seconds
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use memchr::memmem;
    use waypost_providers::{Headers, Keys, Parsed, Request};

    use super::*;

    /// The events of a stock's request, after its signature was verified.
    fn events(request: &[u8], source: &str) -> Vec<Parsed> {
        let end = memmem::find(request, b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&request[..end]).unwrap();
        assert!(head.starts_with(&format!("POST /in/{source} HTTP/1.1\r\n")), "{head}");
        let headers: Headers = head.lines().skip(1).map(|line| line.split_once(": ").unwrap()).collect();
        let body = Bytes::copy_from_slice(&request[end + 4..]);
        let keys = keys(source).unwrap();
        let provider = by_name(source).unwrap();
        let now = crate::clock::time_of_day();
        let request = Request { source: source.into(), received_at: now, headers, body };
        provider.parse(&provider.verify(request, &Keys::read(provider, &keys).unwrap(), now).unwrap())
    }

    #[test]
    fn what_is_posted_is_signed_and_each_event_is_unlike_any_other() {
        for (load, source, batch) in [("resend", "resend", 1), ("sendgrid-3", "sendgrid", 3), ("mailgun", "mailgun", 1)]
        {
            let stock = Stock::make(load.parse().unwrap(), 5, 4, ("localhost", "/in")).unwrap();
            let mut seen = Vec::new();
            for place in 0..stock.len() {
                let (slot, request) = stock.get(place);
                assert_eq!((slot.first, slot.events), (5 + place as u64 * batch, batch as u32));
                for parsed in events(request, source) {
                    let Parsed::Event(found) = parsed else { panic!("{parsed:?}") };
                    let number = 5 + seen.len() as u64 / 2;
                    let told = serde_json::to_string(&found.event).unwrap();
                    assert!(told.contains(&format!("\"to\":\"wpb-{number:016x}@customer.example\"")), "{told}");
                    seen.extend([found.identity, found.event.data.id.unwrap()]);
                }
            }
            assert_eq!(seen.len() as u64, 8 * batch);
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len() as u64, 8 * batch);
        }
    }

    #[test]
    fn loads_have_names() {
        for name in ["resend", "sendgrid-1", "sendgrid-1000", "mailgun", "mixed"] {
            assert_eq!(name.parse::<Load>().unwrap().to_string(), name);
        }
        assert!("sendgrid-0".parse::<Load>().is_err());
    }
}
