//! Where a delivery may go: which URLs, and which addresses behind them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::{Authority, Scheme};

/// Networks that may be called although the rules refuse them (`delivery.allow_networks`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Cidr>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cidr {
    base: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network; write an address, `/` and the number of leading bits, with the other bits 0: 10.0.0.0/8")]
pub struct BadNetwork(pub String);

/// Why something may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not an absolute URL with a host.
    #[error("is no absolute `https` URL")]
    Url,
    /// Another scheme, or plain `http` outside the networks that are allowed.
    #[error("must be `https`; plain `http` is for `delivery.allow_networks` only")]
    Scheme,
    /// A user name or password in it.
    #[error("must not hold a user name or password")]
    Userinfo,
    /// An address that may not be called.
    #[error("leads to a {0} address; `delivery.allow_networks` can open exceptions")]
    Address(&'static str),
}

/// What an IPv4 address belongs to, if it may not be called (IANA special-purpose registry, and Azure's metadata).
const REFUSED_V4: [(Ipv4Addr, u8, &str); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "unspecified"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "carrier-grade NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "metadata"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmark"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// The same for IPv6; the first that matches counts. What is outside `2000::/3` is refused by the last row but one.
const REFUSED_V6: [(Ipv6Addr, u8, &str); 13] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "private"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, "benchmark"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 3, "reserved"),
    (Ipv6Addr::new(0x4000, 0, 0, 0, 0, 0, 0, 0), 2, "reserved"),
    (Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0), 1, "reserved"),
];

impl Networks {
    /// Reads networks such as `10.0.0.0/8`, `fd00::/8` or a single address.
    ///
    /// # Errors
    /// Names the first text that is none.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, BadNetwork> {
        let one = |text: &T| Cidr::parse(text.as_ref()).ok_or_else(|| BadNetwork(text.as_ref().to_owned()));
        texts.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an address lies in one of them; a v4-mapped address counts as the IPv4 address it is.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|cidr| cidr.contains(address))
    }
}

impl Cidr {
    fn parse(text: &str) -> Option<Self> {
        let (base, prefix) = text.split_once('/').map_or((text, None), |(base, prefix)| (base, Some(prefix)));
        let base: IpAddr = base.parse().ok()?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(width), |prefix| prefix.parse().ok())?;
        let cidr = Self { base, prefix };
        let only_leading_bits = prefix <= width && masked(bits(base), prefix, width) == bits(base);
        only_leading_bits.then_some(cidr)
    }

    fn contains(&self, address: IpAddr) -> bool {
        let width = if self.base.is_ipv4() { 32 } else { 128 };
        self.base.is_ipv4() == address.is_ipv4() && masked(bits(address), self.prefix, width) == bits(self.base)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The first `prefix` of `width` bits, the others 0.
fn masked(bits: u128, prefix: u8, width: u8) -> u128 {
    let shift = u32::from(width - prefix);
    bits.checked_shr(shift).and_then(|bits| bits.checked_shl(shift)).unwrap_or_default()
}

/// Whether an endpoint may have this URL. A name is not resolved here: its addresses are checked when it is called.
///
/// # Errors
/// Says why it may not.
pub fn check_url(url: &str, networks: &Networks) -> Result<(), TargetError> {
    check_uri(&url.parse().map_err(|_| TargetError::Url)?, networks)
}

/// [`check_url`] for a URL that has been read.
///
/// # Errors
/// Says why it may not be called.
pub fn check_uri(uri: &Uri, networks: &Networks) -> Result<(), TargetError> {
    let authority = uri.authority().ok_or(TargetError::Url)?;
    let is_plain = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => false,
        Some(scheme) if *scheme == Scheme::HTTP => true,
        _ => return Err(TargetError::Scheme),
    };
    if authority.as_str().contains('@') {
        return Err(TargetError::Userinfo);
    }
    check_port(authority)?;
    match host(authority.host())? {
        Some(address) => check_peer(address, is_plain, networks),
        None if is_plain && networks.0.is_empty() => Err(TargetError::Scheme),
        None => Ok(()),
    }
}

/// A port that is none, or 0, is refused: it would be read as no port at all.
fn check_port(authority: &Authority) -> Result<(), TargetError> {
    let behind_host = &authority.as_str()[authority.host().len()..];
    let is_told = !matches!(behind_host, "" | ":");
    if is_told && authority.port_u16().is_none_or(|port| port == 0) { Err(TargetError::Url) } else { Ok(()) }
}

/// The address that a host is, if it is one. A host that ends in a number and is no plain IPv4 address (`127.1`,
/// `0x7f.0.0.1`) is refused: resolvers read it as one. So is one with other characters than those of names: what is
/// percent-encoded may be read as something else further on.
fn host(host: &str) -> Result<Option<IpAddr>, TargetError> {
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        return address.map(|address| Some(address.into())).ok_or(TargetError::Url);
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Some(address.into()));
    }
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x");
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_number || !is_name { Err(TargetError::Url) } else { Ok(None) }
}

/// Whether an address may be connected to, over plain `http` or not.
///
/// # Errors
/// Says why not.
pub fn check_peer(address: IpAddr, is_plain: bool, networks: &Networks) -> Result<(), TargetError> {
    check_address(address, networks)?;
    if is_plain && !networks.contain(address) { Err(TargetError::Scheme) } else { Ok(()) }
}

/// Whether an address may be called.
///
/// # Errors
/// Names what it belongs to.
pub fn check_address(address: IpAddr, networks: &Networks) -> Result<(), TargetError> {
    if networks.contain(address) {
        return Ok(());
    }
    let refused = match address {
        IpAddr::V4(address) => refused_v4(address),
        IpAddr::V6(address) => refused_v6(address),
    };
    refused.map_or(Ok(()), |what| Err(TargetError::Address(what)))
}

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    let belongs = |(base, prefix, _): &&(Ipv4Addr, u8, &str)| {
        masked(u128::from(address.to_bits()), *prefix, 32) == u128::from(base.to_bits())
    };
    REFUSED_V4.iter().find(belongs).map(|(.., what)| *what)
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = embedded(address) {
        return refused_v4(inner);
    }
    let belongs = |(base, prefix, _): &&(Ipv6Addr, u8, &str)| masked(address.to_bits(), *prefix, 128) == base.to_bits();
    REFUSED_V6.iter().find(belongs).map(|(.., what)| *what)
}

/// The IPv4 address that a packet to this one ends at: v4-mapped, 6to4 (RFC 3056), NAT64 (RFC 6052).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(join(high, low))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str) -> Option<&'static str> {
        match check_address(address.parse().unwrap(), &Networks::default()) {
            Ok(()) => None,
            Err(TargetError::Address(what)) => Some(what),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_that_are_not_the_public_internet_are_refused() {
        let table = [
            ("0.0.0.0", "unspecified"),
            ("10.1.2.3", "private"),
            ("100.64.0.1", "carrier-grade NAT"),
            ("100.100.100.200", "carrier-grade NAT"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("168.63.129.16", "metadata"),
            ("169.254.169.254", "link-local"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "reserved"),
            ("192.0.2.1", "documentation"),
            ("192.168.1.1", "private"),
            ("198.19.0.1", "benchmark"),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("224.0.0.1", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::7f00:1", "reserved"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:169.254.169.254", "link-local"),
            ("64:ff9b::10.0.0.1", "private"),
            ("64:ff9b:1::1", "reserved"),
            ("2002:7f00:1::1", "loopback"),
            ("2002:c0a8:101::", "private"),
            ("2001::1", "reserved"),
            ("2001:2::1", "benchmark"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("100::1", "reserved"),
            ("5f00::1", "reserved"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "private"),
            ("ff02::1", "multicast"),
        ];
        for (address, what) in table {
            assert_eq!(refusal(address), Some(what), "{address}");
        }
    }

    #[test]
    fn public_addresses_may_be_called() {
        let table = ["1.1.1.1", "100.63.255.255", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "::ffff:8.8.8.8"];
        for address in table.into_iter().chain(["64:ff9b::8.8.8.8", "2002:808:808::1", "2a00:1450::1"]) {
            assert_eq!(refusal(address), None, "{address}");
        }
    }

    #[test]
    fn urls_are_https_without_credentials_and_without_refused_literals() {
        let none = Networks::default();
        let table = [
            ("https://hooks.example/in?x=1", Ok(())),
            ("https://1.1.1.1:8443/", Ok(())),
            ("https://[2606:4700::1111]/", Ok(())),
            ("http://hooks.example/", Err(TargetError::Scheme)),
            ("http://1.1.1.1/", Err(TargetError::Scheme)),
            ("ftp://hooks.example/", Err(TargetError::Scheme)),
            ("hooks.example/in", Err(TargetError::Url)),
            ("/in", Err(TargetError::Url)),
            ("", Err(TargetError::Url)),
            ("https://user:secret@hooks.example/", Err(TargetError::Userinfo)),
            ("https://127.0.0.1/", Err(TargetError::Address("loopback"))),
            ("https://[::1]/", Err(TargetError::Address("loopback"))),
            ("https://[::ffff:10.0.0.1]/", Err(TargetError::Address("private"))),
            ("https://127.1/", Err(TargetError::Url)),
            ("https://2130706433/", Err(TargetError::Url)),
            ("https://0x7f.0x1/", Err(TargetError::Url)),
            ("https://127.0.0.1./", Err(TargetError::Url)),
            ("https://0177.0.0.1/", Err(TargetError::Url)),
            ("https://017700000001/", Err(TargetError::Url)),
            ("https://0X7F000001/", Err(TargetError::Url)),
            ("https://1.1.1.256/", Err(TargetError::Url)),
            ("https://127.0.0.1%2e/", Err(TargetError::Url)),
            ("https://127%2e0%2e0%2e1/", Err(TargetError::Url)),
            ("https://\u{ff11}27.0.0.1/", Err(TargetError::Url)),
            ("https://b\u{fc}cher.example/", Err(TargetError::Url)),
            ("https://xn--bcher-kva.example/", Ok(())),
            ("https://hooks.example./in", Ok(())),
            ("HTTPS://HOOKS.EXAMPLE/in", Ok(())),
            ("https://hooks.example:/", Ok(())),
            ("https://hooks.example:65535/", Ok(())),
            ("https://hooks.example:65536/", Err(TargetError::Url)),
            ("https://hooks.example:0/", Err(TargetError::Url)),
            ("https://[2606:4700::1111]:0/", Err(TargetError::Url)),
            ("https://hooks.example@10.0.0.1/", Err(TargetError::Userinfo)),
            ("https://10.0.0.1:443/", Err(TargetError::Address("private"))),
            ("https://[::ffff:7f00:1]:8443/", Err(TargetError::Address("loopback"))),
            ("https://[0:0:0:0:0:ffff:169.254.169.254]/", Err(TargetError::Address("link-local"))),
            ("https://[64:ff9b::a9fe:a9fe]/", Err(TargetError::Address("link-local"))),
            ("https://[2002:a00:1::]/", Err(TargetError::Address("private"))),
            ("https://[fe80::1%25eth0]/", Err(TargetError::Url)),
            ("https://[::1/", Err(TargetError::Url)),
            ("//hooks.example/", Err(TargetError::Url)),
            ("https:///in", Err(TargetError::Url)),
        ];
        for (url, expected) in table {
            assert_eq!(check_url(url, &none), expected, "{url}");
        }
    }

    #[test]
    fn an_allowed_network_opens_its_own_addresses_only_and_plain_http_to_them() {
        let networks = Networks::parse(&["10.0.0.0/8", "fd00::/8", "127.0.0.1"]).unwrap();
        let check = |address: &str| check_address(address.parse().unwrap(), &networks).is_ok();
        assert!(check("10.9.9.9") && check("::ffff:10.0.0.1") && check("fd12::1") && check("127.0.0.1"));
        assert!(!check("192.168.0.1") && !check("127.0.0.2") && !check("64:ff9b::10.0.0.1"));
        assert_eq!(check_url("http://10.0.0.1/in", &networks), Ok(()));
        assert_eq!(check_url("http://intranet.example/in", &networks), Ok(()));
        assert_eq!(check_url("http://1.1.1.1/in", &networks), Err(TargetError::Scheme));
    }

    #[test]
    fn a_text_that_is_no_network_is_named() {
        for text in ["10.0.0.1/8", "10.0.0.0/33", "fd00::/129", "intranet", "10.0.0.0/", ""] {
            assert_eq!(Networks::parse(&[text]), Err(BadNetwork(text.to_owned())), "{text}");
        }
        assert!(Networks::parse(&["0.0.0.0/0", "::/0"]).is_ok());
    }
}
