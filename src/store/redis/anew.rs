//! Has the server write its files anew, so that what was overwritten leaves the disk: the append-only file, and the
//! snapshot where there is one. Those of replicas, and backups, are their operators'.

use redis::Pipeline;

use super::link::{Link, missing, read};
use super::server::Server;
use crate::store::{Anew, Result, StoreError};

/// A field of what `INFO` answers.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

/// A file that is written anew, as `INFO persistence` tells of it.
struct File {
    command: &'static str,
    is_kept: bool,
    /// How many writings have been begun since the server was started.
    count: Option<u64>,
    /// Whether the last of them came to its end, and well.
    is_whole: bool,
    /// Whether any file is being written.
    is_busy: bool,
}

/// How many seconds after it failed a writing is not asked for again: each costs the server a fork, and it may have no room.
const PAUSE_AFTER_ERROR_S: u64 = 600;

/// How far it is with both files: the server, when the last writing was asked for, and how many writings of each the server
/// had told when they were asked for.
struct Begun<'a> {
    run: &'a str,
    asked_s: u64,
    counts: Vec<u64>,
}

fn begun(text: &str) -> Option<Begun<'_>> {
    let mut parts = text.split(':');
    let (run, asked_s) = (parts.next()?, parts.next()?.parse().ok()?);
    Some(Begun { run, asked_s, counts: parts.map(str::parse).collect::<std::result::Result<_, _>>().ok()? })
}

/// How far one server is.
enum Step {
    Written,
    Writing,
    Refused,
}

/// See [`Erasures::write_anew`](crate::store::Erasures::write_anew). Each primary writes its own files; one whose partition
/// came from another has yet to begin.
pub(super) async fn step(link: &Link, told: Option<&str>) -> Result<Anew> {
    let map = link.map().await?;
    let (mut all, mut is_written) = (Vec::new(), true);
    for server in &map.servers {
        match step_of(server, told.unwrap_or_default()).await {
            Ok((Step::Refused, _)) => return Ok(Anew::Refused),
            Ok((step, told)) => {
                is_written &= matches!(step, Step::Written);
                all.push(told);
            }
            Err(error) => {
                link.doubt(&map);
                return Err(error);
            }
        }
    }
    Ok(if is_written { Anew::Written } else { Anew::Writing(Some(all.join(","))) })
}

/// Each file in its turn; a writing that had begun when this one was asked for is waited for, and another begun.
async fn step_of(server: &Server, told: &str) -> Result<(Step, String)> {
    let mut pipe = Pipeline::new();
    pipe.cmd("INFO").arg("server");
    pipe.cmd("INFO").arg("persistence");
    pipe.cmd("CONFIG").arg("GET").arg("save");
    let mut answers = server.pipe(&pipe, None).await?.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Err(missing()));
    let (info_of_server, info): (String, String) = (read(next()?)?, read(next()?)?);
    // Who does not tell has a snapshot, for all that is known.
    let has_snapshot =
        next().and_then(read::<Vec<String>>).map_or(true, |save| save.get(1).is_none_or(|on| !on.is_empty()));
    let run = field(&info_of_server, "run_id").unwrap_or_default();
    let now_us = field(&info_of_server, "server_time_usec").and_then(|text| text.parse::<u64>().ok());
    let now_s = now_us.unwrap_or_default() / 1_000_000;
    let begun = told.split(',').filter_map(begun).find(|begun| begun.run == run);
    let (asked_s, mut counts) = begun.map_or((0, Vec::new()), |begun| (begun.asked_s, begun.counts));
    let told = |asked_s: u64, counts: &[u64]| {
        let counts: Vec<_> = counts.iter().map(u64::to_string).collect();
        [&[run.to_owned(), asked_s.to_string()][..], &counts].concat().join(":")
    };
    for (place, file) in files(&info, has_snapshot).iter().enumerate() {
        let is_later = counts.get(place).zip(file.count).is_some_and(|(then, now)| now > *then);
        let is_done = !file.is_kept || is_later && file.is_whole && !file.is_busy;
        if is_done {
            // It has its place among the counts all the same.
            if counts.len() == place {
                counts.push(0);
            }
            continue;
        }
        let has_failed = counts.get(place).is_some();
        if file.is_busy || has_failed && now_s.saturating_sub(asked_s) < PAUSE_AFTER_ERROR_S {
            return Ok((Step::Writing, told(asked_s, &counts)));
        }
        let Some(count) = file.count else { return Ok((Step::Refused, String::new())) };
        counts.truncate(place);
        let mut pipe = Pipeline::new();
        pipe.cmd(file.command);
        return match server.pipe(&pipe, None).await?.pop().unwrap_or_else(|| Err(missing())) {
            Ok(_) => {
                counts.push(count);
                Ok((Step::Writing, told(now_s, &counts)))
            }
            Err(StoreError::Unavailable(why)) if is_refusal(&why) => Ok((Step::Refused, String::new())),
            Err(error) => Err(error),
        };
    }
    Ok((Step::Written, told(asked_s, &counts)))
}

fn is_refusal(why: &str) -> bool {
    why.starts_with("NOPERM") || why.starts_with("ERR unknown command")
}

fn files(info: &str, has_snapshot: bool) -> [File; 2] {
    let is = |name: &str| field(info, name).is_some_and(|value| value != "0");
    let count = |name: &str| field(info, name)?.parse().ok();
    let is_busy = ["aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress"].into_iter().any(is);
    let is_ok = |name: &str| field(info, name) == Some("ok");
    let (log, snapshot) = (is_ok("aof_last_bgrewrite_status"), is_ok("rdb_last_bgsave_status"));
    [
        File {
            command: "BGREWRITEAOF",
            is_kept: is("aof_enabled"),
            count: count("aof_rewrites"),
            is_whole: log,
            is_busy,
        },
        File { command: "BGSAVE", is_kept: has_snapshot, count: count("rdb_saves"), is_whole: snapshot, is_busy },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Persistence\r\nrdb_bgsave_in_progress:0\r\nrdb_saves:3\r\naof_enabled:1\r\n\
        aof_rewrite_in_progress:1\r\naof_rewrite_scheduled:0\r\naof_rewrites:7\r\naof_last_bgrewrite_status:ok\r\n";

    #[test]
    fn a_server_tells_how_often_it_wrote_each_file() {
        let [log, snapshot] = files(INFO, false);
        assert_eq!((log.is_kept, log.count, log.is_whole, log.is_busy), (true, Some(7), true, true));
        assert_eq!((snapshot.is_kept, snapshot.count, snapshot.is_whole), (false, Some(3), false));
        assert_eq!(field(INFO, "aof_rewrite"), None);
        let begun = begun("0a1b:99:7:3").unwrap();
        assert_eq!((begun.run, begun.asked_s, begun.counts), ("0a1b", 99, vec![7, 3]));
    }
}
