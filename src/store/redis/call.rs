//! What is asked of a server, and how its answers are read.

use redis::{Arg, Cmd, FromRedisValue, RedisError, ToRedisArgs, Value};

use super::keys::{Partition, all};
use super::scripts::Script;
use crate::store::{Result, StoreError};

/// One call of a script, or a plain command among such.
pub(super) struct Call {
    pub(super) script: Option<&'static Script>,
    pub(super) cmd: Cmd,
}

/// A key that is never there. While keys of a partition are on their way to another server, one that is not there is where
/// they go to: so whatever names it is done by neither, and no script sees half of a partition.
const NEVER: &str = "-";

impl Call {
    /// A call in one partition, whose prefix is the first argument.
    pub(super) fn new(script: &'static Script, partition: Partition, keys: &[&str]) -> Self {
        let mut cmd = Cmd::new();
        cmd.arg("EVALSHA").arg(script.hash()).arg(keys.len() + 1);
        for name in keys.iter().chain([&NEVER]) {
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

/// What fails while keys of a partition are on their way to another server.
pub(super) fn is_settled(partition: Partition) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg("EXISTS").arg(partition.key(NEVER)).clone()
}

/// The same call with the script's text instead of its hash.
pub(super) fn in_full(script: &Script, known: &Cmd) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg("EVAL").arg(script.code());
    for arg in known.args_iter().skip(2) {
        if let Arg::Simple(bytes) = arg {
            cmd.arg(bytes);
        }
    }
    cmd
}

/// Whether a command calls a script.
pub(super) fn is_script(cmd: &Cmd) -> bool {
    matches!(cmd.args_iter().next(), Some(Arg::Simple(b"EVALSHA" | b"EVAL")))
}

/// The partition of the first key that a command names; the first of what names none.
pub(super) fn partition_of(cmd: &Cmd) -> Partition {
    let number = cmd.args_iter().find_map(|arg| match arg {
        Arg::Simple(bytes) => {
            std::str::from_utf8(bytes.strip_prefix(b"{wp:")?.split(|byte| *byte == b'}').next()?).ok()
        }
        _ => None,
    });
    let number = number.and_then(|number| number.parse().ok());
    all().find(|partition| Some(partition.0) == number).unwrap_or(Partition::FIRST)
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
    StoreError::Unavailable(match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    })
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

/// Why a server did nothing at all, which is another's or will be done in a moment.
pub(super) enum Elsewhere<'a> {
    /// It is for a server of this address to do, if it is asked as one that does not have the partition yet.
    Asked(&'a str),
    /// The partition has moved, or is moving; or its server is only starting, or no primary any more.
    Moved,
}

/// Whether an answer says so.
pub(super) fn elsewhere(answer: &Result<Value>) -> Option<Elsewhere<'_>> {
    let Err(StoreError::Unavailable(why)) = answer else { return None };
    elsewhere_of(why)
}

fn elsewhere_of(why: &str) -> Option<Elsewhere<'_>> {
    let (code, rest) = why.split_once(' ').unwrap_or((why, ""));
    match code {
        "ASK" => rest.split(' ').nth(1).map(Elsewhere::Asked),
        "MOVED" | "TRYAGAIN" | "CLUSTERDOWN" | "READONLY" | "LOADING" | "MASTERDOWN" => Some(Elsewhere::Moved),
        _ => None,
    }
}

/// Whether a server said so of what it was asked to do, and not that it is another's, or nobody.
pub(super) fn is_answer(error: &StoreError) -> bool {
    let StoreError::Unavailable(why) = error else { return true };
    let code = why.split(' ').next().unwrap_or_default();
    code.len() > 1 && code.bytes().all(|byte| byte.is_ascii_uppercase()) && elsewhere_of(why).is_none()
}

#[cfg(test)]
mod tests {
    use super::super::scripts;
    use super::*;

    #[test]
    fn a_command_tells_its_partition_by_its_first_key() {
        let call = Call::new(&scripts::TAKE, Partition(3), &["lanes"]);
        let keys: Vec<_> = call.cmd.args_iter().skip(2).take(3).collect();
        assert!(matches!(keys[..], [Arg::Simple(b"2"), Arg::Simple(b"{wp:3}:lanes"), Arg::Simple(b"{wp:3}:-")]));
        assert_eq!((partition_of(&call.cmd), is_script(&call.cmd)), (Partition(3), true));
        let call = Call::plain(&["GET", "{wp:2}:gen", "{wp:1}:x"]);
        assert_eq!((partition_of(&call.cmd), is_script(&call.cmd)), (Partition(2), false));
        for words in [&["TIME"][..], &["GET", "{wp:99}:x"], &["GET", "wp:1"]] {
            assert_eq!(partition_of(&Call::plain(words).cmd), Partition::FIRST, "{words:?}");
        }
    }

    #[test]
    fn what_is_another_servers_is_told_from_what_failed() {
        let answer = |why: &str| Err(StoreError::Unavailable(why.into()));
        assert!(matches!(elsewhere(&answer("ASK 9 b:2")), Some(Elsewhere::Asked("b:2"))));
        assert!(matches!(elsewhere(&answer("MOVED 9 b:2")), Some(Elsewhere::Moved)));
        assert!(matches!(elsewhere(&answer("CLUSTERDOWN Hash slot not served")), Some(Elsewhere::Moved)));
        assert!(elsewhere(&answer("OOM command not allowed")).is_none() && elsewhere(&Ok(Value::Nil)).is_none());
        let is_answer = |why: &str| is_answer(&StoreError::Unavailable(why.into()));
        assert!(is_answer("OOM command not allowed") && is_answer("ERR user_script:1"));
        assert!(!is_answer("MOVED 9 b:2") && !is_answer("Redis does not answer"));
    }
}
