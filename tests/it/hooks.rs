//! A receiver of many endpoints, told apart by their paths, that can hold its answers; and what came to it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use tokio::sync::watch;
use waypost::clock::{Clock, SystemClock};

use crate::gateway::endpoint;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) endpoint: String,
    /// `webhook-id`.
    pub(crate) event: String,
    /// `waypost-replay`.
    pub(crate) replay: Option<String>,
    /// `waypost-attempt`.
    pub(crate) attempt: u32,
    /// The source that the event came in by; nothing of an operational one.
    pub(crate) source: String,
    /// `drin-signature`, if there is one.
    pub(crate) signature: Option<String>,
    pub(crate) body: web::Bytes,
    /// By the receiver's clock that never steps.
    pub(crate) at: Duration,
}

/// The event and the endpoint of a delivery.
pub(crate) type Pair = (String, String);

type Answer = dyn Fn(&Arrival) -> HttpResponse + Send + Sync;
type Delay = dyn Fn(&Arrival) -> Duration + Send + Sync;

/// The receiver.
pub(crate) struct Hooks {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    clock: SystemClock,
    arrivals: Mutex<Vec<Arrival>>,
    holds: watch::Sender<bool>,
    answer: Box<Answer>,
    delay: Box<Delay>,
}

impl Hooks {
    /// One that answers 200 to everything.
    pub(crate) fn start() -> Self {
        Self::answering(|_| HttpResponse::Ok().finish())
    }

    pub(crate) fn answering(answer: impl Fn(&Arrival) -> HttpResponse + Send + Sync + 'static) -> Self {
        Self::late(answer, |_| Duration::ZERO)
    }

    /// One that waits before it answers.
    pub(crate) fn late(
        answer: impl Fn(&Arrival) -> HttpResponse + Send + Sync + 'static,
        delay: impl Fn(&Arrival) -> Duration + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            clock: SystemClock::new(),
            arrivals: Mutex::default(),
            holds: watch::Sender::new(false),
            answer: Box::new(answer),
            delay: Box::new(delay),
        });
        let handed = Arc::clone(&shared);
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::from(Arc::clone(&handed))).default_service(web::to(take))
        });
        // Longer than a gateway keeps an unused connection: one that both end at once costs an attempt.
        let server = server.keep_alive(Duration::from_secs(75)).workers(1).disable_signals();
        let server = server.bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        tokio::spawn(server.run());
        Self { address, shared }
    }

    /// The endpoints `wh_N` of a config; `more` are further lines of each.
    pub(crate) fn endpoints(&self, numbers: Range<u32>, more: &str) -> String {
        let one = |number| endpoint(&format!("wh_{number}"), &format!("http://{}/wh_{number}", self.address), more);
        numbers.map(one).collect()
    }

    /// From now on requests are written down and not answered.
    pub(crate) fn hold(&self) {
        self.shared.holds.send_replace(true);
    }

    /// All that were held are answered.
    pub(crate) fn release(&self) {
        self.shared.holds.send_replace(false);
    }

    /// What came so far, in order.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap().clone()
    }

    /// The same by delivery.
    pub(crate) fn by_delivery(&self) -> HashMap<Pair, Vec<Arrival>> {
        let mut pairs: HashMap<Pair, Vec<Arrival>> = HashMap::new();
        for arrival in self.arrivals() {
            pairs.entry((arrival.event.clone(), arrival.endpoint.clone())).or_default().push(arrival);
        }
        pairs
    }

    pub(crate) fn now(&self) -> Duration {
        self.shared.clock.elapsed()
    }
}

async fn take(request: HttpRequest, shared: web::Data<Shared>, body: web::Bytes) -> HttpResponse {
    let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let header = |name: &str| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
    let arrival = Arrival {
        endpoint: request.path().trim_start_matches('/').to_owned(),
        event: header("webhook-id"),
        replay: request.headers().get("waypost-replay").map(|replay| replay.to_str().unwrap().to_owned()),
        attempt: header("waypost-attempt").parse().unwrap(),
        source: event["data"]["provider"]["source"].as_str().unwrap_or_default().to_owned(),
        signature: request.headers().get("drin-signature").map(|value| value.to_str().unwrap().to_owned()),
        body,
        at: shared.clock.elapsed(),
    };
    shared.arrivals.lock().unwrap().push(arrival.clone());
    let mut holds = shared.holds.subscribe();
    holds.wait_for(|holds| !holds).await.unwrap();
    tokio::time::sleep((shared.delay)(&arrival)).await;
    (shared.answer)(&arrival)
}

/// Waits until it is so.
pub(crate) async fn until(within: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    while !is_so() {
        assert!(clock.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
