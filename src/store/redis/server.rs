//! One server, and the connection to it: shared by all calls, made again when it breaks, and never waited for longer than a
//! second. Whoever is connected to is asked for its settings before anything else.

use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::barrier::{self, Barrier};
use super::call::{checked, missing, unavailable};
use super::check;
use super::dial::{CONNECT_MAX, Dialer};
use super::keys::Partition;
use crate::clock::Clock;
use crate::domain::redis_url::{Durability, Host, Topology};
use crate::domain::risk::Risk;
use crate::store::{Result, StoreError};

const RESPONSE_MAX: Duration = Duration::from_secs(1);

/// What holds for every server.
pub(super) struct Terms {
    pub(super) dialer: Dialer,
    pub(super) topology: Topology,
    pub(super) accepted: Vec<Risk>,
    pub(super) durability: Durability,
    pub(super) clock: Arc<dyn Clock>,
}

/// A server, and the connection to it while there is one.
pub(super) struct Server {
    host: Host,
    terms: Arc<Terms>,
    open: Mutex<Option<Open>>,
    /// Until when it is not asked again, since it could not be reached, and why.
    failed: Lock<Option<(Duration, StoreError)>>,
}

#[derive(Clone)]
struct Open {
    /// Odd once the connection broke.
    number: u64,
    connection: MultiplexedConnection,
    /// Another where commits are waited for: a server that waits does nothing else for the same connection.
    commits: Option<Commits>,
    /// What is wrong with the settings of the server at its other end.
    complaints: Vec<String>,
}

/// A connection for what is to be kept.
#[derive(Clone)]
struct Commits {
    connection: MultiplexedConnection,
    barrier: Arc<Barrier>,
}

impl Server {
    pub(super) fn new(host: Host, terms: Arc<Terms>) -> Self {
        Self { host, terms, open: Mutex::new(None), failed: Lock::default() }
    }

    /// Where it is.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// A connection of one's own, for commands that block.
    pub(super) async fn own(&self, response_max: Duration) -> Result<MultiplexedConnection> {
        self.terms.dialer.dial(&self.host, response_max).await
    }

    async fn shared(&self) -> Result<Open> {
        if let Some((until, why)) = &*self.failed()
            && self.terms.clock.elapsed() < *until
        {
            return Err(why.clone());
        }
        let begun = self.terms.clock.elapsed();
        let wait = async {
            let mut open = self.open.lock().await;
            if let Some(open) = &*open
                && open.number % 2 == 0
            {
                return Ok(open.clone());
            }
            let (connection, complaints) = self.connect().await?;
            let commits = if self.terms.durability.waits() { Some(self.commits().await?) } else { None };
            let number = open.as_ref().map_or(0, |open| open.number + 1);
            Ok(open.insert(Open { number, connection, commits, complaints }).clone())
        };
        let slow = || StoreError::Unavailable("Redis does not answer".into());
        let shared = timeout(CONNECT_MAX, wait).await.unwrap_or_else(|_| Err(slow()));
        if let Err(error) = &shared
            && self.terms.topology == Topology::Cluster
        {
            // As long as it took to find out: what is for others is not to wait for it each time.
            let now = self.terms.clock.elapsed();
            *self.failed() = Some((now + now.saturating_sub(begun), error.clone()));
        }
        shared
    }

    fn failed(&self) -> MutexGuard<'_, Option<(Duration, StoreError)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, and what is wrong with the server's settings.
    async fn connect(&self) -> Result<(MultiplexedConnection, Vec<String>)> {
        let mut connection = self.own(RESPONSE_MAX).await?;
        if let Topology::Sentinel(name) = &self.terms.topology {
            let role =
                connection.req_packed_command(Cmd::new().arg("ROLE")).await.map_err(|error| unavailable(&error))?;
            let is_primary = matches!(checked(role)?, Value::Array(role) if is_word(role.first(), "master"));
            if !is_primary {
                let why = format!("Redis at {} is not the primary of `{name}`, as the sentinels say it is", self.host);
                return Err(StoreError::Unavailable(why));
            }
        }
        let complaints = self.complaints_over(&mut connection).await?;
        Ok((connection, complaints))
    }

    async fn complaints_over(&self, connection: &mut MultiplexedConnection) -> Result<Vec<String>> {
        let mut complaints = check::complaints(connection, &self.terms.accepted, self.terms.durability).await?;
        if self.terms.topology == Topology::Cluster {
            complaints.iter_mut().for_each(|complaint| *complaint = format!("{}: {complaint}", self.host));
        }
        Ok(complaints)
    }

    /// Forgets a connection that broke.
    async fn broke(&self, number: u64) {
        let mut open = self.open.lock().await;
        if let Some(open) = &mut *open
            && open.number == number
        {
            open.number += 1;
        }
    }

    /// What is wrong with its settings.
    pub(super) async fn complaints(&self) -> Result<Vec<String>> {
        Ok(self.shared().await?.complaints)
    }

    /// What was wrong with them when they were last seen.
    pub(super) async fn last_complaints(&self) -> Vec<String> {
        self.open.lock().await.as_ref().map(|open| open.complaints.clone()).unwrap_or_default()
    }

    /// The same of this moment.
    pub(super) async fn look_anew(&self) -> Result<Vec<String>> {
        let Open { number, mut connection, .. } = self.shared().await?;
        let complaints = self.complaints_over(&mut connection).await?;
        if let Some(open) = &mut *self.open.lock().await
            && open.number == number
        {
            open.complaints.clone_from(&complaints);
        }
        Ok(complaints)
    }

    async fn commits(&self) -> Result<Commits> {
        let (connection, _) = self.connect().await?;
        let barrier = Arc::new(barrier::start(connection.clone(), self.terms.durability));
        Ok(Commits { connection, barrier })
    }

    /// Sends commands in one pipeline. Each has its own result; none has when the connection fails. If they are told with
    /// their partitions, what they did is to be kept by whoever is to have it.
    pub(super) async fn pipe(&self, pipe: &Pipeline, kept: Option<&[Partition]>) -> Result<Vec<Result<Value>>> {
        let Open { number, connection, commits, .. } = self.shared().await?;
        let Some((partitions, Commits { connection, barrier })) = kept.zip(commits) else {
            return self.over(number, connection, pipe).await;
        };
        let answers = self.over(number, connection, pipe).await?;
        // Where partitions are on their way, one that this server still has.
        let done = answers.iter().position(Result::is_ok);
        if let Some(place) = done {
            let partition = partitions.get(place).or(partitions.first()).copied().unwrap_or(Partition::FIRST);
            // Over the same connection: another may lead to a server that never had it.
            barrier.call(vec![partition]).await.pop().unwrap_or_else(|| Err(missing()))?;
        }
        Ok(answers)
    }

    async fn over(
        &self,
        number: u64,
        mut connection: MultiplexedConnection,
        pipe: &Pipeline,
    ) -> Result<Vec<Result<Value>>> {
        match connection.req_packed_commands(pipe, 0, pipe.len()).await {
            Ok(values) if values.len() == pipe.len() => Ok(values.into_iter().map(checked).collect()),
            Ok(_) => Err(missing()),
            Err(error) => {
                self.broke(number).await;
                Err(unavailable(&error))
            }
        }
    }
}

fn is_word(value: Option<&Value>, word: &str) -> bool {
    matches!(value, Some(Value::BulkString(bytes)) if bytes == word.as_bytes())
}
