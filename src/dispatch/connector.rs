//! Connects to checked addresses only.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tower_service::Service;

use super::split::Noted;
use crate::clock::Clock;
use crate::domain::delivery::ErrorClass;
use crate::domain::endpoint::EndpointSettings;
use crate::domain::proxy::Proxy;
use crate::domain::target::{Networks, check_peer};

/// How long one address may take while there is another to try.
const ONE_OF_SEVERAL_MAX: Duration = Duration::from_secs(3);
/// How long all may take; an attempt's own deadline is never later.
const ALL_MAX: Duration = Duration::from_secs(EndpointSettings::TIMEOUT_S_MAX);
/// Names looked up at once. Each takes a thread for as long as the system tries, past the attempt's own deadline; of the
/// runtime's 512 for blocking work the store needs some, whatever becomes of the network's name servers.
const LOOKUPS_MAX: usize = 256;

/// Looks up a name; may wait as long as the system does.
pub(super) trait Resolve: Send + Sync {
    /// All addresses of a host.
    fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>>;
}

/// The system's own resolver.
struct System;

impl Resolve for System {
    fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Vec::from_iter)
    }
}

/// Resolves a host once, checks every address, and connects to one that passed: directly, or by asking the configured
/// proxy for that address. What the environment says of proxies counts for nothing.
#[derive(Clone)]
pub(super) struct Connector(Arc<Reach>);

/// What connections are made with.
struct Reach {
    networks: Arc<Networks>,
    proxy: Option<Proxy>,
    resolver: Arc<dyn Resolve>,
    lookups: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no connection: {0:?}")]
pub(super) struct ConnectError(pub(super) ErrorClass);

impl Connector {
    pub(super) fn new(networks: Arc<Networks>, proxy: Option<Proxy>, clock: Arc<dyn Clock>) -> Self {
        Self::resolving(networks, proxy, clock, Arc::new(System))
    }

    fn resolving(
        networks: Arc<Networks>,
        proxy: Option<Proxy>,
        clock: Arc<dyn Clock>,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self(Arc::new(Reach { networks, proxy, resolver, lookups, clock }))
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
        let (reach, noted) = (Arc::clone(&self.0), Noted::here());
        Box::pin(async move { reach.connect(&uri, &noted).await })
    }
}

/// Connecting and the handshake, ended by themselves: the client may go on with both in the background after the
/// attempt that began them has ended.
#[derive(Clone)]
pub(super) struct Bounded {
    connector: HttpsConnector<Connector>,
    clock: Arc<dyn Clock>,
}

impl Bounded {
    pub(super) fn new(connector: HttpsConnector<Connector>, clock: Arc<dyn Clock>) -> Self {
        Self { connector, clock }
    }
}

impl Service<Uri> for Bounded {
    type Response = <HttpsConnector<Connector> as Service<Uri>>::Response;
    type Error = <HttpsConnector<Connector> as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let is_plain = is_plain(&uri);
        let (noted, clock) = (Noted::here(), Arc::clone(&self.clock));
        let connecting = self.connector.call(uri);
        Box::pin(async move {
            let began = clock.elapsed();
            let connected = timeout(ALL_MAX, connecting).await;
            let connected = connected.unwrap_or_else(|_| Err(ConnectError(ErrorClass::Timeout).into()))?;
            if !is_plain {
                noted.shaken_hands(clock.elapsed().saturating_sub(began));
            }
            Ok(connected)
        })
    }
}

impl Reach {
    async fn connect(&self, uri: &Uri, noted: &Noted) -> Result<TokioIo<TcpStream>, ConnectError> {
        let is_plain = is_plain(uri);
        let mut addresses = self.resolve(uri, if is_plain { 80 } else { 443 }, noted).await?;
        addresses.retain(|address| check_peer(address.ip(), is_plain, &self.networks).is_ok());
        let (last, others) = addresses.split_last().ok_or(ConnectError(ErrorClass::Blocked))?;
        let began = self.clock.elapsed();
        let mut connected = None;
        for address in others {
            if let Ok(Ok(stream)) = timeout(ONE_OF_SEVERAL_MAX, self.open(*address)).await {
                connected = Some(stream);
                break;
            }
        }
        let stream = match connected {
            Some(stream) => stream,
            None => self.open(*last).await?,
        };
        noted.connected(self.clock.elapsed().saturating_sub(began));
        Ok(stream)
    }

    /// To a checked address.
    async fn open(&self, address: SocketAddr) -> Result<TokioIo<TcpStream>, ConnectError> {
        match &self.proxy {
            Some(proxy) => tunnel(proxy, address).await.map_err(|_| ConnectError(ErrorClass::Proxy)),
            None => TcpStream::connect(address).await.map(ready).map_err(|_| ConnectError(ErrorClass::Connect)),
        }
    }

    async fn resolve(&self, uri: &Uri, default_port: u16, noted: &Noted) -> Result<Vec<SocketAddr>, ConnectError> {
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
        let (host, resolver) = (host.to_owned(), Arc::clone(&self.resolver));
        let began = self.clock.elapsed();
        let found = blocking(Arc::clone(&self.lookups), move || resolver.resolve(&host, port)).await;
        noted.resolved(self.clock.elapsed().saturating_sub(began));
        match found {
            Some(Ok(found)) if !found.is_empty() => Ok(found),
            _ => Err(ConnectError(ErrorClass::Resolve)),
        }
    }
}

fn is_plain(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTP)
}

/// Asks the proxy for an address, not for the name behind it: the proxy would look that up for itself.
async fn tunnel(proxy: &Proxy, address: SocketAddr) -> Result<TokioIo<TcpStream>, TunnelFailed> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let mut tunnel = Tunnel::new(proxy.address().clone(), connector);
    if let Some(authorization) = proxy.authorization() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    let aim = Uri::builder().scheme(Scheme::HTTPS).authority(address.to_string()).path_and_query("/").build();
    tunnel.call(aim.map_err(|_| TunnelFailed)?).await.map_err(|_| TunnelFailed)
}

/// What went wrong is between the proxy and its operator; its words are none of ours.
struct TunnelFailed;

fn ready(stream: TcpStream) -> TokioIo<TcpStream> {
    // Without it a request may wait for the answer to an earlier packet; a socket that cannot do it still works.
    let _ = stream.set_nodelay(true);
    TokioIo::new(stream)
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
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::clock::SystemClock;

    /// Answers the next of its lists each time it is asked.
    struct Rebinding(Mutex<Vec<Vec<SocketAddr>>>);

    impl Resolve for Rebinding {
        fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
            Ok(self.0.lock().unwrap().remove(0))
        }
    }

    fn connector(proxy: Option<Proxy>, answers: Vec<Vec<SocketAddr>>) -> (Connector, Arc<Rebinding>) {
        let networks = Arc::new(Networks::parse(&["127.0.0.1"]).unwrap());
        let resolver = Arc::new(Rebinding(Mutex::new(answers)));
        let connector = Connector::resolving(networks, proxy, Arc::new(SystemClock::new()), Arc::clone(&resolver) as _);
        (connector, resolver)
    }

    async fn call(connector: &mut Connector, url: &str) -> Result<SocketAddr, ErrorClass> {
        let connected = connector.call(url.parse().unwrap()).await;
        connected.map(|stream| stream.inner().peer_addr().unwrap()).map_err(|ConnectError(class)| class)
    }

    #[tokio::test]
    async fn a_name_is_resolved_once_a_connection_and_only_checked_addresses_are_called() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        // Listening as well, so that it would be reached if it were called.
        let elsewhere = TcpListener::bind(("127.0.0.2", open.port())).await.unwrap();
        let refused = elsewhere.local_addr().unwrap();
        let answers = vec![vec![open], vec![refused], vec![refused, open], vec![open, refused], vec![]];
        let (mut connector, resolver) = connector(None, answers);
        let url = format!("http://rebinding.example:{}/", open.port());
        assert_eq!(call(&mut connector, &url).await, Ok(open));
        assert_eq!(call(&mut connector, &url).await, Err(ErrorClass::Blocked), "what the name leads to now counts");
        assert_eq!(call(&mut connector, &url).await, Ok(open));
        assert_eq!(call(&mut connector, &url).await, Ok(open));
        assert_eq!(call(&mut connector, &url).await, Err(ErrorClass::Resolve));
        assert!(resolver.0.lock().unwrap().is_empty(), "each connection asks once");
        let unheard = timeout(Duration::from_millis(50), elsewhere.accept()).await;
        assert!(unheard.is_err());
    }

    /// Serves one `CONNECT`: answers what it was asked for, after its head.
    async fn proxied(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut asked, mut byte) = (Vec::new(), [0]);
            while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap() == 1 {
                asked.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        (address, task)
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_the_checked_address_and_never_for_the_name() {
        let (address, asked) = proxied("HTTP/1.1 200 Connection established\r\n\r\n").await;
        let proxy = Proxy::parse(&format!("http://ops:secret@{address}")).unwrap();
        let checked: SocketAddr = "127.0.0.1:4430".parse().unwrap();
        let refused: SocketAddr = "10.0.0.1:4430".parse().unwrap();
        let (mut connector, _) = connector(Some(proxy), vec![vec![refused, checked], vec![refused]]);
        assert_eq!(call(&mut connector, "https://hooks.example:4430/in").await, Ok(address));
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("CONNECT 127.0.0.1:4430 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nProxy-Authorization: Basic b3BzOnNlY3JldA==\r\n"), "{asked}");
        assert!(!asked.contains("hooks.example"), "{asked}");
        // Without a checked address the proxy is not asked at all: nobody listens there any more.
        assert_eq!(call(&mut connector, "https://hooks.example:4430/in").await, Err(ErrorClass::Blocked));
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_told_from_an_endpoint_that_does() {
        let (address, _) = proxied("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        let proxy = Proxy::parse(&format!("http://{address}")).unwrap();
        let (mut connector, _) = connector(Some(proxy), Vec::new());
        assert_eq!(call(&mut connector, "https://127.0.0.1:4430/").await, Err(ErrorClass::Proxy));
    }

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
