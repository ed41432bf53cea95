//! The proxy that requests to endpoints go through, where one is configured.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use http::uri::{Scheme, Uri};
use percent_encoding::percent_decode_str;

/// A proxy that is spoken to in plain HTTP/1.1 and asked to `CONNECT`. Printing it prints no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    address: Uri,
    authorization: Option<HeaderValue>,
}

/// A text that is no proxy. It is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Not a URL with a host.
    #[error("is no URL such as `http://proxy.example:3128`")]
    Url,
    /// It is to be spoken to in another protocol.
    #[error("must begin with `http://`: the tunnel through it is encrypted from end to end")]
    Scheme,
    /// More than host and port.
    #[error("must hold nothing after the host and port")]
    Path,
}

impl Proxy {
    /// Reads `http://[USER:PASSWORD@]HOST[:PORT]`, user and password percent-encoded (RFC 3986, section 3.2.1). Without a
    /// port it is 80.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let uri: Uri = text.parse().map_err(|_| ProxyError::Url)?;
        let authority = uri.authority().ok_or(ProxyError::Url)?;
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => {}
            Some(_) => return Err(ProxyError::Scheme),
            None => return Err(ProxyError::Url),
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(ProxyError::Path);
        }
        let (user, address) = match authority.as_str().rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority.as_str()),
        };
        let address = Uri::builder().scheme(Scheme::HTTP).authority(address).path_and_query("/");
        let address = address.build().map_err(|_| ProxyError::Url)?;
        if address.host().is_none_or(str::is_empty) {
            return Err(ProxyError::Url);
        }
        let authorization = user.map(basic).transpose()?;
        Ok(Self { address, authorization })
    }

    /// Where it listens.
    pub fn address(&self) -> &Uri {
        &self.address
    }

    /// `Proxy-Authorization`, if it wants one.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

fn basic(user: &str) -> Result<HeaderValue, ProxyError> {
    let decoded: Vec<u8> = percent_decode_str(user).collect();
    let mut value =
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(decoded))).map_err(|_| ProxyError::Url)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_a_port_and_credentials() {
        let proxy = Proxy::parse("http://ops:p%40ss@proxy.example:3128").unwrap();
        assert_eq!(proxy.address(), "http://proxy.example:3128/");
        assert_eq!(proxy.authorization().unwrap(), &format!("Basic {}", STANDARD.encode("ops:p@ss")));
        let printed = format!("{proxy:?}");
        assert!(!printed.contains("ops") && printed.contains("proxy.example"), "{printed}");
        assert_eq!(Proxy::parse("http://[::1]:3128/").unwrap().authorization(), None);
    }

    #[test]
    fn what_is_no_proxy_is_named_and_not_repeated() {
        let cases = [
            ("proxy.example:3128", ProxyError::Url),
            ("", ProxyError::Url),
            ("http://", ProxyError::Url),
            ("http://user:pass@", ProxyError::Url),
            ("https://user:hunter2@proxy.example", ProxyError::Scheme),
            ("socks5://proxy.example", ProxyError::Scheme),
            ("http://proxy.example/path", ProxyError::Path),
            ("http://proxy.example/?q", ProxyError::Path),
        ];
        for (text, error) in cases {
            assert_eq!(Proxy::parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
