//! The one way to Redis: each command goes to the server that has its partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue, Pipeline, Value};

pub(super) use super::call::{Call, checked, corrupt, missing, read, unavailable};
use super::call::{Elsewhere, elsewhere, in_full, is_script, partition_of};
use super::dial::Dialer;
use super::keys::Partition;
use super::route::{Map, Routes};
use super::server::{Server, Terms};
use crate::clock::Clock;
use crate::domain::redis_url::{Host, Redis};
use crate::domain::risk::Risk;
use crate::store::{Result, StoreError};

/// Between two looks for a partition that was elsewhere.
const SEEK_PAUSE: Duration = Duration::from_millis(20);

/// The servers, and the connections to them. A clone shares them.
#[derive(Clone)]
pub(super) struct Link {
    routes: Arc<Routes>,
    is_kept: bool,
}

/// A part of a pipeline that is for one server: which of its commands, and these.
type Part = (Vec<usize>, Pipeline);

impl Link {
    pub(super) fn new(redis: &Redis, clock: Arc<dyn Clock>, accepted: &[Risk]) -> Result<Self> {
        let (dialer, topology) = (Dialer::new(redis)?, redis.url.topology.clone());
        let terms = Terms { dialer, topology, accepted: accepted.to_vec(), durability: redis.durability, clock };
        Ok(Self { routes: Arc::new(Routes::new(terms, redis.url.hosts.clone())), is_kept: false })
    }

    /// The same that answers when whoever is to have a commit has what was sent, and all that was there before: a repeat
    /// waits as the first did.
    pub(super) fn kept(&self) -> Self {
        Self { routes: Arc::clone(&self.routes), is_kept: true }
    }

    /// Which server has each partition.
    pub(super) async fn map(&self) -> Result<Arc<Map>> {
        self.routes.map().await
    }

    /// Tells when another server has a partition than this says.
    pub(super) async fn changed(&self, map: &Arc<Map>) {
        self.routes.changed(map).await;
    }

    /// Has it looked up again which server has what.
    pub(super) fn doubt(&self, map: &Arc<Map>) {
        self.routes.doubt(map);
    }

    /// The same of what is known now.
    pub(super) async fn refresh(&self) {
        if let Ok(map) = self.map().await {
            self.doubt(&map);
        }
    }

    /// Whether partitions may be on several servers.
    pub(super) fn is_cluster(&self) -> bool {
        self.routes.is_cluster()
    }

    /// Whether one partition may fail so, and what is in the others be worked on.
    pub(super) fn passes_over<T>(&self, answer: &Result<T>) -> bool {
        self.is_cluster() && matches!(answer, Err(StoreError::Unavailable(_)))
    }

    /// [`StoreError::Refused`] while a server may lose what it is given. One that cannot be reached is passed over, if
    /// another can: it is looked at when it is connected to, and until then takes nothing.
    pub(super) async fn check(&self) -> Result<()> {
        let map = self.map().await?;
        let (mut complaints, mut failed) = (Vec::new(), Vec::new());
        for (server, found) in map.servers.iter().zip(join_all(map.servers.iter().map(|one| one.complaints())).await) {
            match found {
                Ok(found) => complaints.extend(found),
                Err(error @ StoreError::Refused(_)) => return Err(error),
                Err(error) => {
                    complaints.extend(server.last_complaints().await);
                    failed.push(error);
                }
            }
        }
        if !failed.is_empty() {
            self.doubt(&map);
        }
        match failed.pop() {
            Some(error) if failed.len() + 1 == map.servers.len() => Err(error),
            _ if complaints.is_empty() => Ok(()),
            _ => Err(StoreError::Refused(complaints.join("; "))),
        }
    }

    /// Sends commands, those for one server in one pipeline. Each has its own result; where there is one server, none has
    /// when the connection fails.
    pub(super) async fn pipe(&self, pipe: &Pipeline) -> Result<Vec<Result<Value>>> {
        if pipe.is_empty() {
            return Ok(Vec::new());
        }
        let map = self.map().await?;
        match map.servers.as_slice() {
            [server] if !self.is_cluster() => {
                let mut answers = server.pipe(pipe, self.is_kept.then_some(&[Partition::FIRST])).await;
                let is_elsewhere = |answers: &Vec<_>| answers.iter().any(|answer| elsewhere(answer).is_some());
                if answers.as_ref().map_or(true, is_elsewhere) {
                    self.doubt(&map);
                    answers.iter_mut().flatten().for_each(|answer| explain(answer, server));
                }
                answers
            }
            _ => Ok(self.spread(map, pipe).await),
        }
    }

    /// The same; what fails the connection fails each.
    pub(super) async fn pipe_each(&self, pipe: &Pipeline) -> Vec<Result<Value>> {
        self.pipe(pipe).await.unwrap_or_else(|error| vec![Err(error); pipe.len()])
    }

    /// Sends commands to a partition's server, whatever they name.
    pub(super) async fn pipe_to(&self, partition: Partition, pipe: &Pipeline) -> Result<Vec<Result<Value>>> {
        let map = self.map().await?;
        let answers = map.server(partition).ok_or_else(missing)?.pipe(pipe, None).await;
        if answers.is_err() {
            self.doubt(&map);
        }
        answers
    }

    /// Sends each command to the server that has its partition, side by side. What that server has not is looked for
    /// elsewhere, for a while: it did nothing of it.
    async fn spread(&self, mut map: Arc<Map>, pipe: &Pipeline) -> Vec<Result<Value>> {
        let commands: Vec<(Partition, &Cmd)> = pipe.cmd_iter().map(|cmd| (partition_of(cmd), cmd)).collect();
        let mut answers: Vec<Result<Value>> = commands.iter().map(|_| Err(missing())).collect();
        let mut left: Vec<usize> = (0..commands.len()).collect();
        loop {
            let mut parts: BTreeMap<usize, Part> = BTreeMap::new();
            for place in std::mem::take(&mut left) {
                let Some((partition, cmd)) = commands.get(place) else { continue };
                let part = parts.entry(map.number(*partition)).or_default();
                part.0.push(place);
                part.1.add_command((*cmd).clone());
            }
            let ask = async |number: usize, (places, pipe): Part| {
                let Some(server) = map.servers.get(number) else { return (places, Err(missing())) };
                let of = |place: &usize| commands.get(*place).map(|(partition, _)| *partition);
                let partitions: Vec<Partition> = places.iter().filter_map(of).collect();
                let answers = server.pipe(&pipe, self.is_kept.then_some(&partitions)).await;
                (places, answers)
            };
            let (mut found, mut again) = (Vec::new(), Vec::new());
            for (places, result) in join_all(parts.into_iter().map(|(number, part)| ask(number, part))).await {
                if result.is_err() {
                    self.doubt(&map);
                }
                let result = result.unwrap_or_else(|error| vec![Err(error); places.len()]);
                for (place, answer) in places.into_iter().zip(result) {
                    let Some(((partition, cmd), slot)) = commands.get(place).zip(answers.get_mut(place)) else {
                        continue;
                    };
                    *slot = match elsewhere(&answer) {
                        Some(Elsewhere::Asked(host)) if !is_script(cmd) => self.ask_there(host, cmd).await,
                        _ => answer,
                    };
                    match elsewhere(slot) {
                        Some(_) => again.push((*partition, place)),
                        None => found.push(*partition),
                    }
                }
            }
            self.routes.found(found.into_iter().filter(|partition| again.iter().all(|(other, _)| other != partition)));
            if again.is_empty() {
                return answers;
            }
            self.doubt(&map);
            left = again
                .into_iter()
                .filter(|(partition, _)| self.routes.seeks(*partition))
                .map(|(_, place)| place)
                .collect();
            if left.is_empty() {
                return answers;
            }
            tokio::time::sleep(SEEK_PAUSE).await;
            match self.map().await {
                Ok(other) => map = other,
                Err(_) => return answers,
            }
        }
    }

    /// Sends a command to where its key goes, or will be.
    async fn ask_there(&self, host: &str, cmd: &Cmd) -> Result<Value> {
        let (name, port) = host.rsplit_once(':').ok_or_else(missing)?;
        let port = port.parse().map_err(|_| missing())?;
        let mut pipe = Pipeline::new();
        pipe.cmd("ASKING").add_command(cmd.clone());
        let server: Arc<Server> = self.routes.server(&Host { name: name.to_owned(), port });
        server.pipe(&pipe, None).await?.pop().ok_or_else(missing)?
    }

    /// Sends one command.
    pub(super) async fn send<T: FromRedisValue>(&self, cmd: Cmd) -> Result<T> {
        let mut pipe = Pipeline::new();
        pipe.add_command(cmd);
        let answer = self.pipe(&pipe).await?.into_iter().next();
        read(answer.unwrap_or_else(|| Err(missing()))?)
    }

    /// Runs calls, those for one server in one pipeline. Scripts that a server has forgotten are sent again.
    pub(super) async fn run(&self, calls: Vec<Call>) -> Result<Vec<Result<Value>>> {
        let last = calls.len();
        self.run_until(calls, last).await
    }

    /// The same; commands from this place on are to come after all scripts, and are sent again after any that is.
    async fn run_until(&self, calls: Vec<Call>, last: usize) -> Result<Vec<Result<Value>>> {
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
        if !unknown.is_empty() {
            for (place, cmd) in first.cmd_iter().enumerate().skip(last) {
                unknown.push(place);
                second.add_command(cmd.clone());
            }
        }
        for (place, answer) in unknown.into_iter().zip(self.pipe(&second).await?) {
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
            }
        }
        Ok(answers)
    }

    /// Runs calls, and then plain commands: in one pipeline where there is one server, for it takes them in their order.
    pub(super) async fn run_then(&self, mut calls: Vec<Call>, then: Vec<Call>) -> Result<Vec<Result<Value>>> {
        if !self.is_cluster() {
            let last = calls.len();
            calls.extend(then);
            return self.run_until(calls, last).await;
        }
        let mut answers = self.run(calls).await?;
        answers.extend(self.run(then).await?);
        Ok(answers)
    }

    /// Runs calls, all of which must succeed.
    pub(super) async fn run_all<T: FromRedisValue>(&self, calls: Vec<Call>) -> Result<Vec<T>> {
        self.run(calls).await?.into_iter().map(|answer| read(answer?)).collect()
    }

    /// Runs one script.
    pub(super) async fn run_one<T: FromRedisValue>(&self, call: Call) -> Result<T> {
        let answer = self.run_all(vec![call]).await?.into_iter().next();
        answer.ok_or_else(missing)
    }
}

/// One server that does not have everything is one of several.
fn explain(answer: &mut Result<Value>, server: &Server) {
    if matches!(answer, Err(StoreError::Unavailable(why)) if why.starts_with("MOVED")) {
        *answer = Err(StoreError::Refused(format!(
            "Redis at {} is one of a cluster: write `redis+cluster://` in store.url",
            server.host()
        )));
    }
}
