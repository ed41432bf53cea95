//! How often wrong API keys may be tried: a token bucket for each client, in a table that nobody can make grow.
//!
//! Who has run out of tries is refused whatever the key, so that a right one is not told from a wrong one. But a key that
//! was right at an address before goes on being good there: whoever shares that address cannot lock it out.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::target::Networks;

/// How many wrong keys a client may try at once.
pub const TRIES: u32 = 20;
/// After so long it has one try more.
const EVERY: Duration = Duration::from_secs(3);
/// How many buckets there are. Clients that meet in one share it, and nobody can choose whom to meet.
const BUCKETS: usize = 8_192;
/// At how many addresses a key is remembered to have been right; the earliest is forgotten first.
const ADDRESSES: usize = 32;

/// Who asks, as tries are counted: an IPv4 address, or the 64 leading bits of an IPv6 one, for whoever has one has all of
/// those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(IpAddr);

impl Client {
    /// The one at `peer`; or, where that is a proxy that is trusted, the one that it says it calls for. `forwarded` are the
    /// entries of `X-Forwarded-For`, the last first: the last that no trusted proxy has is the client.
    pub fn of<'a>(peer: IpAddr, forwarded: impl Iterator<Item = &'a str>, trusted: &Networks) -> Self {
        let mut address = peer;
        for entry in forwarded {
            // What was written before was written by whoever is not trusted.
            let Some(before) = read(entry).filter(|_| trusted.contain(address)) else { break };
            address = before;
        }
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address => address,
        })
    }
}

/// An address, also with a port.
fn read(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    entry.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))
}

/// What is to be said of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good.
    Right,
    /// It is not, and that was one try.
    Wrong,
    /// Not for so long.
    Wait(Duration),
}

/// The buckets, and where each key was right. Times are of a clock that never steps.
#[derive(Debug)]
pub struct Guesses {
    /// When each bucket will be full again.
    full_at: Vec<Duration>,
    place: RandomState,
    right: BTreeMap<String, VecDeque<Client>>,
}

impl Guesses {
    /// Nobody has tried any. `place` is a random choice of who meets whom.
    pub fn new(place: RandomState) -> Self {
        Self { full_at: vec![Duration::ZERO; BUCKETS], place, right: BTreeMap::new() }
    }

    /// Judges a key that a client sent; `right` is the name of the one that it is, if it is one.
    pub fn judge(&mut self, client: Client, right: Option<&str>, elapsed: Duration) -> Verdict {
        let known = right.and_then(|name| self.right.get(name));
        if known.is_some_and(|clients| clients.contains(&client)) {
            return Verdict::Right;
        }
        let place = self.place.hash_one(client) as usize % BUCKETS;
        let full_at = self.full_at[place].max(elapsed);
        let wait = (full_at + EVERY).saturating_sub(elapsed + EVERY * TRIES);
        if !wait.is_zero() {
            return Verdict::Wait(wait);
        }
        let Some(name) = right else {
            self.full_at[place] = full_at + EVERY;
            return Verdict::Wrong;
        };
        let clients = self.right.entry(name.to_owned()).or_default();
        clients.truncate(ADDRESSES - 1);
        clients.push_front(client);
        Verdict::Right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str) -> Client {
        Client::of(peer.parse().unwrap(), std::iter::empty(), &Networks::default())
    }

    fn at(second: u64) -> Duration {
        Duration::from_secs(1_000 + second)
    }

    #[test]
    fn tries_run_out_and_come_back_one_by_one() {
        let (mut guesses, one) = (Guesses::new(RandomState::new()), client("198.51.100.7"));
        for _ in 0..TRIES {
            assert_eq!(guesses.judge(one, None, at(0)), Verdict::Wrong);
        }
        assert_eq!(guesses.judge(one, None, at(0)), Verdict::Wait(EVERY));
        assert_eq!(guesses.judge(one, None, at(1)), Verdict::Wait(Duration::from_secs(2)), "refusals cost nothing");
        assert_eq!(guesses.judge(one, None, at(3)), Verdict::Wrong);
        assert_eq!(guesses.judge(one, None, at(3)), Verdict::Wait(EVERY));
        let others =
            (0..50).filter(|last| guesses.judge(client(&format!("203.0.113.{last}")), None, at(0)) == Verdict::Wrong);
        assert!(others.count() >= 49, "others have tries of their own");
    }

    #[test]
    fn a_right_key_is_locked_out_only_where_it_was_never_right() {
        let (mut guesses, here, there) =
            (Guesses::new(RandomState::new()), client("198.51.100.7"), client("198.51.100.8"));
        assert_eq!(guesses.judge(here, Some("ops"), at(0)), Verdict::Right);
        while guesses.judge(here, None, at(0)) == Verdict::Wrong {}
        assert_eq!(guesses.judge(here, Some("ops"), at(0)), Verdict::Right);
        assert_eq!(guesses.judge(here, Some("bi"), at(0)), Verdict::Wait(EVERY), "it could be the guess that hits");
        assert_eq!(guesses.judge(here, Some("bi"), at(3)), Verdict::Right);
        assert_eq!(guesses.judge(there, Some("bi"), at(0)), Verdict::Right);
    }

    #[test]
    fn it_takes_bounded_room() {
        let mut guesses = Guesses::new(RandomState::new());
        for number in 0..20_000_u32 {
            let client = client(&std::net::Ipv4Addr::from_bits(number).to_string());
            guesses.judge(client, None, at(0));
            guesses.judge(client, Some("ops"), at(0));
        }
        assert_eq!((guesses.full_at.len(), guesses.right["ops"].len()), (BUCKETS, ADDRESSES));
    }

    #[test]
    fn a_client_is_an_address_or_half_of_one() {
        assert_eq!(client("2001:db8:1:2::7"), client("2001:db8:1:2:ffff::"));
        assert_ne!(client("2001:db8:1:2::7"), client("2001:db8:1:3::7"));
        assert_eq!(client("::ffff:198.51.100.7"), client("198.51.100.7"));
        assert_ne!(client("198.51.100.7"), client("198.51.100.8"));
    }

    #[test]
    fn who_is_forwarded_counts_only_behind_a_proxy_that_is_trusted() {
        let trusted = Networks::parse(&["10.0.0.0/8", "fd00::/8"]).unwrap();
        let of = |peer: &str, header: &str| Client::of(peer.parse().unwrap(), header.rsplit(','), &trusted);
        let (a, b) = ("198.51.100.7", "203.0.113.9");
        assert_eq!(of(a, b), client(a), "anybody can write the header");
        assert_eq!(of("10.0.0.1", a), client(a));
        assert_eq!(of("::ffff:10.0.0.1", &format!("{b}, {a}")), client(a), "what the client wrote itself");
        assert_eq!(of("10.0.0.1", &format!("{b}, {a}, fd00::1, 10.0.0.2")), client(a));
        for same in ["", "unknown", "10.0.0.1"] {
            assert_eq!(of("10.0.0.1", same), client("10.0.0.1"), "{same}");
        }
        assert_eq!(of("10.0.0.1", &format!("{a}:4711")), client(a));
        assert_eq!(of("10.0.0.1", "[2001:db8::1]:4711"), client("2001:db8::"));
    }
}
