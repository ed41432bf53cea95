//! Recorded requests of each provider, made anew.

use hyper::body::Bytes;
use serde::Deserialize;
use waypost_providers::{Headers, Samples};

use super::Failure;

/// A recording's `source.toml`.
#[derive(Deserialize)]
pub(super) struct Source {
    /// What signs as the provider would.
    pub(super) secret: String,
    /// What the config file has of it.
    #[serde(skip)]
    pub(super) config: String,
}

impl Source {
    pub(super) fn of(samples: Samples) -> Result<Self, Failure> {
        let read: Self = toml::from_str(samples.source)?;
        let own = samples.source.split("[test]").next().unwrap_or_default().lines();
        let is_config = |line: &&str| !["#", "now = ", "secret = "].iter().any(|other| line.starts_with(other));
        Ok(Self { config: own.filter(is_config).collect::<Vec<_>>().join("\n"), ..read })
    }
}

/// A request with these headers.
pub(super) fn request(url: &str, headers: &Headers, body: Bytes) -> http::Result<http::Request<Bytes>> {
    let blank = http::Request::post(url);
    headers.iter().fold(blank, |request, (name, value)| request.header(name, value)).body(body)
}
