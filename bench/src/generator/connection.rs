//! One kept connection: bytes out, a status back. Reads no more HTTP than it must.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Answers are short.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A connection that is made again when it is lost.
pub(crate) struct Connection {
    target: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// One that connects at first use.
    pub(crate) fn new(target: SocketAddr) -> Self {
        Self { target, stream: None, buffer: Vec::with_capacity(4096) }
    }

    /// Connects now.
    pub(crate) async fn open(&mut self) -> Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.target).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Writes a request and reads the whole answer; its status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.open().await?;
        let Some(stream) = self.stream.as_mut() else { return Err(ErrorKind::NotConnected.into()) };
        self.buffer.clear();
        let answered = answered(stream, request, &mut self.buffer).await;
        if !matches!(answered, Ok((_, true))) {
            self.stream = None;
        }
        answered.map(|(status, _)| status)
    }
}

/// The status, and whether the connection may be used again.
async fn answered(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> Result<(u16, bool)> {
    stream.write_all(request).await?;
    loop {
        if stream.read_buf(buffer).await? == 0 || buffer.len() > ANSWER_BYTES_MAX {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = memmem::find(buffer, b"\r\n\r\n") else { continue };
        let (status, length, keeps) = read_head(&buffer[..head + 2]).ok_or_else(|| Error::other("no HTTP"))?;
        if buffer.len() >= head + 4 + length {
            return Ok((status, keeps));
        }
    }
}

/// Status, length of the body, and whether the connection stays.
fn read_head(head: &[u8]) -> Option<(u16, usize, bool)> {
    let status = std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()?;
    let (mut length, mut keeps) = (0, true);
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        if let Some(value) = value(line, b"content-length:") {
            length = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
        } else if let Some(value) = value(line, b"connection:") {
            keeps = !value.trim_ascii().eq_ignore_ascii_case(b"close");
        }
    }
    Some((status, length, keeps))
}

/// The value of a line of the head, if the line is of this name.
pub(crate) fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}
