//! Who uses the API: their keys, what they change, and where they are let in.

use serde_json::Value;

use crate::wire::{self, Reply};

mod again;
mod audit;
mod crash;
mod doors;
mod expiry;
mod keys;

/// A request to this port with these headers.
async fn ask(port: u16, route: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let len = body.len();
    let request = format!("{route} HTTP/1.1\r\nhost: waypost\r\n{headers}content-length: {len}\r\n\r\n{body}");
    wire::exchange(port, request.as_bytes()).await.unwrap()
}

fn json_of(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap_or_else(|_| panic!("no JSON: {reply:?}"))
}
