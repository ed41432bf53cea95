//! Hears of work that other gateways made: each feed tells of ingests, each partition's announcements of the rest. Looks
//! whether a server that is refused is still to be.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::streams::StreamRangeReply;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::keys::{Partition, all};
use super::link::{Link, checked, read, unavailable};
use super::route::Map;
use super::server::Server;
use crate::store::{Result, StoreError};

const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How long one read blocks; a server that is silent for longer than this and a little is gone.
const BLOCK_MS: u64 = 2_000;
const RESPONSE_MAX: Duration = Duration::from_secs(4);
/// Wake-ups that come faster than this are one.
const PAUSE: Duration = Duration::from_millis(5);

/// Starts listening, to each server that has some of it; connections are made again for ever.
pub(super) fn start(link: Arc<Link>, work: Arc<Notify>, fed: Arc<watch::Sender<()>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let Ok(map) = link.map().await else {
                tokio::time::sleep(WAIT_FIRST).await;
                continue;
            };
            // A cluster answers no command that names keys of several slots.
            let groups = if link.is_cluster() { all().map(|one| vec![one]).collect() } else { vec![all().collect()] };
            tokio::select! {
                _ = join_all(groups.into_iter().map(|group| listen(&link, &map, group, (&work, &fed)))) => {}
                () = link.changed(&map) => {}
            }
        }
    })
}

/// Listens to these partitions, which have one server.
async fn listen(link: &Link, map: &Arc<Map>, partitions: Vec<Partition>, heard: (&Notify, &watch::Sender<()>)) {
    let Some(server) = partitions.first().and_then(|first| map.server(*first)) else { return };
    let key = |partition: Partition| [partition.key("feed"), partition.key("announce")];
    let streams: Vec<String> = partitions.into_iter().flat_map(key).collect();
    let mut wait = WAIT_FIRST;
    let mut refused = None;
    loop {
        match follow(server, &streams, heard, &mut wait, &mut refused).await {
            Err(StoreError::Refused(why)) if refused.as_ref() == Some(&why) => {}
            Err(StoreError::Refused(why)) => {
                tracing::error!("nothing is taken in: {why}");
                refused = Some(why);
            }
            Err(error) => tracing::debug!(%error, "listening for work was interrupted"),
            Ok(()) => {}
        }
        link.doubt(map);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
        // Whoever has them now is listened to instead.
        let _ = link.map().await;
    }
}

/// Returns when the connection breaks, and at once while the server is refused.
async fn follow(
    server: &Server,
    streams: &[String],
    (work, fed): (&Notify, &watch::Sender<()>),
    wait: &mut Duration,
    refused: &mut Option<String>,
) -> Result<()> {
    let mut connection = server.own(RESPONSE_MAX).await?;
    let complaints = server.look_anew().await?;
    if !complaints.is_empty() {
        return Err(StoreError::Refused(complaints.join("; ")));
    }
    if refused.take().is_some() {
        tracing::info!("Redis keeps what it is given again");
    }
    loop {
        let newest = newest(&mut connection, streams).await?;
        *wait = WAIT_FIRST;
        // Also for what came in while nobody listened.
        work.notify_one();
        fed.send_replace(());
        let mut read = Cmd::new();
        read.arg("XREAD").arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK_MS).arg("STREAMS").arg(streams).arg(&newest);
        let more = async |connection: &mut MultiplexedConnection| {
            checked(connection.req_packed_command(&read).await.map_err(|error| unavailable(&error))?)
        };
        while let Value::Nil = more(&mut connection).await? {}
        tokio::time::sleep(PAUSE).await;
    }
}

async fn newest(connection: &mut MultiplexedConnection, streams: &[String]) -> Result<Vec<String>> {
    let mut pipe = Pipeline::new();
    for stream in streams {
        let mut cmd = Cmd::new();
        cmd.arg("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        pipe.add_command(cmd);
    }
    let answers = connection.req_packed_commands(&pipe, 0, streams.len()).await.map_err(|error| unavailable(&error))?;
    let mut newest = Vec::with_capacity(streams.len());
    for answer in answers {
        let last = read::<StreamRangeReply>(checked(answer)?)?.ids.into_iter().next();
        newest.push(last.map_or_else(|| "0-0".to_owned(), |entry| entry.id));
    }
    Ok(newest)
}
