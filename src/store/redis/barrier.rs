//! Waits until replicas have what was committed, once for all that wait at the same time.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Pipeline, Value};

use super::call::{checked, missing, read, unavailable};
use super::gather::Gather;
use super::keys::Partition;
use crate::domain::redis_url::Durability;
use crate::store::{Result, StoreError};

/// How long they are waited for; whoever waits is answered within a second.
const WAIT_MAX_MS: u64 = 500;

/// Waits for each that hands in a partition of the server that it wrote to.
pub(super) type Barrier = Gather<Partition, ()>;

/// A barrier for what goes over this connection.
pub(super) fn start(connection: MultiplexedConnection, durability: Durability) -> Barrier {
    Gather::start(move |partitions: Vec<Partition>| {
        let mut connection = connection.clone();
        async move {
            let first = partitions.first().copied().unwrap_or(Partition::FIRST);
            vec![wait(&mut connection, first, durability).await; partitions.len()]
        }
    })
}

/// A server waits for what this connection wrote, so something is written: who found a commit there waits for it, too.
async fn wait(connection: &mut MultiplexedConnection, partition: Partition, durability: Durability) -> Result<()> {
    let Durability { replicas, wait_aof } = durability;
    let mut pipe = Pipeline::new();
    pipe.cmd("SET").arg(partition.key("barrier")).arg(1);
    match wait_aof {
        true => pipe.cmd("WAITAOF").arg(1).arg(replicas).arg(WAIT_MAX_MS),
        false => pipe.cmd("WAIT").arg(replicas).arg(WAIT_MAX_MS),
    };
    let answers = connection.req_packed_commands(&pipe, 0, 2).await.map_err(|error| unknown(&unavailable(&error)))?;
    let [written, waited] = <[Value; 2]>::try_from(answers).map_err(|_| missing())?;
    let waited = checked(written).and_then(|_| checked(waited)).map_err(|error| unknown(&error))?;
    let (on_disk, have): (u64, u64) = if wait_aof { read(waited)? } else { (1, read(waited)?) };
    match (on_disk, have) {
        (0, _) => Err(StoreError::Unavailable("Redis has not synced a commit to its disk in time".into())),
        (_, have) if have < u64::from(replicas) => {
            Err(StoreError::Unavailable(format!("a commit is on {have} replicas of Redis, and is to be on {replicas}")))
        }
        _ => Ok(()),
    }
}

/// Not as the server says it: what was committed is not to be done again for that.
fn unknown(error: &StoreError) -> StoreError {
    StoreError::Unavailable(format!("nobody knows which replicas of Redis have a commit: {error}"))
}

#[cfg(test)]
mod tests {
    use redis::{AsyncConnectionConfig, RedisConnectionInfo};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::super::call::elsewhere;
    use super::*;

    /// What is sent to a server that answers so, and what comes of it.
    async fn waited(durability: Durability, answer: &'static [u8]) -> (String, Result<()>) {
        let (near, mut far) = duplex(4_096);
        let login = RedisConnectionInfo::default().set_skip_set_lib_name();
        let begun = MultiplexedConnection::new_with_config(&login, near, AsyncConnectionConfig::new()).await;
        let (mut connection, driver) = begun.unwrap();
        tokio::spawn(driver);
        let server = tokio::spawn(async move {
            let mut sent = [0; 4_096];
            let len = far.read(&mut sent).await.unwrap();
            far.write_all(answer).await.unwrap();
            String::from_utf8_lossy(&sent[..len]).into_owned()
        });
        let waited = wait(&mut connection, Partition(2), durability).await;
        (server.await.unwrap(), waited)
    }

    #[tokio::test]
    async fn so_many_replicas_and_disks_are_waited_for() {
        let [replicas, disks] = [false, true].map(|wait_aof| Durability { replicas: 2, wait_aof });
        let (sent, done) = waited(replicas, b"+OK\r\n:2\r\n").await;
        assert!(sent.contains("{wp:2}:barrier") && sent.contains("WAIT\r\n$1\r\n2\r\n$3\r\n500"), "{sent}");
        assert!(done.is_ok());
        let (sent, done) = waited(disks, b"+OK\r\n*2\r\n:1\r\n:3\r\n").await;
        assert!(sent.contains("WAITAOF\r\n$1\r\n1\r\n$1\r\n2\r\n$3\r\n500"), "{sent}");
        assert!(done.is_ok());
    }

    #[tokio::test]
    async fn what_is_not_known_to_be_kept_is_not_acknowledged_and_not_done_again() {
        let [replicas, disks] = [false, true].map(|wait_aof| Durability { replicas: 1, wait_aof });
        let cases: [(Durability, &[u8], &str); 4] = [
            (replicas, b"+OK\r\n:0\r\n", "a commit is on 0 replicas of Redis, and is to be on 1"),
            (disks, b"+OK\r\n*2\r\n:1\r\n:0\r\n", "a commit is on 0 replicas of Redis, and is to be on 1"),
            (disks, b"+OK\r\n*2\r\n:0\r\n:1\r\n", "Redis has not synced a commit to its disk in time"),
            (replicas, b"-MOVED 1 b:2\r\n:1\r\n", "nobody knows which replicas of Redis have a commit"),
        ];
        for (durability, answer, expected) in cases {
            let Err(error) = waited(durability, answer).await.1 else { panic!("{expected}") };
            assert!(error.to_string().contains(expected), "{error}");
            assert!(elsewhere(&Err(error)).is_none());
        }
    }
}
