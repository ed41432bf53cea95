//! The receiver: a process that stands for the customers' endpoints, each on a port of its own, for a client keeps its
//! connections by host and port.

mod connection;
pub(crate) mod ledger;
pub(crate) mod sick;

use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger::Ledger;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::Failure;

/// How one endpoint answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Behaviour {
    /// Milliseconds before it answers.
    pub(crate) delay_ms: u64,
    /// How many of a hundred requests it answers with 500.
    pub(crate) errors_percent: u64,
    /// It answers nothing until it behaves otherwise.
    pub(crate) holds: bool,
}

/// What all connections share.
struct Shared {
    ledger: Mutex<Ledger>,
    behaviours: watch::Receiver<Vec<Behaviour>>,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `bench receive N`: the ports go out; then a line comes in and a line goes out, until the parent is gone.
#[expect(clippy::print_stdout, reason = "the way it talks to its parent")]
pub(crate) fn main(endpoints: usize) -> Result<(), Failure> {
    let (behave, behaviours) = watch::channel(vec![Behaviour::default(); endpoints]);
    let shared = Arc::new(Shared { ledger: Mutex::new(Ledger::new(endpoints)), behaviours });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = (0..endpoints).map(|_| runtime.block_on(TcpListener::bind("127.0.0.1:0")));
    let listeners: Vec<_> = listeners.collect::<Result<_, _>>()?;
    let ports: Vec<_> = listeners.iter().filter_map(|listener| Some(listener.local_addr().ok()?.port())).collect();
    println!("{}", serde_json::to_string(&ports)?);
    let asked = Arc::clone(&shared);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let answer = line.map_err(Failure::from).and_then(|line| answer(&line, &asked, &behave));
            println!("{}", answer.unwrap_or_else(|error| format!("error: {error}")));
        }
        std::process::exit(0);
    });
    runtime.block_on(async {
        for (endpoint, listener) in listeners.into_iter().enumerate() {
            tokio::spawn(connection::listen(listener, endpoint, Arc::clone(&shared)));
        }
        std::future::pending::<()>().await;
    });
    Ok(())
}

fn answer(line: &str, shared: &Shared, behave: &watch::Sender<Vec<Behaviour>>) -> Result<String, Failure> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("count", _) => Ok(serde_json::to_string(&shared.ledger().counts)?),
        ("behave", behaviours) => {
            behave.send(serde_json::from_str(behaviours)?)?;
            Ok("done".into())
        }
        ("dump", rest) => {
            let (endpoint, path) = rest.split_once(' ').ok_or("dump ENDPOINT PATH")?;
            shared.ledger().dump(endpoint.parse()?, path.as_ref())?;
            Ok("done".into())
        }
        _ => Err("no such command".into()),
    }
}
