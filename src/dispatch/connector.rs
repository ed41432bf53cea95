//! Connects to checked addresses only.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::HttpsConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tower_service::Service;

use crate::domain::delivery::ErrorClass;
use crate::domain::endpoint::EndpointSettings;
use crate::domain::target::{Networks, check_peer};

/// How long one address may take while there is another to try.
const ONE_OF_SEVERAL_MAX: Duration = Duration::from_secs(3);
/// How long all may take; an attempt's own deadline is never later.
const ALL_MAX: Duration = Duration::from_secs(EndpointSettings::TIMEOUT_S_MAX);
/// Names looked up at once. Each takes a thread for as long as the system tries, past the attempt's own deadline; of the
/// runtime's 512 for blocking work the store needs some, whatever becomes of the network's name servers.
const LOOKUPS_MAX: usize = 256;

/// Resolves a host once, checks every address, and connects to one that passed. Knows no proxies.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    networks: Arc<Networks>,
    lookups: Arc<Semaphore>,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no connection: {0:?}")]
pub(super) struct ConnectError(pub(super) ErrorClass);

impl Connector {
    pub(super) fn new(networks: Arc<Networks>) -> Self {
        Self { networks, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { networks, lookups } = self.clone();
        Box::pin(async move { connect(&uri, &networks, lookups).await })
    }
}

/// Connecting and the handshake, ended by themselves: the client may go on with both in the background after the
/// attempt that began them has ended.
#[derive(Clone, Debug)]
pub(super) struct Bounded(HttpsConnector<Connector>);

impl Bounded {
    pub(super) fn new(connector: HttpsConnector<Connector>) -> Self {
        Self(connector)
    }
}

impl Service<Uri> for Bounded {
    type Response = <HttpsConnector<Connector> as Service<Uri>>::Response;
    type Error = <HttpsConnector<Connector> as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            let connected = timeout(ALL_MAX, connecting).await;
            connected.unwrap_or_else(|_| Err(ConnectError(ErrorClass::Timeout).into()))
        })
    }
}

async fn connect(uri: &Uri, networks: &Networks, lookups: Arc<Semaphore>) -> Result<TokioIo<TcpStream>, ConnectError> {
    let is_plain = uri.scheme() == Some(&Scheme::HTTP);
    let mut addresses = resolve(uri, if is_plain { 80 } else { 443 }, lookups).await?;
    addresses.retain(|address| check_peer(address.ip(), is_plain, networks).is_ok());
    let (last, others) = addresses.split_last().ok_or(ConnectError(ErrorClass::Blocked))?;
    for address in others {
        if let Ok(Ok(stream)) = timeout(ONE_OF_SEVERAL_MAX, TcpStream::connect(address)).await {
            return Ok(ready(stream));
        }
    }
    TcpStream::connect(last).await.map(ready).map_err(|_| ConnectError(ErrorClass::Connect))
}

fn ready(stream: TcpStream) -> TokioIo<TcpStream> {
    // Without it a request may wait for the answer to an earlier packet; a socket that cannot do it still works.
    let _ = stream.set_nodelay(true);
    TokioIo::new(stream)
}

async fn resolve(uri: &Uri, default_port: u16, lookups: Arc<Semaphore>) -> Result<Vec<SocketAddr>, ConnectError> {
    let host = uri.host().ok_or(ConnectError(ErrorClass::Protocol))?;
    let port = uri.port_u16().unwrap_or(default_port);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let literal = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => host.parse().ok(),
    };
    if let Some(address) = literal {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    let found = blocking(lookups, move || (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)).await;
    match found {
        Some(Ok(found)) if !found.is_empty() => Ok(found),
        _ => Err(ConnectError(ErrorClass::Resolve)),
    }
}

/// Works on a thread that may wait, when there is a place. The place is given back when the work ends, not when nobody
/// waits for it any more.
async fn blocking<T: Send + 'static>(places: Arc<Semaphore>, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let place = places.acquire_owned().await.ok()?;
    let worked = spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    worked.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lookup_that_was_given_up_keeps_its_place_until_it_ends() {
        let places = Arc::new(Semaphore::new(1));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let slow = blocking(Arc::clone(&places), move || ended.recv());
        assert!(timeout(Duration::from_millis(50), slow).await.is_err());
        let mut next = Box::pin(blocking(Arc::clone(&places), || 7));
        assert!(timeout(Duration::from_millis(50), &mut next).await.is_err());
        end.send(()).unwrap();
        assert_eq!(timeout(Duration::from_secs(10), next).await, Ok(Some(7)));
    }
}
