//! A client of server-sent events, by hand: it reads when it is told to, and breaks off where it is told to.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::API_KEY;

/// Longer than anything takes here.
const WITHIN: Duration = Duration::from_secs(30);

/// What came between two empty lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) id: Option<String>,
    pub(super) event: String,
    pub(super) data: Value,
}

/// A stream that is open.
pub(super) struct Stream {
    connection: TcpStream,
    /// What came and is not yet taken out of its chunks.
    raw: Vec<u8>,
    text: String,
    /// The last id that came.
    pub(super) last_id: Option<String>,
}

impl Stream {
    /// Asks for a stream, and reads its head.
    pub(super) async fn open(port: u16, query: &str, last_id: Option<&str>) -> Result<Self, u16> {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.map_err(|_| 0_u16)?;
        let last = last_id.map_or(String::new(), |id| format!("last-event-id: {id}\r\n"));
        let head =
            format!("GET /v1/feed/stream{query} HTTP/1.1\r\nhost: waypost\r\nx-api-key: {API_KEY}\r\n{last}\r\n");
        connection.write_all(head.as_bytes()).await.map_err(|_| 0_u16)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.map_err(|_| 0_u16)?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 200 {
            return Err(status);
        }
        assert!(head.contains("content-type: text/event-stream\r\n") && head.contains("cache-control: no-store"));
        Ok(Self { connection, raw: Vec::new(), text: String::new(), last_id: last_id.map(str::to_owned) })
    }

    /// The next event that has a name; none when the stream ends.
    pub(super) async fn next(&mut self) -> Option<Message> {
        tokio::time::timeout(WITHIN, self.read()).await.expect("an event comes")
    }

    async fn read(&mut self) -> Option<Message> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let message = parse(&block);
                self.last_id = message.id.clone().or(self.last_id.take());
                if !message.event.is_empty() {
                    return Some(message);
                }
            }
            while let Some((chunk, used)) = chunk(&self.raw) {
                self.text += std::str::from_utf8(chunk).unwrap();
                self.raw.drain(..used);
            }
            if self.text.contains("\n\n") {
                continue;
            }
            let mut some = [0; 16 * 1024];
            match self.connection.read(&mut some).await {
                Ok(len) if len > 0 => self.raw.extend_from_slice(&some[..len]),
                _ => return None,
            }
        }
    }
}

/// The first whole chunk, and how many bytes it takes with its frame.
fn chunk(raw: &[u8]) -> Option<(&[u8], usize)> {
    let line = raw.windows(2).position(|two| two == b"\r\n")?;
    let len = usize::from_str_radix(std::str::from_utf8(&raw[..line]).unwrap(), 16).unwrap();
    let chunk = raw.get(line + 2..line + 2 + len)?;
    (raw.len() >= line + len + 4 && len > 0).then_some((chunk, line + len + 4))
}

fn parse(block: &str) -> Message {
    let mut message = Message::default();
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => message.id = Some(id.to_owned()),
            Some(("event", name)) => name.clone_into(&mut message.event),
            Some(("data", data)) => message.data = serde_json::from_str(data).unwrap(),
            Some(("retry", _)) => {}
            _ => assert!(line.is_empty() || line.starts_with(':'), "{line}"),
        }
    }
    message
}
