//! Hears of work that other gateways made: each feed tells of ingests, each partition's announcements of the rest. Looks
//! whether a server that is refused is still to be.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::streams::StreamRangeReply;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::keys::all;
use super::link::{Link, read, unavailable};
use crate::store::{Result, StoreError};

const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How long one read blocks; a server that is silent for longer than this and a little is gone.
const BLOCK_MS: u64 = 2_000;
const RESPONSE_MAX: Duration = Duration::from_secs(4);
/// Wake-ups that come faster than this are one.
const PAUSE: Duration = Duration::from_millis(5);

/// Starts listening; the connection is made again for ever.
pub(super) fn start(link: Arc<Link>, work: Arc<Notify>, fed: Arc<watch::Sender<()>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut wait = WAIT_FIRST;
        let mut refused = None;
        loop {
            match follow(&link, (&work, &fed), &mut wait, &mut refused).await {
                Err(StoreError::Refused(why)) if refused.as_ref() == Some(&why) => {}
                Err(StoreError::Refused(why)) => {
                    tracing::error!("nothing is taken in: {why}");
                    refused = Some(why);
                }
                Err(error) => tracing::debug!(%error, "listening for work was interrupted"),
                Ok(()) => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    })
}

/// Returns when the connection breaks, and at once while the server is refused.
async fn follow(
    link: &Link,
    (work, fed): (&Notify, &watch::Sender<()>),
    wait: &mut Duration,
    refused: &mut Option<String>,
) -> Result<()> {
    let mut connection = link.own(RESPONSE_MAX).await?;
    link.check_anew().await?;
    if refused.take().is_some() {
        tracing::info!("Redis keeps what it is given again");
    }
    let streams: Vec<String> = all().flat_map(|partition| [partition.key("feed"), partition.key("announce")]).collect();
    loop {
        let newest = newest(&mut connection, &streams).await?;
        *wait = WAIT_FIRST;
        // Also for what came in while nobody listened.
        work.notify_one();
        fed.send_replace(());
        let mut read = Cmd::new();
        read.arg("XREAD").arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK_MS).arg("STREAMS").arg(&streams).arg(&newest);
        while let Value::Nil = connection.req_packed_command(&read).await.map_err(|error| unavailable(&error))? {}
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
        let last = read::<StreamRangeReply>(answer)?.ids.into_iter().next();
        newest.push(last.map_or_else(|| "0-0".to_owned(), |entry| entry.id));
    }
    Ok(newest)
}
