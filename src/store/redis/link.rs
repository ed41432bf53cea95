//! The connection: shared by all calls, made again when it breaks, and never waited for longer than a second. Whoever is
//! connected to is asked for its settings before anything else.

use std::fmt::Display;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError, Value};
use tokio::sync::Mutex;

use super::check;
use super::keys::Partition;
use super::scripts::Script;
use crate::domain::risk::Risk;
use crate::store::{Result, StoreError};

const CONNECT_MAX: Duration = Duration::from_millis(500);
const RESPONSE_MAX: Duration = Duration::from_secs(1);

/// One call of a script.
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl Call {
    /// A call in one partition, whose prefix is the first argument.
    pub(super) fn new(script: &'static Script, partition: Partition, keys: &[&str]) -> Self {
        let keys = keys.iter().map(|name| partition.key(name)).collect();
        Self { script, keys, args: vec![partition.prefix().into_bytes()] }
    }

    pub(super) fn key(&mut self, key: String) {
        self.keys.push(key);
    }

    pub(super) fn arg(&mut self, arg: impl AsRef<[u8]>) -> &mut Self {
        self.args.push(arg.as_ref().to_vec());
        self
    }

    pub(super) fn num(&mut self, arg: impl Display + Copy) -> &mut Self {
        self.args.push(arg.to_string().into_bytes());
        self
    }

    fn command(&self, known: bool) -> Cmd {
        let mut cmd = Cmd::new();
        if known {
            cmd.arg("EVALSHA").arg(self.script.hash());
        } else {
            cmd.arg("EVAL").arg(self.script.code());
        }
        cmd.arg(self.keys.len()).arg(&self.keys);
        for arg in &self.args {
            cmd.arg(arg.as_slice());
        }
        cmd
    }
}

/// A server, and the connection to it while there is one.
pub(super) struct Link {
    client: Client,
    accepted: Vec<Risk>,
    open: Mutex<Option<Open>>,
}

#[derive(Clone)]
struct Open {
    /// Odd once the connection broke.
    number: u64,
    connection: MultiplexedConnection,
    /// What is wrong with the settings of the server at its other end.
    complaints: Vec<String>,
}

impl Link {
    pub(super) fn new(url: &str, accepted: &[Risk]) -> Result<Self> {
        let client = Client::open(url)
            .map_err(|error| StoreError::Refused(format!("the Redis URL is unusable: {}", told(&error))))?;
        Ok(Self { client, accepted: accepted.to_vec(), open: Mutex::new(None) })
    }

    /// A connection of one's own, for commands that block.
    pub(super) async fn own(&self, response_max: Duration) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(response_max));
        self.client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| unavailable(&error))
    }

    async fn shared(&self) -> Result<Open> {
        let wait = async {
            let mut open = self.open.lock().await;
            if let Some(open) = &*open
                && open.number % 2 == 0
            {
                return Ok(open.clone());
            }
            let mut connection = self.own(RESPONSE_MAX).await?;
            let complaints = check::complaints(&mut connection, &self.accepted).await?;
            let number = open.as_ref().map_or(0, |open| open.number + 1);
            Ok(open.insert(Open { number, connection, complaints }).clone())
        };
        let slow = || StoreError::Unavailable("Redis does not answer".into());
        tokio::time::timeout(CONNECT_MAX, wait).await.map_err(|_| slow())?
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

    /// [`StoreError::Refused`] while the server may lose what it is given.
    pub(super) async fn check(&self) -> Result<()> {
        match self.shared().await?.complaints {
            complaints if complaints.is_empty() => Ok(()),
            complaints => Err(StoreError::Refused(complaints.join("; "))),
        }
    }

    /// The same, with the settings of this moment.
    pub(super) async fn check_anew(&self) -> Result<()> {
        let Open { number, mut connection, .. } = self.shared().await?;
        let complaints = check::complaints(&mut connection, &self.accepted).await?;
        if let Some(open) = &mut *self.open.lock().await
            && open.number == number
        {
            open.complaints = complaints;
        }
        self.check().await
    }

    /// Sends commands in one pipeline. Each has its own result; none has when the connection fails.
    pub(super) async fn pipe(&self, pipe: &Pipeline) -> Result<Vec<Result<Value>>> {
        if pipe.is_empty() {
            return Ok(Vec::new());
        }
        let Open { number, mut connection, .. } = self.shared().await?;
        match connection.req_packed_commands(pipe, 0, pipe.len()).await {
            Ok(values) => Ok(values.into_iter().map(checked).collect()),
            Err(error) => {
                self.broke(number).await;
                Err(unavailable(&error))
            }
        }
    }

    /// Sends one command.
    pub(super) async fn send<T: FromRedisValue>(&self, cmd: Cmd) -> Result<T> {
        let mut pipe = Pipeline::new();
        pipe.add_command(cmd);
        let answer = self.pipe(&pipe).await?.into_iter().next();
        read(answer.unwrap_or_else(|| Err(StoreError::Unavailable("Redis answered nothing".into())))?)
    }

    /// Runs scripts in one pipeline. Scripts that the server has forgotten are sent again.
    pub(super) async fn run(&self, calls: &[Call]) -> Result<Vec<Result<Value>>> {
        let mut first = Pipeline::new();
        for call in calls {
            first.add_command(call.command(true));
        }
        let mut answers = self.pipe(&first).await?;
        let unknown: Vec<usize> = answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| matches!(answer, Err(StoreError::Unavailable(why)) if why.starts_with("NOSCRIPT")))
            .map(|(place, _)| place)
            .collect();
        let mut second = Pipeline::new();
        for call in unknown.iter().filter_map(|place| calls.get(*place)) {
            second.add_command(call.command(false));
        }
        for (place, answer) in unknown.into_iter().zip(self.pipe(&second).await?) {
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
            }
        }
        Ok(answers)
    }

    /// Runs scripts in one pipeline, all of which must succeed.
    pub(super) async fn run_all<T: FromRedisValue>(&self, calls: &[Call]) -> Result<Vec<T>> {
        self.run(calls).await?.into_iter().map(|answer| read(answer?)).collect()
    }

    /// Runs one script.
    pub(super) async fn run_one<T: FromRedisValue>(&self, call: Call) -> Result<T> {
        let answer = self.run_all(&[call]).await?.into_iter().next();
        answer.ok_or_else(|| StoreError::Unavailable("Redis answered nothing".into()))
    }
}

/// Reads an answer as what it should be.
pub(super) fn read<T: FromRedisValue>(value: Value) -> Result<T> {
    redis::from_redis_value(value).map_err(|_| corrupt("an answer of another shape"))
}

/// Something that no version of Waypost writes.
pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.into())
}

pub(super) fn unavailable(error: &RedisError) -> StoreError {
    StoreError::Unavailable(told(error))
}

fn told(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// A server's error is the dataset's fault if a type or a row is not what it should be; else it is temporary.
pub(super) fn checked(value: Value) -> Result<Value> {
    let Value::ServerError(error) = value else { return Ok(value) };
    let (code, detail) = (error.code(), error.details().unwrap_or_default());
    if code == "WRONGTYPE" || detail.contains("WRONGTYPE") || detail.contains("Expected value but found") {
        return Err(StoreError::Corrupt(format!("{code} {detail}")));
    }
    Err(StoreError::Unavailable(format!("{code} {detail}")))
}
