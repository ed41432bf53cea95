//! What the server's settings would lose.

use std::collections::HashMap;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline};

use super::link::{checked, read, unavailable};
use crate::domain::redis_url::Durability;
use crate::domain::risk::Risk;
use crate::store::{Result, StoreError};

/// What is wrong with a server's settings, in one sentence each.
pub(super) async fn complaints(
    connection: &mut MultiplexedConnection,
    accepted: &[Risk],
    durability: Durability,
) -> Result<Vec<String>> {
    let mut pipe = Pipeline::new();
    for name in ["maxmemory-policy", "appendonly", "appendfsync"] {
        let mut cmd = Cmd::new();
        cmd.arg("CONFIG").arg("GET").arg(name);
        pipe.add_command(cmd);
    }
    let mut settings: HashMap<String, String> = HashMap::new();
    let answers = connection.req_packed_commands(&pipe, 0, pipe.len()).await.map_err(|error| unavailable(&error))?;
    for answer in answers {
        match checked(answer) {
            Ok(value) => settings.extend(read::<HashMap<String, String>>(value)?),
            Err(StoreError::Unavailable(why)) if !is_refusal(&why) => return Err(StoreError::Unavailable(why)),
            Err(_) => {}
        }
    }
    let found = judge(&settings).into_iter().filter(|(risk, _)| !accepted.contains(risk));
    let mut found: Vec<String> = found.map(|(_, told)| told).collect();
    if durability.wait_aof {
        found.extend(waits_not(connection, &settings).await?);
    }
    Ok(found)
}

/// Why a server does not tell what is on its disk, if it does not.
async fn waits_not(
    connection: &mut MultiplexedConnection,
    settings: &HashMap<String, String>,
) -> Result<Option<String>> {
    if settings.get("appendonly").is_some_and(|value| value == "no") {
        let why =
            "store.durability.wait_aof waits for what Redis with `appendonly no` never writes: set `appendonly yes`";
        return Ok(Some(why.into()));
    }
    let wait = Cmd::new().arg("WAITAOF").arg(0).arg(0).arg(1).clone();
    match checked(connection.req_packed_command(&wait).await.map_err(|error| unavailable(&error))?) {
        Ok(_) if settings.get("appendfsync").is_some_and(|value| value != "always") => Ok(Some(
            "store.durability.wait_aof would wait for up to a second, which nobody is kept waiting for: set \
             `appendfsync always`, or set it to false"
                .into(),
        )),
        Err(StoreError::Unavailable(why)) if is_refusal(&why) => Ok(Some(
            "store.durability.wait_aof needs a Redis that knows `WAITAOF` and lets this user call it: use Redis 7.2 or newer, \
             or set it to false"
                .into(),
        )),
        answer => answer.map(|_| None),
    }
}

fn is_refusal(why: &str) -> bool {
    why.starts_with("ERR") || why.starts_with("NOPERM")
}

fn judge(settings: &HashMap<String, String>) -> Vec<(Risk, String)> {
    let wanted: [(&str, &[&str], Risk, &str); 3] = [
        ("maxmemory-policy", &["noeviction"], Risk::Eviction, "maxmemory-policy noeviction"),
        ("appendonly", &["yes"], Risk::NoAof, "appendonly yes"),
        ("appendfsync", &["everysec", "always"], Risk::NoAof, "appendfsync everysec"),
    ];
    let mut found = Vec::new();
    for (name, good, risk, remedy) in wanted {
        let (risk, value) = match settings.get(name) {
            Some(value) if good.contains(&value.as_str()) => continue,
            Some(value) => (risk, format!("is `{value}`")),
            None => (Risk::Unknown, "cannot be read".into()),
        };
        let word = risk.as_str();
        found.push((
            risk,
            format!(
                "Redis' `{name}` {value}: set `{remedy}`, or accept the risk with store.accept_risk = [\"{word}\"]"
            ),
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(policy: &str, aof: &str) -> HashMap<String, String> {
        [("maxmemory-policy", policy), ("appendonly", aof), ("appendfsync", "everysec")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn a_refusal_names_setting_value_and_remedy() {
        let found = judge(&settings("allkeys-lru", "no"));
        assert_eq!(found.iter().map(|(risk, _)| *risk).collect::<Vec<_>>(), [Risk::Eviction, Risk::NoAof]);
        for part in ["`maxmemory-policy`", "`allkeys-lru`", "noeviction", "\"eviction\""] {
            assert!(found[0].1.contains(part), "{}", found[0].1);
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_risk_of_its_own() {
        assert!(judge(&HashMap::new()).iter().all(|(risk, _)| *risk == Risk::Unknown));
        assert!(judge(&settings("noeviction", "yes")).is_empty());
    }
}
