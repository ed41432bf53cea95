//! A job of the gateway, watched until it ends. It goes on whether or not anybody watches.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::{Failure, asked_to_stop};
use super::Session;
use super::gateway::{Answer, segment};
use super::output::{print, remark};
use super::text::plain;

/// Where jobs are.
pub(super) const ROUTE: &str = "/v1/replays";
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often in a row nothing may be seen: the gateway is being restarted, or its store is.
const MISSED_MAX: usize = 120;

/// The id of a job that was begun.
pub(super) fn begun(job: &Value) -> Result<String, Failure> {
    let id = job["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| "the answer is not a gateway's; --url or WAYPOST_URL says where that is".into())
}

/// Shows how far a job has got until it ends, and then what became of it. Ctrl-C ends the watching alone.
pub(super) async fn watch(session: &Session, id: &str) -> Result<(), Failure> {
    let (path, mut progress) = (format!("{ROUTE}/{}", segment(id)), Progress::new());
    let mut missed = 0;
    let stop = asked_to_stop();
    tokio::pin!(stop);
    let last = loop {
        match session.gateway.get(&path).await {
            Ok(answer) => {
                let job: Value = answer.read()?;
                missed = 0;
                progress.show(&told(&job));
                if !is_active(&job) {
                    break (answer, job);
                }
            }
            Err(error) if error.is_passing() && missed < MISSED_MAX => {
                missed += 1;
                progress.show(&format!("{error}; trying again"));
            }
            Err(error) => {
                progress.end();
                return Err(if missed > 0 { format!("{error}; {}", goes_on(id)).into() } else { error.into() });
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            stopped = &mut stop => {
                stopped?;
                progress.end();
                return Err(goes_on(id).into());
            }
        }
    };
    progress.end();
    ended(session, last)
}

fn ended(session: &Session, (answer, job): (Answer, Value)) -> Result<(), Failure> {
    if session.output.is_json() {
        session.output.one(answer.read::<Box<RawValue>>()?.get())?;
    } else {
        print(&format!("{}\n", told(&job)))?;
    }
    match (job["state"].as_str(), job["error"].as_str()) {
        (Some("failed"), why) => Err(format!("it could not go on: {}", plain(why.unwrap_or("unknown"))).into()),
        _ => Ok(()),
    }
}

fn goes_on(id: &str) -> String {
    format!("{id} goes on; `waypost replay watch {id}` shows it, `waypost replay cancel {id}` stops it")
}

fn is_active(job: &Value) -> bool {
    matches!(job["state"].as_str(), Some("counting" | "running" | "canceling"))
}

/// How far a job has got, in one line.
fn told(job: &Value) -> String {
    let count = |name: &str| job[name].as_u64().unwrap_or_default();
    let [id, state] = ["id", "state"].map(|name| plain(job[name].as_str().unwrap_or_default()));
    let (counted, done) = (count("counted"), count("made") + count("left_out"));
    let mut line = format!("{id} {state}: ");
    if job["kind"] == "erasure" {
        line += &format!("{counted} looked at, {} erased", count("made"));
    } else if job["total"].is_null() {
        line += &format!("{counted} counted so far");
    } else if job["dry_run"] == true {
        line += &format!("{counted} match");
    } else {
        // More may match while it runs than were counted.
        let percent = (done * 100).checked_div(counted).unwrap_or(100).min(100);
        line += &format!("{} of {counted} made ({percent} %)", count("made"));
    }
    for (name, words) in [("left_out", "left out"), ("pending", "pending")] {
        if count(name) > 0 {
            line += &format!(", {} {words}", count(name));
        }
    }
    line
}

/// One line on standard error that changes; where no terminal is, a line for each state and each error.
struct Progress {
    is_terminal: bool,
    last: String,
}

impl Progress {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), last: String::new() }
    }

    fn show(&mut self, line: &str) {
        let first = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        if self.is_terminal {
            drop(write!(std::io::stderr(), "\r\u{1b}[2K{line}"));
        } else if first(line) != first(&self.last) {
            remark(line);
        }
        line.clone_into(&mut self.last);
    }

    /// Makes room for what is printed next.
    fn end(&self) {
        if self.is_terminal {
            drop(write!(std::io::stderr(), "\r\u{1b}[2K"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_tells_how_far_it_has_got() {
        let job = |state: &str, more: Value| {
            let mut job = json!({"id": "rpl_1", "state": state, "counted": 8, "made": 0, "left_out": 0, "pending": 0});
            job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            told(&job)
        };
        assert_eq!(job("counting", json!({})), "rpl_1 counting: 8 counted so far");
        let running = json!({"total": 8, "made": 3, "left_out": 1, "pending": 2});
        assert_eq!(job("running", running), "rpl_1 running: 3 of 8 made (50 %), 1 left out, 2 pending");
        assert_eq!(job("done", json!({"total": 8, "made": 9})), "rpl_1 done: 9 of 8 made (100 %)");
        assert_eq!(job("done", json!({"total": 0, "counted": 0})), "rpl_1 done: 0 of 0 made (100 %)");
        assert_eq!(job("done", json!({"total": 8, "dry_run": true})), "rpl_1 done: 8 match");
        let erasure = json!({"kind": "erasure", "made": 3});
        assert_eq!(job("running", erasure), "rpl_1 running: 8 looked at, 3 erased");
        assert_eq!(job("canceled", json!({"made": 2, "total": 8})), "rpl_1 canceled: 2 of 8 made (25 %)");
    }

    #[test]
    fn it_is_watched_while_there_is_something_to_do() {
        for (state, is_active_then) in [
            ("counting", true),
            ("running", true),
            ("canceling", true),
            ("done", false),
            ("canceled", false),
            ("failed", false),
        ] {
            assert_eq!(is_active(&json!({"state": state})), is_active_then, "{state}");
        }
    }
}
