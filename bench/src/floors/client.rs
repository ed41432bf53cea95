//! A client that posts what a delivery is made of, and does nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::Done;
use crate::{Failure, clock, cpu};

/// As many at once as one endpoint gets by default.
const IN_FLIGHT: usize = 32;
/// The body of a delivery of the Resend load.
const BODY: &str = include_str!("delivery.json");
/// Its headers.
const HEADERS: [(&str, &str); 7] = [
    ("content-type", "application/json"),
    ("user-agent", "Waypost/0.1.0"),
    ("waypost-attempt", "1"),
    ("drin-signature", "t=1780409291,v1=5745b0dc0603dec697dc927bfc88a7c9e706a03eba1c3382b600cbee6d3b6f12"),
    ("webhook-id", "evt_5h2mzq1x7c9v3b8n4k6jpwdrfa"),
    ("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
    ("webhook-timestamp", "1780409291"),
];

/// `bench floor-client PORT SECONDS`: posts, and says what it cost.
#[expect(clippy::print_stdout, reason = "the way it talks to its parent")]
pub(crate) fn main(port: u16, seconds: f64) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let count = Arc::new(AtomicU64::new(0));
        let (began, before) = (clock::now(), cpu::own());
        let url = format!("http://127.0.0.1:{port}/hooks/0");
        let posting = (0..IN_FLIGHT).map(|_| tokio::spawn(post(client.clone(), url.clone(), Arc::clone(&count))));
        let posting: Vec<_> = posting.collect();
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        let done = Done {
            count: count.load(Ordering::Relaxed),
            nanos: clock::now() - began,
            cpu: cpu::own() - before,
            wait_p99_ms: None,
        };
        posting.iter().for_each(tokio::task::JoinHandle::abort);
        done
    });
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

async fn post(client: Client<HttpConnector, Full<Bytes>>, url: String, count: Arc<AtomicU64>) -> Result<(), Failure> {
    let body = Bytes::from_static(BODY.as_bytes());
    loop {
        let blank = Request::post(url.as_str());
        let request = HEADERS.iter().fold(blank, |request, (name, value)| request.header(*name, *value));
        client.request(request.body(Full::new(body.clone()))?).await?.into_body().collect().await?;
        count.fetch_add(1, Ordering::Relaxed);
    }
}
