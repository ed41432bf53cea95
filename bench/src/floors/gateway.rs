//! A handler that proves a request of the Resend load, reads it, tells it in other words, and answers when that is in a
//! synced file beside the request, and does nothing else: nothing it keeps can be found again.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::sync::{mpsc, oneshot};

use crate::Failure;
use crate::load::keys;

/// Requests that share a sync at most.
const BATCH: usize = 512;
/// The room that is written beforehand, and used again and again.
const FILE_BYTES: usize = 32 * 1024 * 1024;

/// What is to be kept, and whom to tell.
type Kept = (Vec<u8>, oneshot::Sender<()>);

/// What a webhook tells, and what is told of it.
#[derive(Serialize, Deserialize)]
struct Told<'a> {
    #[serde(skip_deserializing)]
    id: String,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    created_at: Cow<'a, str>,
    #[serde(borrow)]
    data: Mail<'a>,
}

#[derive(Serialize, Deserialize)]
struct Mail<'a> {
    #[serde(borrow)]
    email_id: Cow<'a, str>,
    #[serde(borrow)]
    message_id: Cow<'a, str>,
    #[serde(borrow)]
    created_at: Cow<'a, str>,
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    to: [&'a str; 1],
    #[serde(borrow)]
    subject: Cow<'a, str>,
}

/// `bench floor-gateway FILE`: the port goes out; it serves until it is killed.
#[expect(clippy::print_stdout, reason = "the way it talks to its parent")]
pub(crate) fn main(path: &Path) -> Result<(), Failure> {
    let file = File::create_new(path)?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    let keys = keys("resend")?;
    let secret = keys.values().flatten().next().ok_or("no secret")?;
    let key = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(secret.trim_start_matches("whsec_"))?)?;
    let (sender, receiver) = mpsc::channel(4096);
    let writer = std::thread::spawn(move || write(&file, receiver));
    let served = actix_web::rt::System::new().block_on(async {
        let routes = move || {
            let (sender, key) = (sender.clone(), key.clone());
            let handle = move |request: HttpRequest, body: Bytes| take(request, body, sender.clone(), key.clone());
            App::new().app_data(web::PayloadConfig::new(4 << 20)).route("/in/{source}", web::post().to(handle))
        };
        let server = HttpServer::new(routes).disable_signals().bind("127.0.0.1:0")?;
        println!("{}", server.addrs().first().map_or(0, std::net::SocketAddr::port));
        server.run().await
    });
    drop(writer);
    Ok(served?)
}

async fn take(request: HttpRequest, body: Bytes, to: mpsc::Sender<Kept>, key: Hmac<Sha256>) -> HttpResponse {
    let Some(kept) = keep(&request, &body, key) else { return HttpResponse::BadRequest().finish() };
    let (done, synced) = oneshot::channel();
    if to.send((kept, done)).await.is_err() || synced.await.is_err() {
        return HttpResponse::ServiceUnavailable().finish();
    }
    HttpResponse::Ok().content_type("application/json").body(r#"{"received":true}"#)
}

/// The event and its request, if it is proven.
fn keep(request: &HttpRequest, body: &[u8], mut key: Hmac<Sha256>) -> Option<Vec<u8>> {
    let header = |name| request.headers().get(name)?.to_str().ok();
    let (id, at, signature) = (header("svix-id")?, header("svix-timestamp")?, header("svix-signature")?);
    for part in [id.as_bytes(), b".", at.as_bytes(), b".", body] {
        key.update(part);
    }
    key.verify_slice(&STANDARD.decode(signature.strip_prefix("v1,")?).ok()?).ok()?;
    let mut told: Told<'_> = serde_json::from_slice(body).ok()?;
    told.id = hex::encode(&digest(&SHA256, id.as_bytes()).as_ref()[..16]);
    let mut kept = serde_json::to_vec(&told).ok()?;
    kept.extend_from_slice(body);
    Some(kept)
}

fn write(file: &File, mut receiver: mpsc::Receiver<Kept>) -> std::io::Result<()> {
    let (mut at, mut buffer, mut batch) = (0, Vec::new(), Vec::new());
    while receiver.blocking_recv_many(&mut batch, BATCH) > 0 {
        buffer.clear();
        batch.iter().for_each(|(kept, _)| buffer.extend_from_slice(kept));
        if at + buffer.len() > FILE_BYTES {
            at = 0;
        }
        file.write_all_at(&buffer, at as u64)?;
        file.sync_data()?;
        at += buffer.len();
        for (_, done) in batch.drain(..) {
            // Who asked may have gone.
            let _ = done.send(());
        }
    }
    Ok(())
}
