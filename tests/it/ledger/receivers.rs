//! Endpoints of many kinds behind one receiver: it believes what is signed as asked for, and writes down what it took.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use waypost::domain::endpoint::Scheme;
use waypost::outbound::sign::{Secret, sign};

use crate::capture::{Capture, Posted};

const SHARED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PRIVATE: &str = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=";

/// An endpoint of the mix.
struct Kind {
    id: &'static str,
    secret: &'static str,
    /// Its `format` and whatever else it has of its own.
    more: &'static str,
    schemes: &'static [Scheme],
}

/// The one that is limited takes bounces alone, so that its backlog ends.
const LIMITED: &str = "wh_limited";
/// Answers late, so that there is always something under way when a gateway is killed.
const SLOW: &str = "wh_resend";
const DELAY: Duration = Duration::from_millis(50);
/// Refuses one first attempt in five, each time with another status.
const MOODY: &str = "wh_relaypost";

const KINDS: [Kind; 6] = [
    Kind { id: "wh_waypost", secret: SHARED, more: "", schemes: &[Scheme::Drin, Scheme::Standard] },
    Kind {
        id: "wh_cloudevents",
        secret: SHARED,
        more: "format = \"cloudevents\"\nsignatures = [\"standard\", \"hex\"]\n",
        schemes: &[Scheme::Standard, Scheme::Hex],
    },
    Kind { id: SLOW, secret: SHARED, more: "format = \"resend\"\n", schemes: &[Scheme::Svix] },
    Kind { id: MOODY, secret: SHARED, more: "format = \"relaypost\"\n", schemes: &[Scheme::Hex] },
    Kind {
        id: "wh_sentinmail",
        secret: PRIVATE,
        more: "format = \"sentinmail\"\nsignatures = [\"ed25519\"]\n",
        schemes: &[Scheme::Ed25519],
    },
    Kind {
        id: LIMITED,
        secret: SHARED,
        more: "format = \"selfhosted\"\nevents = [\"bounced\"]\nrate_limit = 30\n",
        schemes: &[Scheme::Sha256],
    },
];

/// The endpoints that an event goes to.
pub(super) fn endpoints_of(is_bounce: bool) -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.id).filter(move |id| is_bounce || *id != LIMITED)
}

/// More than one for each kill that a delivery can be caught by.
const RETRY: &str = "retry = [1, 1, 1, 1, 1, 1, 1, 1]\n";

/// An event at an endpoint, and the replay that it came by.
pub(super) type Arrival = (String, &'static str, Option<String>);

/// What came.
#[derive(Default)]
pub(super) struct Book {
    /// How often each was answered `200`.
    pub(super) taken: HashMap<Arrival, u32>,
    /// How many were refused though they were right.
    pub(super) refused: u32,
    /// What was not signed as it should be.
    pub(super) wrong: Vec<String>,
}

/// The receiver.
pub(super) struct Receivers {
    address: SocketAddr,
    pub(super) book: Arc<Mutex<Book>>,
}

impl Receivers {
    pub(super) fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let shared = Arc::clone(&book);
        let secrets: HashMap<_, _> = KINDS.iter().map(|kind| (kind.id, Secret::parse(kind.secret).unwrap())).collect();
        let answer = move |posted: &Posted| {
            let mut book = shared.lock().unwrap();
            let Some(kind) = KINDS.iter().find(|kind| kind.id == posted.endpoint && is_signed(kind, &secrets, posted))
            else {
                book.wrong.push(format!("{posted:?}"));
                return 401;
            };
            let header = |name: &str| posted.headers.get(name).map(str::to_owned);
            let (event, replay) = (header("webhook-id").unwrap(), header("waypost-replay"));
            if let Some(status) = refusal(kind, &event, posted.headers.get("waypost-attempt").unwrap()) {
                book.refused += 1;
                return status;
            }
            *book.taken.entry((event, kind.id, replay)).or_default() += 1;
            200
        };
        let capture = Capture::late(answer, |posted| if posted.endpoint == SLOW { DELAY } else { Duration::ZERO });
        Self { address: capture.address, book }
    }

    /// The endpoints of a config. What a killed gateway has leased falls due soon.
    pub(super) fn config(&self) -> String {
        let one = |Kind { id, secret, more, .. }: &Kind| {
            let url = format!("http://{}/{id}", self.address);
            format!(
                "[[endpoints]]\nid = \"{id}\"\nurl = \"{url}\"\nsecret = \"{secret}\"\ntimeout_s = 1\n{RETRY}{more}"
            )
        };
        KINDS.iter().map(one).collect()
    }
}

/// Whether each of its schemes signed this very body.
fn is_signed(kind: &Kind, secrets: &HashMap<&str, Secret>, posted: &Posted) -> bool {
    let header = |name: &str| posted.headers.get(name);
    let drin = || header("drin-signature")?.strip_prefix("t=")?.split(',').next();
    let seconds = header("webhook-timestamp").or_else(|| header("svix-timestamp")).or_else(drin);
    let at = seconds.map_or(Ok(0), str::parse).ok().and_then(|second| Timestamp::from_second(second).ok());
    let (Some(at), Some(id)) = (at, header("webhook-id")) else { return false };
    let made = sign(kind.schemes, std::slice::from_ref(&secrets[kind.id]), id, at, posted.body.as_bytes());
    !made.is_empty() && made.iter().all(|(name, value)| header(name) == Some(value))
}

fn refusal(kind: &Kind, event: &str, attempt: &str) -> Option<u16> {
    let number: usize = event.bytes().map(usize::from).sum();
    let refuses = kind.id == MOODY && attempt == "1" && number.is_multiple_of(5);
    refuses.then(|| [500, 429, 302, 503][number / 5 % 4])
}
