//! Endpoints that nobody should wait for, served on a thread of this process; what comes to them is not counted.

use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::Failure;

/// What is wrong with one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sick {
    /// Its port is taken and nobody listens there.
    Dead,
    /// It answers 200 after 14 s, just within the deadline.
    Slow,
    /// It answers a byte a second.
    Drips,
}

const SLOW: Duration = Duration::from_secs(14);
const DRIP: Duration = Duration::from_secs(1);
const BACKLOG: u32 = 128;
const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const DRIPPING: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n";

/// Starts as many of each as asked for; they end with this process.
pub(crate) fn start(kinds: &[Sick]) -> Result<Vec<SocketAddr>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut addresses, mut taken) = (Vec::new(), Vec::new());
    let entered = runtime.enter();
    for kind in kinds.iter().copied() {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        addresses.push(socket.local_addr()?);
        match kind {
            Sick::Dead => taken.push(socket),
            Sick::Slow | Sick::Drips => drop(runtime.spawn(listen(socket.listen(BACKLOG)?, kind))),
        }
    }
    drop(entered);
    std::thread::spawn(move || {
        runtime.block_on(std::future::pending::<()>());
        drop(taken);
    });
    Ok(addresses)
}

async fn listen(listener: TcpListener, kind: Sick) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            // The gateway closes what it gives up on.
            tokio::spawn(async move { serve(stream, kind).await.ok() });
        }
    }
}

async fn serve(mut stream: TcpStream, kind: Sick) -> std::result::Result<(), Failure> {
    let mut buffer = [0; 16 * 1024];
    // A request of this load comes in one piece or two, and the next one only after the answer.
    while stream.read(&mut buffer).await? > 0 {
        match kind {
            Sick::Dead => {}
            Sick::Slow => {
                sleep(SLOW).await;
                stream.write_all(ACCEPTED).await?;
            }
            Sick::Drips => {
                stream.write_all(DRIPPING).await?;
                loop {
                    sleep(DRIP).await;
                    stream.write_all(b".").await?;
                }
            }
        }
    }
    Ok(())
}
