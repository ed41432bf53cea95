//! `waypost demo`: everything in one process, with no set-up. What a newcomer runs first.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use waypost_providers::{Draft, PROVIDERS};

use super::cases::{self, request};
use super::{Failure, asked_to_stop, nonce, receiver};
use crate::app::App;
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::dispatch::client::{Client, Egress};
use crate::domain::delivery::{Delivery, Status};
use crate::domain::plan::StoredEvent;
use crate::domain::target::Networks;
use crate::outbound::sign::Secret;
use crate::store::{PageQuery, Store};

/// Everybody may know the demo's secret.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// How often the unlucky delivery is refused.
const REFUSALS: u32 = 2;
/// How long everything gets to land.
const WITHIN: Duration = Duration::from_secs(30);

/// Starts a gateway on an embedded store of its own and a receiver, posts recorded requests of every provider,
/// shows what became of each, and serves on unless `exit` is given.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(super) async fn run(exit: bool) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let directory = Directory::new(std::env::temp_dir().join(format!("waypost-demo-{}", std::process::id())))?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let answer = refusing_one(Arc::default());
    let (target, receiving) = receiver::start(any_port, Secret::parse(SECRET)?, None, Arc::clone(&clock), answer)?;
    let receiving = tokio::spawn(receiving);
    let config = directory.0.join("waypost.toml");
    std::fs::write(&config, toml(&directory.0, target)?)?;
    let settings = Settings::load(Some(&config), std::iter::empty())?;
    let app = App::build(&settings, Arc::clone(&clock)).await?;
    let (address, store) = (app.address(), app.store());
    println!("gateway on http://{address}, receiver on http://{target}\n");

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(app.run(async {
        let _ = stopped.await;
        Ok(())
    }));
    let posted = post_all(&settings, address, Arc::clone(&clock)).await?;
    let rows = outcome(store.as_ref(), &*clock).await?;
    println!("{}", table(&rows));
    let landed = rows.iter().filter(|row| row.delivery.status == Status::Delivered).count();
    println!("{posted} requests posted, {} events, {landed} deliveries landed", rows.len());
    let all_landed = landed == rows.len() && !rows.is_empty();
    if !exit && all_landed {
        println!("\nstill serving on http://{address} (config {}); Ctrl-C ends it", config.display());
        asked_to_stop().await?;
    }
    let _ = stop.send(());
    running.await??;
    receiving.abort();
    if all_landed { Ok(()) } else { Err("not everything landed".into()) }
}

/// A directory that is removed when the demo ends.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(path: std::path::PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Accepts everything but the first bounce, which it refuses twice.
fn refusing_one(unlucky: Arc<Mutex<Option<(String, u32)>>>) -> receiver::Answer {
    Arc::new(move |received| {
        if received.verdict.is_err() || !received.body.windows(13).any(|window| window == b"email.bounced") {
            return 200;
        }
        let mut unlucky = unlucky.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, refused) = unlucky.get_or_insert_with(|| (received.id.clone(), 0));
        if *id != received.id || *refused == REFUSALS {
            return 200;
        }
        *refused += 1;
        503
    })
}

fn toml(directory: &Path, target: SocketAddr) -> Result<String, Failure> {
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\n[store]\nurl = \"embedded:{}\"\n\n\
         [delivery]\nallow_networks = [\"127.0.0.0/8\"]\n\n\
         [[endpoints]]\nid = \"wh_demo\"\nurl = \"http://{target}/\"\nsecret = \"{SECRET}\"\nretry = [1, 1]\n",
        directory.join("data").display()
    );
    for provider in PROVIDERS {
        let source = cases::Source::of(provider.samples())?;
        writeln!(text, "\n[sources.{}]\n{}", provider.name(), source.config)?;
    }
    Ok(text)
}

async fn post_all(settings: &Settings, gateway: SocketAddr, clock: Arc<dyn Clock>) -> Result<usize, Failure> {
    let networks = Networks::parse(&["127.0.0.0/8"])?;
    let client = Client::new(Egress { networks, ..Egress::default() }, Arc::clone(&clock))?;
    let mut posted = 0;
    for provider in PROVIDERS {
        let (name, samples) = (provider.name(), provider.samples());
        let url = format!("http://{gateway}/in/{name}");
        let secret = cases::Source::of(samples)?.secret;
        let source = settings.sources.get(name).ok_or("a provider without a source")?;
        for body in samples.names().filter_map(|name| samples.body(name)) {
            let draft = Draft { body, secret: &secret, now: clock.now(), nonce: nonce()? };
            let signed = source.proof.sign(*provider, name, draft)?;
            let answer =
                client.post(request(&url, &signed.headers, signed.body)?, Duration::from_secs(10)).await.answer;
            if answer.status != Some(200) {
                return Err(format!("{url} answered {:?} {:?}", answer.status, answer.error).into());
            }
            posted += 1;
        }
    }
    Ok(posted)
}

/// One line of the table.
struct Row {
    event: StoredEvent,
    delivery: Delivery,
}

/// Waits until no delivery is pending, then tells what became of each, in the order of commit.
async fn outcome(store: &dyn Store, clock: &dyn Clock) -> Result<Vec<Row>, Failure> {
    let deadline = clock.elapsed() + WITHIN;
    loop {
        let page = store.events(&PageQuery { cursor: None, limit: 100 }).await?;
        let mut rows = Vec::new();
        for event in page.items.into_iter().rev() {
            let deliveries = store.deliveries_of(&event.id).await?;
            rows.extend(deliveries.into_iter().map(|delivery| Row { event: event.clone(), delivery }));
        }
        let is_settled = rows.iter().all(|row| row.delivery.status != Status::Pending);
        if is_settled || clock.elapsed() > deadline {
            return Ok(rows);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![["provider".into(), "their event".into(), "event".into(), "tries".into(), "outcome".into()]];
    for row in rows {
        let origin = origin(&row.event);
        let attempts = row.delivery.attempts.len().to_string();
        let told = row.delivery.attempts.iter().map(|attempt| match (attempt.status, attempt.error) {
            (Some(status), _) => status.to_string(),
            (None, error) => format!("{error:?}"),
        });
        let outcome = format!("{} ({})", row.delivery.status.as_str(), told.collect::<Vec<_>>().join(", "));
        lines.push([origin.0, origin.1, row.event.kind.as_str().into(), attempts, outcome]);
    }
    let mut widths = [0; 5];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The provider's name, and its own word for the event.
fn origin(event: &StoredEvent) -> (String, String) {
    let data: HashMap<String, serde_json::Value> = serde_json::from_str(event.data.get()).unwrap_or_default();
    let field = |key: &str| {
        let value = data.get("provider").and_then(|provider| provider.get(key));
        value.and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    (field("name"), field("type"))
}
