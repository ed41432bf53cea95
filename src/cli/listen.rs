//! `waypost listen`: a receiver to try an endpoint with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clap::Args;
use http::HeaderName;

use super::{Failure, asked_to_stop, receiver};
use crate::clock::SystemClock;
use crate::outbound::sign::Secret;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The port to listen on, on the loopback address; 0 takes a free one.
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// The endpoint's secret.
    #[arg(long, env = "WAYPOST_SECRET", hide_env_values = true)]
    secret: String,
    /// The endpoint's `signature_header`, if it has one.
    #[arg(long, value_name = "NAME")]
    signature_header: Option<HeaderName>,
}

/// Prints each delivery as it comes, until it is stopped. One that is not proven is answered 401, and printed with the
/// reason.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let secret = Secret::parse(&arguments.secret).map_err(|error| format!("--secret: {error}"))?;
    let own = arguments.signature_header.map(|name| name.to_string());
    let print: receiver::Answer = Arc::new(|received| {
        let refused =
            received.verdict.as_ref().map(|()| String::new()).unwrap_or_else(|why| format!("refused, {why}: "));
        println!("{} attempt {} {refused}{}", received.id, received.attempt, String::from_utf8_lossy(&received.body));
        200
    });
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let (address, server) = receiver::start(address, secret, own, Arc::new(SystemClock::new()), print)
        .map_err(|error| format!("--port {}: {error}; choose another", arguments.port))?;
    println!("listening on http://{address}");
    let handle = server.handle();
    tokio::select! {
        result = server => result?,
        result = asked_to_stop() => {
            result?;
            handle.stop(true).await;
        }
    }
    Ok(())
}
