//! The connection: shared by all calls, made again when it breaks, and never waited for longer than a second. Whoever is
//! connected to is asked for its settings before anything else.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Arg, AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError, ToRedisArgs, Value};
use tokio::sync::Mutex;

use super::check;
use super::keys::Partition;
use super::scripts::Script;
use crate::domain::risk::Risk;
use crate::store::{Result, StoreError};

const CONNECT_MAX: Duration = Duration::from_millis(500);
const RESPONSE_MAX: Duration = Duration::from_secs(1);

/// One call of a script, or a plain command among such.
pub(super) struct Call {
    script: Option<&'static Script>,
    cmd: Cmd,
}

impl Call {
    /// A call in one partition, whose prefix is the first argument.
    pub(super) fn new(script: &'static Script, partition: Partition, keys: &[&str]) -> Self {
        let mut cmd = Cmd::new();
        cmd.arg("EVALSHA").arg(script.hash()).arg(keys.len());
        for name in keys {
            cmd.arg(partition.key(name));
        }
        cmd.arg(partition.prefix());
        Self { script: Some(script), cmd }
    }

    /// A plain command.
    pub(super) fn plain(words: &[&str]) -> Self {
        let mut cmd = Cmd::new();
        for word in words {
            cmd.arg(*word);
        }
        Self { script: None, cmd }
    }

    pub(super) fn arg(&mut self, arg: impl AsRef<[u8]>) -> &mut Self {
        self.cmd.arg(arg.as_ref());
        self
    }

    pub(super) fn num(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.cmd.arg(arg);
        self
    }
}

/// The same call with the script's text instead of its hash.
fn in_full(script: &Script, known: &Cmd) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg("EVAL").arg(script.code());
    for arg in known.args_iter().skip(2) {
        if let Arg::Simple(bytes) = arg {
            cmd.arg(bytes);
        }
    }
    cmd
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
            Ok(values) if values.len() == pipe.len() => Ok(values.into_iter().map(checked).collect()),
            Ok(_) => Err(missing()),
            Err(error) => {
                self.broke(number).await;
                Err(unavailable(&error))
            }
        }
    }

    /// The same; what fails the connection fails each.
    pub(super) async fn pipe_each(&self, pipe: &Pipeline) -> Vec<Result<Value>> {
        self.pipe(pipe).await.unwrap_or_else(|error| vec![Err(error); pipe.len()])
    }

    /// Sends one command.
    pub(super) async fn send<T: FromRedisValue>(&self, cmd: Cmd) -> Result<T> {
        let mut pipe = Pipeline::new();
        pipe.add_command(cmd);
        let answer = self.pipe(&pipe).await?.into_iter().next();
        read(answer.unwrap_or_else(|| Err(missing()))?)
    }

    /// Runs calls in one pipeline. Scripts that the server has forgotten are sent again.
    pub(super) async fn run(&self, calls: Vec<Call>) -> Result<Vec<Result<Value>>> {
        let (mut first, mut scripts) = (Pipeline::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
        for call in calls {
            first.add_command(call.cmd);
            scripts.push(call.script);
        }
        let mut answers = self.pipe(&first).await?;
        let (mut unknown, mut second) = (Vec::new(), Pipeline::new());
        for (place, ((answer, cmd), script)) in answers.iter().zip(first.cmd_iter()).zip(scripts).enumerate() {
            if let Some(script) = script
                && matches!(answer, Err(StoreError::Unavailable(why)) if why.starts_with("NOSCRIPT"))
            {
                unknown.push(place);
                second.add_command(in_full(script, cmd));
            }
        }
        for (place, answer) in unknown.into_iter().zip(self.pipe(&second).await?) {
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
            }
        }
        Ok(answers)
    }

    /// Runs calls in one pipeline, all of which must succeed.
    pub(super) async fn run_all<T: FromRedisValue>(&self, calls: Vec<Call>) -> Result<Vec<T>> {
        self.run(calls).await?.into_iter().map(|answer| read(answer?)).collect()
    }

    /// Runs one script.
    pub(super) async fn run_one<T: FromRedisValue>(&self, call: Call) -> Result<T> {
        let answer = self.run_all(vec![call]).await?.into_iter().next();
        answer.ok_or_else(missing)
    }
}

/// Reads an answer as what it should be.
pub(super) fn read<T: FromRedisValue>(value: Value) -> Result<T> {
    redis::from_redis_value(value).map_err(|_| corrupt("an answer of another shape"))
}

/// Fewer answers than questions.
pub(super) fn missing() -> StoreError {
    StoreError::Unavailable("Redis answered nothing".into())
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

/// A server's error is the dataset's fault if a type is not what it should be; else it is temporary.
pub(super) fn checked(value: Value) -> Result<Value> {
    let Value::ServerError(error) = value else { return Ok(value) };
    let (code, detail) = (error.code(), error.details().unwrap_or_default());
    if code == "WRONGTYPE" || detail.contains("WRONGTYPE") {
        return Err(StoreError::Corrupt(format!("{code} {detail}")));
    }
    Err(StoreError::Unavailable(format!("{code} {detail}")))
}
