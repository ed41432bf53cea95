//! One connection of the gateway to an endpoint: as little HTTP as will do.

use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Shared;
use crate::clock::now;
use crate::generator::value;

const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// Serves one endpoint.
pub(super) async fn listen(listener: TcpListener, endpoint: usize, shared: Arc<Shared>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                // The gateway may close a connection at any time.
                let _ = serve(stream, endpoint, &shared).await;
            });
        }
    }
}

async fn serve(mut stream: TcpStream, endpoint: usize, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut behaviours = shared.behaviours.clone();
    loop {
        let (head, end) = request(&mut stream, &mut buffer).await?;
        let received = now();
        let mut behaviour = behaviours.borrow_and_update()[endpoint];
        while behaviour.holds {
            if behaviours.changed().await.is_err() {
                return Ok(());
            }
            behaviour = behaviours.borrow_and_update()[endpoint];
        }
        if behaviour.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(behaviour.delay_ms)).await;
        }
        let answer = note(shared, (endpoint, behaviour.errors_percent), &buffer[..end], head, received);
        stream.write_all(answer).await?;
        buffer.drain(..end);
    }
}

/// Notes a request and chooses the answer.
fn note(shared: &Shared, (endpoint, errors): (usize, u64), request: &[u8], head: usize, at: u64) -> &'static [u8] {
    let mut ledger = shared.ledger();
    let counts = &mut ledger.counts;
    // Spread evenly: of each hundred, so many.
    if errors > 0 && (counts.refused + counts.delivered) * errors / 100 > counts.refused {
        counts.refused += 1;
        return REFUSED;
    }
    ledger.note(endpoint, &request[..head], &request[head..], at);
    ACCEPTED
}

/// Reads until the buffer begins with a whole request: where its head and where its body ends.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(usize, usize)> {
    loop {
        if let Some(head) = memmem::find(buffer, b"\r\n\r\n") {
            let end = head + 4 + length(&buffer[..head + 2]);
            if buffer.len() >= end {
                return Ok((head + 4, end));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

fn length(head: &[u8]) -> usize {
    let mut lines = head.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| value(line, b"content-length:"));
    value.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok()).unwrap_or(0)
}
