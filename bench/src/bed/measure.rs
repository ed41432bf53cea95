//! One measurement: posts a load, waits until all of it is delivered, and joins what the processes noted.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Bed;
use crate::generator::record::{self, Record};
use crate::generator::{Sent, Spec};
use crate::load::Load;
use crate::process::Process;
use crate::receiver::Behaviour;
use crate::receiver::ledger::Counts;
use crate::redis::Redis;
use crate::report::{Quantiles, Run};
use crate::{Failure, clock, cpu, tell};

/// How often the receiver is asked how far it is.
const POLL: Duration = Duration::from_millis(20);
/// Without one more delivery for so long, what is missing is lost.
const STALLED_NS: u64 = 60_000_000_000;
/// How often a long run says how far it is.
const PROGRESS_NS: u64 = 5_000_000_000;

/// What to post.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What it is called in the report.
    pub(crate) name: String,
    /// What is posted.
    pub(crate) load: Load,
    /// For how many seconds at most.
    pub(crate) seconds: f64,
    /// How many requests at most; as many as can be sent in the time, if not given.
    pub(crate) requests: Option<u64>,
    /// Connections at once.
    pub(crate) connections: usize,
    /// Requests a second, in an open loop.
    pub(crate) rate: Option<f64>,
    /// What the endpoints do.
    pub(crate) endpoints: Answering,
}

/// When endpoints answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answering {
    /// As they do anyway; the measurement ends when everything is delivered.
    AsTheyDo,
    /// Only when everything is posted; what follows is measured by itself, too.
    Afterwards,
    /// Never; everything stays pending.
    Never,
}

/// CPU nanoseconds by process, and when.
struct Used(BTreeMap<&'static str, u64>);

impl Used {
    fn since(&self, before: &Self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(process, nanos)| (*process, nanos - before.0.get(process).copied().unwrap_or(0)))
    }
}

impl Bed {
    /// Posts and measures.
    pub(crate) fn measure(&mut self, plan: &Plan) -> Result<Run, Failure> {
        let spec = self.spec(plan);
        let mut generator = Process::own("generator", &["generate"], self.options.cpus("generator"))?;
        generator.ask(&serde_json::to_string(&spec)?)?;
        if plan.endpoints != Answering::AsTheyDo {
            self.behave(Behaviour { holds: true, ..Behaviour::default() })?;
        }
        if plan.name != "warmup" {
            cpu::quiet(self.options.quiet_within)?;
        }
        let lines = self.log_lines()?;
        let (counts, bytes, used) = (self.counts()?, self.store_bytes()?, self.used()?);
        let perf = self.options.perf.as_deref().filter(|_| plan.name != "warmup");
        let perf = perf.map(|file| record_perf(self.gateway.process.id(), file)).transpose()?;
        let (began, machine) = (clock::now(), cpu::machine()?);
        generator.say("go")?;
        let sent: Sent = serde_json::from_str(&self.wait(&mut generator, &plan.name)?)?;
        let records = record::read(&spec.records)?;
        self.next = records.iter().map(|record| record.first + u64::from(record.events)).max().unwrap_or(self.next);
        let accepted: u64 =
            records.iter().filter(|record| record.status == 200).map(|record| u64::from(record.events)).sum();
        let wanted = accepted * self.live() as u64;
        let (released, used_filling, stored) = (clock::now(), self.used()?, self.store_bytes()?);
        if plan.endpoints == Answering::Afterwards {
            self.redis.as_ref().map_or(Ok(()), Redis::forget_latencies)?;
            self.behave(Behaviour::default())?;
        }
        let joined = match plan.endpoints {
            Answering::Never => Joined::default(),
            _ => self.drained(&plan.name, counts, wanted, &records)?,
        };
        let used_after = self.used()?;
        let scripts = self.scripts(plan)?;
        let (seconds, machine) = ((clock::now() - began) as f64 / 1e9, cpu::machine()? - machine);
        if let Some(perf) = perf {
            stop_perf(perf)?;
        }
        let mut run = Run::of(&records, &sent);
        run.name.clone_from(&plan.name);
        run.store = self.options.store.name().into();
        run.load = plan.load.to_string();
        (run.endpoints, run.connections, run.rate) = (self.live.len(), plan.connections, plan.rate);
        run.ran_out &= plan.requests.is_none();
        run.count(counts, self.counts()?);
        run.end_to_end = Quantiles::of(joined.from_due);
        run.end_to_end_from_first_byte = Quantiles::of(joined.from_first_byte);
        run.losses = joined.losses;
        run.deliver_until(joined.last, &sent);
        for (process, after) in used_after.since(&used) {
            run.cpu_ns.insert(process.into(), after);
        }
        if plan.endpoints == Answering::Afterwards && wanted > 0 {
            run.figures.extend(scripts);
            run.figures.insert("drain: deliveries/s".into(), wanted as f64 / ((joined.last - released) as f64 / 1e9));
            for (process, nanos) in used_after.since(&used_filling) {
                run.figures
                    .insert(format!("drain: CPU us a delivery, {process}"), nanos as f64 / 1000.0 / wanted as f64);
            }
        }
        run.cpu_ns.insert("generator".into(), sent.cpu);
        run.count_others(machine, seconds);
        let lines = self.log_lines()? - lines;
        if lines > 0 {
            run.figures.insert("lines logged".into(), lines as f64);
        }
        run.peak_memory = cpu::memory(self.gateway.process.id(), "VmHWM")?;
        run.store_bytes = stored.saturating_sub(bytes);
        Ok(run)
    }

    /// How long Redis' scripts took while a backlog drained.
    fn scripts(&self, plan: &Plan) -> Result<BTreeMap<String, f64>, Failure> {
        let Some(redis) = self.redis.as_ref().filter(|_| plan.endpoints == Answering::Afterwards) else {
            return Ok(BTreeMap::new());
        };
        let named = ["p99", "p99.9"].into_iter().zip(redis.script_us()?);
        Ok(named.map(|(name, micros)| (format!("drain: scripts of Redis, {name}, us"), micros)).collect())
    }

    fn spec(&self, plan: &Plan) -> Spec {
        let most = match plan.rate {
            Some(rate) => (rate * plan.seconds).ceil() as u64,
            None => (plan.load.requests_per_s_max() as f64 * plan.seconds) as u64,
        };
        Spec {
            target: self.gateway.address,
            path: "/in".into(),
            load: plan.load.to_string(),
            first: self.next,
            requests: plan.requests.unwrap_or(most).max(1),
            duration_ms: (plan.seconds * 1000.0) as u64,
            connections: plan.connections,
            rate: plan.rate,
            cycle: false,
            records: self.file("records"),
        }
    }

    fn used(&self) -> Result<Used, Failure> {
        let mut used = BTreeMap::from([("gateway", self.gateway.process.cpu()?), ("receiver", self.receiver.cpu()?)]);
        if let Some(redis) = &self.redis {
            used.insert("redis", redis.process.cpu()?);
        }
        Ok(Used(used))
    }

    /// Waits for the generator's word, and says meanwhile how far it is.
    fn wait(&mut self, generator: &mut Process, name: &str) -> Result<String, Failure> {
        std::thread::scope(|scope| {
            let hearing = scope.spawn(|| generator.hear().map_err(|error| error.to_string()));
            let mut told = clock::now();
            while !hearing.is_finished() {
                std::thread::sleep(POLL);
                if clock::now() - told > PROGRESS_NS {
                    told = clock::now();
                    tell(&format!("{name}: {} delivered", self.counts()?.delivered));
                }
            }
            Ok(hearing.join().map_err(|_| "the wait for the generator broke off")??)
        })
    }

    /// Waits until everything that was accepted is delivered, or nothing moves any more.
    fn drained(&mut self, name: &str, before: Counts, wanted: u64, records: &[Record]) -> Result<Joined, Failure> {
        let (mut delivered, mut moved, mut told) = (0, clock::now(), clock::now());
        loop {
            let now = self.counts()?.delivered - before.delivered;
            if now > delivered {
                (delivered, moved) = (now, clock::now());
            }
            let is_stalled = clock::now() - moved > STALLED_NS;
            if delivered >= wanted || is_stalled {
                let joined = self.join(records)?;
                // What was answered with an error may have been delivered all the same, in the place of what is missing.
                if joined.losses == 0 || is_stalled {
                    return Ok(joined);
                }
            }
            if clock::now() - told > PROGRESS_NS {
                told = clock::now();
                tell(&format!("{name}: {delivered} of {wanted} delivered"));
            }
            std::thread::sleep(POLL);
        }
    }

    /// What was accepted and when it arrived.
    fn join(&mut self, records: &[Record]) -> Result<Joined, Failure> {
        let mut joined = Joined::default();
        let path = self.file("times");
        for endpoint in (0..self.live.len()).filter(|endpoint| self.live[*endpoint]).collect::<Vec<_>>() {
            let answer = self.receiver.ask(&format!("dump {endpoint} {}", path.display()))?;
            if answer != "done" {
                return Err(answer.into());
            }
            joined.add(records, &record::read_words(&path)?);
        }
        Ok(joined)
    }
}

/// What became of what was accepted.
#[derive(Default)]
struct Joined {
    from_due: Vec<u64>,
    from_first_byte: Vec<u64>,
    losses: u64,
    last: u64,
}

impl Joined {
    fn add(&mut self, records: &[Record], times: &[u64]) {
        for record in records.iter().filter(|record| record.status == 200) {
            for number in record.first..record.first + u64::from(record.events) {
                match times.get(number as usize).copied().unwrap_or(0) {
                    0 => self.losses += 1,
                    time => {
                        self.last = self.last.max(time);
                        self.from_due.push(time.saturating_sub(record.due));
                        self.from_first_byte.push(time.saturating_sub(record.sent));
                    }
                }
            }
        }
    }
}

fn record_perf(pid: u32, file: &std::path::Path) -> Result<Child, Failure> {
    let mut command = Command::new("perf");
    command.args(["record", "--quiet", "--call-graph", "fp", "-F", "997", "-p", &pid.to_string(), "-o"]).arg(file);
    let perf = command.stdin(Stdio::null()).spawn().map_err(|error| format!("perf: {error}"))?;
    // It has to find the threads before they work.
    std::thread::sleep(Duration::from_millis(500));
    Ok(perf)
}

fn stop_perf(mut perf: Child) -> Result<(), Failure> {
    kill(Pid::from_raw(perf.id().cast_signed()), Signal::SIGINT)?;
    perf.wait()?;
    Ok(())
}
