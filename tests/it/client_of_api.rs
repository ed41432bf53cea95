//! Calls of the API that change something.

use serde_json::Value;

use crate::gateway::{API_KEY, Gateway};
use crate::wire;

/// One call.
pub(crate) struct Api {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Api {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let headers = vec![("x-api-key".to_owned(), API_KEY.to_owned())];
        Self { method: method.to_owned(), path: path.to_owned(), headers, body: String::new() }
    }

    /// The same with this header, in place of any other of this name.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with this body.
    pub(crate) fn saying(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    /// The status and what is said; null where nothing is.
    pub(crate) async fn call(self, gateway: &Gateway) -> (u16, Value) {
        self.try_call(gateway.port()).await.unwrap()
    }

    /// The same of a gateway that may be down.
    pub(crate) async fn try_call(self, port: u16) -> std::io::Result<(u16, Value)> {
        let Self { method, path, headers, body } = self;
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: waypost\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let reply = wire::exchange(port, request.as_bytes()).await?;
        Ok((reply.status, serde_json::from_str(&reply.body).unwrap_or_default()))
    }
}

/// The same with the key that may do everything.
pub(crate) async fn call(gateway: &Gateway, method: &str, path: &str, body: &str) -> (u16, Value) {
    Api::new(method, path).saying(body).call(gateway).await
}
