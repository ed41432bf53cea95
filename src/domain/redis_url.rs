//! Where a Redis is: one server, a cluster, or the primary that sentinels name; and who of it is to have a commit before it
//! is acknowledged.

use std::fmt;

use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;

use super::secret::Secret;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// So many servers are named at most, and so many replicas wait for each other.
const HOSTS_MAX: usize = 64;

/// All that is told of a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Where it is.
    pub url: RedisUrl,
    /// The certificate authorities that are trusted; none for the public ones.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Who is to have a commit.
    pub durability: Durability,
}

/// Who is to have a commit before it is acknowledged, beside the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// So many replicas.
    pub replicas: u16,
    /// And that it is synced to the disk of each, and of the primary.
    pub wait_aof: bool,
}

impl Durability {
    /// Whether anything is waited for.
    pub fn waits(self) -> bool {
        self.replicas > 0 || self.wait_aof
    }
}

/// The place of a Redis, and its login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// How a server is found.
    pub topology: Topology,
    /// The server, some of a cluster, or sentinels.
    pub hosts: Vec<Host>,
    /// Whether they speak TLS.
    pub is_tls: bool,
    /// User and password; without a user the one that Redis calls `default`.
    pub login: Option<(Option<String>, Secret)>,
    /// The number of the database.
    pub database: u16,
}

/// How a server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// It is the one that is named.
    One,
    /// The cluster tells which of its servers has what.
    Cluster,
    /// Sentinels tell which is the primary of this name.
    Sentinel(String),
}

/// A server's name or address, and its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    /// Without brackets.
    pub name: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') { write!(f, "[{name}]:{port}") } else { write!(f, "{name}:{port}") }
    }
}

/// What is wrong with a URL. Repeats no login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUrl {
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}

const ENCODE: &str = "percent-encode what of user and password is no letter or digit, such as `%40` for `@`";
const LOGIN: &str = "write the login as `USER:PASSWORD@`, or `:PASSWORD@` for the default user";
const HOST: &str = "write HOST:PORT, or HOST for the usual port; an IPv6 address in brackets";

fn bad(problem: impl Into<String>, remedy: &'static str) -> BadUrl {
    BadUrl { problem: problem.into(), remedy }
}

impl RedisUrl {
    /// Reads `redis://HOST:PORT/DATABASE`, `redis+cluster://HOST:PORT,HOST:PORT`, `redis+sentinel://HOST:PORT,HOST:PORT/NAME`
    /// and the same with `rediss`, each with a login if there is one. None of what begins otherwise.
    ///
    /// # Errors
    /// Says what is wrong with it, and what to do.
    pub fn parse(text: &str) -> Option<Result<Self, BadUrl>> {
        let (scheme, rest) = text.split_once("://")?;
        let (engine, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let is_tls = match engine {
            "redis" => false,
            "rediss" => true,
            _ => return None,
        };
        Some(Self::read(kind, rest).map(|url| Self { is_tls, ..url }))
    }

    fn read(kind: &str, rest: &str) -> Result<Self, BadUrl> {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        // Else part of a password would be told as a host.
        if after.contains('@') {
            return Err(bad("has a login that is cut short by `/`, `?` or `#`", ENCODE));
        }
        if after.contains(['?', '#']) {
            return Err(bad("has something after `?` or `#`", "leave it out"));
        }
        let path = after.trim_matches('/');
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(read_login(login)?), hosts),
            None => (None, authority),
        };
        let (topology, database) = match kind {
            "" => (Topology::One, read_database(path)?),
            "cluster" if path.is_empty() || path == "0" => (Topology::Cluster, 0),
            "cluster" => return Err(bad(format!("names `/{path}`"), "leave it out: a cluster has one database")),
            "sentinel" if path.is_empty() => {
                return Err(bad("does not name the primary", "end it with the name that sentinels call it, `/NAME`"));
            }
            "sentinel" => (Topology::Sentinel(path.to_owned()), 0),
            other => {
                let remedy = "use `redis://`, `redis+cluster://` or `redis+sentinel://`, or these with `rediss`";
                return Err(bad(format!("has the unknown kind `+{other}`"), remedy));
            }
        };
        let port = if matches!(topology, Topology::Sentinel(_)) { SENTINEL_PORT } else { PORT };
        let hosts: Vec<Host> = hosts.split(',').map(|host| read_host(host, port)).collect::<Result<_, _>>()?;
        if topology == Topology::One && hosts.len() > 1 {
            let remedy = "use `redis+cluster://` for those of a cluster, or `redis+sentinel://` for sentinels";
            return Err(bad(format!("names {} servers", hosts.len()), remedy));
        }
        if hosts.len() > HOSTS_MAX {
            return Err(bad(format!("names {} servers", hosts.len()), "name a few: they tell of the others"));
        }
        Ok(Self { topology, hosts, is_tls: false, login, database })
    }
}

fn read_login(text: &str) -> Result<(Option<String>, Secret), BadUrl> {
    let (user, password) = text.split_once(':').ok_or_else(|| bad("has a user without a password", LOGIN))?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
    match (decode(user), decode(password)) {
        (Ok(_), Ok(password)) if password.is_empty() => Err(bad("has an empty password", LOGIN)),
        (Ok(user), Ok(password)) => Ok((Some(user).filter(|user| !user.is_empty()), Secret::from(password.as_str()))),
        _ => Err(bad("has a login that is not UTF-8", ENCODE)),
    }
}

fn read_database(path: &str) -> Result<u16, BadUrl> {
    if path.is_empty() {
        return Ok(0);
    }
    path.parse().map_err(|_| bad(format!("names the database `{path}`"), "end it with a number, or leave it out"))
}

fn read_host(text: &str, usual: u16) -> Result<Host, BadUrl> {
    let wrong =
        || bad(if text.is_empty() { "names no host".into() } else { format!("names `{text}` as a host") }, HOST);
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or_else(wrong)?;
            (name, port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or_else(wrong)?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() { usual } else { port.parse().map_err(|_| wrong())? };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name =
        if text.starts_with('[') { name.parse::<std::net::Ipv6Addr>().is_ok() } else { name.bytes().all(is_plain) };
    if name.is_empty() || !is_name || port == 0 {
        return Err(wrong());
    }
    Ok(Host { name: name.to_owned(), port })
}

#[cfg(test)]
mod tests;
