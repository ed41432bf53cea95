//! HTTP/1.1 by hand, for what no client would send.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waypost::clock::{Clock, SystemClock};
use waypost_providers::Signed;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The head, in lower case.
    head: String,
    /// What of the body is no UTF-8 is replaced.
    pub(crate) body: String,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A connection.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) async fn connect(port: u16) -> io::Result<Self> {
        Ok(Self(TcpStream::connect(("127.0.0.1", port)).await?))
    }

    /// Sends bytes, as they are.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn hush(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }

    /// Reads one answer, whose length is told.
    pub(crate) async fn reply(&mut self) -> io::Result<Reply> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: String::new(), bytes: Vec::new() };
        let mut body = vec![0; reply.header("content-length").map_or(0, |len| len.parse().unwrap())];
        self.0.read_exact(&mut body).await?;
        reply.body = String::from_utf8_lossy(&body).into_owned();
        reply.bytes = body;
        Ok(reply)
    }
}

/// One request on a connection of its own, sent whole before the answer is read.
pub(crate) async fn exchange(port: u16, request: &[u8]) -> io::Result<Reply> {
    let mut wire = Wire::connect(port).await?;
    wire.say(request).await?;
    wire.reply().await
}

/// The status of the answer to a request in parts, which may come before all of it is sent.
pub(crate) async fn upload(port: u16, parts: &[&[u8]]) -> io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut reader, mut writer) = stream.split();
    let send = async {
        for part in parts {
            // What is refused may be closed before it has come.
            if writer.write_all(part).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let answer = async {
        let mut head = [0; 12];
        reader.read_exact(&mut head).await?;
        Ok(std::str::from_utf8(&head[9..]).unwrap().parse().unwrap())
    };
    tokio::select! {
        answer = answer => answer,
        () = send => unreachable!("it never ends"),
    }
}

/// The same, and how long it took.
pub(crate) async fn timed(port: u16, request: &[u8]) -> io::Result<(Reply, Duration)> {
    let clock = SystemClock::new();
    let reply = exchange(port, request).await?;
    Ok((reply, clock.elapsed()))
}

/// A provider's request as bytes.
pub(crate) fn post(path: &str, signed: &Signed) -> Vec<u8> {
    let mut bytes = head(path, signed, signed.body.len());
    bytes.extend_from_slice(&signed.body);
    bytes
}

/// The head of a provider's request that tells of a body of this length.
pub(crate) fn head(path: &str, signed: &Signed, len: usize) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: waypost\r\ncontent-length: {len}\r\n");
    for (name, value) in signed.headers.iter() {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}
