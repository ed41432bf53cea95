//! A process of the run: started, spoken to line by line, and ended with its handle.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::{Failure, cpu};

/// One process. Dropped, it is killed.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts `command` on these CPUs; on all, if none are given.
    pub(crate) fn start(name: &'static str, command: &mut Command, cpus: &[usize]) -> Result<Self, Failure> {
        let before = pin(cpus)?;
        let child = command.spawn();
        // A child has the CPUs of the thread that started it.
        if let Some(before) = before {
            sched_setaffinity(Pid::from_raw(0), &before)?;
        }
        let mut child = child.map_err(|error| format!("{name}: cannot start {:?}: {error}", command.get_program()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Ok(Self { name, child, input, output })
    }

    /// Starts this program again in another part of the play.
    pub(crate) fn own(name: &'static str, arguments: &[&str], cpus: &[usize]) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::start(name, &mut command, cpus)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU nanoseconds so far.
    pub(crate) fn cpu(&self) -> Result<u64, Failure> {
        cpu::of(self.id()).map_err(|error| format!("{} is gone: {error}", self.name).into())
    }

    /// Writes one line to it.
    pub(crate) fn say(&mut self, line: &str) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("it does not listen")?;
        writeln!(input, "{line}").map_err(|error| format!("{} does not listen: {error}", self.name))?;
        Ok(input.flush()?)
    }

    /// Waits for one line from it.
    pub(crate) fn hear(&mut self) -> Result<String, Failure> {
        let output = self.output.as_mut().ok_or("it does not speak")?;
        let mut line = String::new();
        match output.read_line(&mut line)? {
            0 => Err(format!("{} ended before its time", self.name).into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// A line there and a line back.
    pub(crate) fn ask(&mut self, line: &str) -> Result<String, Failure> {
        self.say(line)?;
        self.hear()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Moves this thread to these CPUs; answers where it was.
fn pin(cpus: &[usize]) -> Result<Option<CpuSet>, Failure> {
    if cpus.is_empty() {
        return Ok(None);
    }
    let before = sched_getaffinity(Pid::from_raw(0))?;
    let mut wanted = CpuSet::new();
    for cpu in cpus {
        wanted.set(*cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &wanted)?;
    Ok(Some(before))
}
