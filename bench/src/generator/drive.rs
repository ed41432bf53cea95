//! Closed loop: each connection sends when it has been answered. Open loop: requests fall due at a fixed rate, the next
//! free connection sends them, and time counts from when they were due, so that a slow answer cannot hide the wait of
//! those behind it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::LocalSet;

use super::connection::Connection;
use super::record::{Record, UNANSWERED};
use super::{Sent, Spec};
use crate::Failure;
use crate::clock::now;
use crate::load::Stock;

/// How long a connection that broke waits before it is made again.
const PAUSE: Duration = Duration::from_millis(10);

/// What falls due: a place in the stock, and when.
type Due = (usize, u64);

/// Where connections find what to send next.
enum Source {
    /// At once, until the time is over.
    Closed { next: RefCell<usize>, until: u64, cycle: bool },
    /// When it is due.
    Open(Mutex<mpsc::UnboundedReceiver<Due>>),
}

struct Shared {
    stock: Arc<Stock>,
    source: Source,
    records: RefCell<Vec<Record>>,
}

/// Sends it all; what was sent, and what became of each.
pub(super) async fn drive(spec: &Spec, stock: Stock) -> Result<(Sent, Vec<Record>), Failure> {
    let stock = Arc::new(stock);
    let mut connections: Vec<_> = (0..spec.connections).map(|_| Connection::new(spec.target)).collect();
    for connection in &mut connections {
        connection.open().await.map_err(|error| format!("cannot connect to {}: {error}", spec.target))?;
    }
    let began = now();
    let until = began + spec.duration_ms * 1_000_000;
    let source = match spec.rate {
        None => Source::Closed { next: RefCell::new(0), until, cycle: spec.cycle },
        Some(rate) => Source::Open(Mutex::new(pace(rate, stock.len(), began, until))),
    };
    let records = RefCell::new(Vec::with_capacity(stock.len()));
    let shared = Rc::new(Shared { stock, source, records });
    let tasks = LocalSet::new();
    for connection in connections {
        tasks.spawn_local(send(Rc::clone(&shared), connection));
    }
    tasks.await;
    let records = shared.records.take();
    let ended = records.iter().map(|record| record.answered).max().unwrap_or(began);
    let ran_out = spec.rate.is_none() && ended < until;
    Ok((Sent { began, ended, cpu: 0, ran_out }, records))
}

async fn send(shared: Rc<Shared>, mut connection: Connection) {
    while let Some((place, due)) = shared.next().await {
        let (slot, bytes) = shared.stock.get(place);
        let sent = now();
        let status = connection.exchange(bytes).await.unwrap_or(UNANSWERED);
        let due = if due == 0 { sent } else { due };
        let record = Record { first: slot.first, events: slot.events, status, due, sent, answered: now() };
        shared.records.borrow_mut().push(record);
        if status == UNANSWERED {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Shared {
    async fn next(&self) -> Option<Due> {
        match &self.source {
            Source::Closed { next, until, cycle } => {
                let mut next = next.borrow_mut();
                if *next == self.stock.len() && *cycle {
                    *next = 0;
                }
                let place = *next;
                *next += 1;
                (place < self.stock.len() && now() < *until).then_some((place, 0))
            }
            Source::Open(due) => due.lock().await.recv().await,
        }
    }
}

/// A thread that tells what is due, to some 0.05 ms: the runtime's own timer knows only whole milliseconds.
fn pace(rate: f64, requests: usize, began: u64, until: u64) -> mpsc::UnboundedReceiver<Due> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for place in 0..requests {
            let due = began + (place as f64 / rate * 1e9) as u64;
            if due >= until {
                return;
            }
            let wait = due.saturating_sub(now());
            if wait > 0 {
                std::thread::sleep(Duration::from_nanos(wait));
            }
            if sender.send((place, due)).is_err() {
                return;
            }
        }
    });
    receiver
}
