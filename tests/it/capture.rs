//! A receiver that keeps each request as it came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use waypost_providers::Headers;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    /// Its path, without the first slash.
    pub(crate) endpoint: String,
    pub(crate) headers: Headers,
    pub(crate) body: String,
}

/// The receiver.
pub(crate) struct Capture {
    pub(crate) address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Capture {
    /// One that answers with this status.
    pub(crate) fn answering(answer: impl Fn(&Posted) -> u16 + Send + Sync + 'static) -> Self {
        Self::late(answer, |_| Duration::ZERO)
    }

    /// The same, so much later.
    pub(crate) fn late(
        answer: impl Fn(&Posted) -> u16 + Send + Sync + 'static,
        delay: impl Fn(&Posted) -> Duration + Send + Sync + 'static,
    ) -> Self {
        let posted = Arc::<Mutex<Vec<Posted>>>::default();
        let (kept, told) = (Arc::clone(&posted), Arc::new((answer, delay)));
        let server = HttpServer::new(move || {
            let (kept, told) = (Arc::clone(&kept), Arc::clone(&told));
            let take = move |request: HttpRequest, body: web::Bytes| {
                let headers = request.headers().iter();
                let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
                let endpoint = request.path().trim_start_matches('/').to_owned();
                let posted = Posted { endpoint, headers, body: String::from_utf8(body.to_vec()).unwrap() };
                let (answer, delay) = &*told;
                let (status, delay) = (StatusCode::from_u16(answer(&posted)).unwrap(), delay(&posted));
                kept.lock().unwrap().push(posted);
                async move {
                    tokio::time::sleep(delay).await;
                    HttpResponse::new(status)
                }
            };
            App::new().default_service(web::to(take))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        tokio::spawn(server.run());
        Self { address, posted }
    }

    /// What came so far, in order.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }
}
