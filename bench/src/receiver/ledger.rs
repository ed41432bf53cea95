//! What came: when each event first reached each endpoint, and what came twice.

use std::path::Path;

use aws_lc_rs::hmac;
use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::load::{MARK, MARK_DIGITS};

/// One of so many deliveries has its signature checked.
const VERIFY_EVERY: u64 = 64;
/// The secret of every endpoint.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Events are numbered from zero; a number beyond this is none of ours.
const NUMBER_MAX: u64 = 100_000_000;

/// Counts, as the parent asks for them.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Deliveries accepted for the first time.
    pub(crate) delivered: u64,
    /// Deliveries accepted again.
    pub(crate) duplicates: u64,
    /// Deliveries refused, as asked for.
    pub(crate) refused: u64,
    /// Requests that held none of our events.
    pub(crate) strangers: u64,
    /// Signatures checked.
    pub(crate) verified: u64,
    /// Signatures that were wrong.
    pub(crate) forged: u64,
}

/// All that came.
pub(crate) struct Ledger {
    key: hmac::Key,
    /// By endpoint, then by event: when it first came; zero if it did not.
    times: Vec<Vec<u64>>,
    seen: u64,
    pub(crate) counts: Counts,
}

impl Ledger {
    /// An empty one.
    pub(crate) fn new(endpoints: usize) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        Self { key, times: vec![Vec::new(); endpoints], seen: 0, counts: Counts::default() }
    }

    /// Notes one accepted delivery.
    pub(crate) fn note(&mut self, endpoint: usize, head: &[u8], body: &[u8], at: u64) {
        self.seen += 1;
        if self.seen.is_multiple_of(VERIFY_EVERY) {
            self.counts.verified += 1;
            self.counts.forged += u64::from(!self.is_signed(head, body).unwrap_or(false));
        }
        let Some(number) = number(body) else {
            self.counts.strangers += 1;
            return;
        };
        let times = &mut self.times[endpoint];
        let place = number as usize;
        if times.len() <= place {
            times.resize((place + 1).next_power_of_two(), 0);
        }
        if times[place] == 0 {
            times[place] = at;
            self.counts.delivered += 1;
        } else {
            self.counts.duplicates += 1;
        }
    }

    /// `Drin-Signature: t=…,v1=…`, over `t.body`.
    fn is_signed(&self, head: &[u8], body: &[u8]) -> Option<bool> {
        let mut lines = head.split(|byte| *byte == b'\n');
        let value = lines.find_map(|line| crate::generator::value(line, b"drin-signature:"))?;
        let (seconds, mac) = std::str::from_utf8(value).ok()?.trim().strip_prefix("t=")?.split_once(",v1=")?;
        let signed = [seconds.as_bytes(), b".", body].concat();
        Some(hmac::verify(&self.key, &signed, &hex::decode(mac).ok()?).is_ok())
    }

    /// Writes the times of one endpoint to a file.
    pub(crate) fn dump(&self, endpoint: usize, path: &Path) -> Result<(), Failure> {
        let times = self.times.get(endpoint).ok_or("no such endpoint")?;
        Ok(std::fs::write(path, times.iter().flat_map(|time| time.to_le_bytes()).collect::<Vec<u8>>())?)
    }
}

/// The number of the event in a body.
fn number(body: &[u8]) -> Option<u64> {
    let start = memmem::find(body, MARK)? + MARK.len();
    let digits = std::str::from_utf8(body.get(start..start + MARK_DIGITS)?).ok()?;
    u64::from_str_radix(digits, 16).ok().filter(|number| *number < NUMBER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(bodies: &[&str]) -> Ledger {
        let mut ledger = Ledger::new(1);
        bodies.iter().for_each(|body| ledger.note(0, b"", body.as_bytes(), 7));
        ledger
    }

    #[test]
    fn what_comes_twice_and_what_is_not_ours_is_told_apart() {
        let ledger = ledger(&["..wpb-000000000000000a@", "..wpb-000000000000000b@", "..wpb-000000000000000a@", "{}"]);
        let Counts { delivered, duplicates, strangers, .. } = ledger.counts;
        assert_eq!((delivered, duplicates, strangers), (2, 1, 1));
        assert_eq!(ledger.times[0][9..13], [0, 7, 7, 0]);
    }

    #[test]
    fn a_wrong_signature_is_seen() {
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), b"12.{}");
        let head = format!("POST / HTTP/1.1\r\nDrin-Signature: t=12,v1={}\r\n", hex::encode(mac));
        let ledger = ledger(&[]);
        assert_eq!(ledger.is_signed(head.as_bytes(), b"{}"), Some(true));
        assert_eq!(ledger.is_signed(head.as_bytes(), b"[]"), Some(false));
        assert_eq!(ledger.is_signed(b"POST / HTTP/1.1\r\n", b"{}"), None);
    }
}
