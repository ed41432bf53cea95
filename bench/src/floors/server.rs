//! A handler that reads the request and answers as the gateway does, and does nothing else.

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};

use crate::Failure;

/// `bench floor-server`: the port goes out; it serves until it is killed.
#[expect(clippy::print_stdout, reason = "the way it talks to its parent")]
pub(crate) fn main() -> Result<(), Failure> {
    let handle = |_: Bytes| async { HttpResponse::Ok().content_type("application/json").body(r#"{"received":true}"#) };
    let routes =
        move || App::new().app_data(web::PayloadConfig::new(4 << 20)).route("/in/{source}", web::post().to(handle));
    let served = actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(routes).disable_signals().bind("127.0.0.1:0")?;
        println!("{}", server.addrs().first().map_or(0, std::net::SocketAddr::port));
        server.run().await
    });
    Ok(served?)
}
