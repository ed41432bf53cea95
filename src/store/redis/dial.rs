//! Makes connections: over TCP or TLS, logged in.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use webpki_roots::TLS_SERVER_ROOTS;

use super::call::{checked, unavailable};
use crate::domain::redis_url::{Host, Redis};
use crate::store::{Result, StoreError};

/// How long it takes to connect at most.
pub(super) const CONNECT_MAX: Duration = Duration::from_millis(500);

/// How servers are connected to.
pub(super) struct Dialer {
    tls: Option<TlsConnector>,
    login: RedisConnectionInfo,
}

impl Dialer {
    pub(super) fn new(redis: &Redis) -> Result<Self> {
        let mut login = RedisConnectionInfo::default().set_db(redis.url.database.into());
        if let Some((user, password)) = &redis.url.login {
            login = login.set_password(password.expose());
            if let Some(user) = user {
                login = login.set_username(user);
            }
        }
        let tls = redis.url.is_tls.then(|| trusting(&redis.authorities)).transpose();
        let tls =
            tls.map_err(|error| StoreError::Refused(format!("store.ca_file: {error}; name other certificates")))?;
        Ok(Self { tls: tls.map(|config| TlsConnector::from(Arc::new(config))), login })
    }

    /// A connection to a server.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when it does not prove who it is.
    pub(super) async fn dial(&self, host: &Host, response_max: Duration) -> Result<MultiplexedConnection> {
        self.dial_as(host, &self.login, response_max).await
    }

    /// A connection to a sentinel, which may want the login, or know of none.
    pub(super) async fn dial_sentinel(&self, host: &Host, response_max: Duration) -> Result<MultiplexedConnection> {
        let mut connection = self.dial_as(host, &RedisConnectionInfo::default(), response_max).await?;
        match connection.req_packed_command(Cmd::new().arg("PING")).await.map(checked) {
            Ok(Err(StoreError::Unavailable(why))) if why.starts_with("NOAUTH") => self.dial(host, response_max).await,
            _ => Ok(connection),
        }
    }

    async fn dial_as(
        &self,
        host: &Host,
        login: &RedisConnectionInfo,
        response_max: Duration,
    ) -> Result<MultiplexedConnection> {
        let dial = async {
            let unreachable = |error| StoreError::Unavailable(format!("Redis at {host} is not reached: {error}"));
            let stream = TcpStream::connect((host.name.as_str(), host.port)).await.map_err(unreachable)?;
            // A command is not to wait until the one before it is acknowledged.
            stream.set_nodelay(true).map_err(unreachable)?;
            let Some(tls) = &self.tls else { return begin(stream, login, response_max).await };
            let unnamed =
                |_| StoreError::Refused(format!("no certificate can be for `{}`: use another name", host.name));
            let name = ServerName::try_from(host.name.clone()).map_err(unnamed)?;
            let stream = tls.connect(name, stream).await.map_err(|error| untrusted(host, &error))?;
            begin(stream, login, response_max).await
        };
        let slow = |_| StoreError::Unavailable("Redis does not answer".into());
        timeout(CONNECT_MAX, dial).await.map_err(slow)?
    }
}

/// Logs in.
async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    login: &RedisConnectionInfo,
    response_max: Duration,
) -> Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(response_max));
    let begun = MultiplexedConnection::new_with_config(login, stream, config).await;
    let (connection, driver) = begun.map_err(|error| unavailable(&error))?;
    // Ends with the last copy of the connection.
    tokio::spawn(driver);
    Ok(connection)
}

/// TLS that trusts these authorities alone, or the public ones (Mozilla's list, as `webpki-roots` has it).
fn trusting(authorities: &[CertificateDer<'static>]) -> std::result::Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    if authorities.is_empty() {
        roots.extend(TLS_SERVER_ROOTS.iter().cloned());
    }
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn untrusted(host: &Host, error: &io::Error) -> StoreError {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => StoreError::Refused(format!(
            "the certificate of Redis at {host} is for another name: have store.url, or the cluster or the sentinels, tell \
             the name that it is for"
        )),
        Some(rustls::Error::InvalidCertificate(why)) => StoreError::Refused(format!(
            "the certificate of Redis at {host} is not trusted ({why}): name the authority that it is from in store.ca_file"
        )),
        _ => StoreError::Unavailable(format!("no TLS with Redis at {host}: {error}")),
    }
}
