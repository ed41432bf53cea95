//! `waypost send`: what a provider would post, signed as it would.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use waypost_providers::{Draft, Provider};

use super::cases::request;
use super::{Failure, client, nonce};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::domain::delivery::ErrorClass;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The source's name in the config file.
    source: String,
    /// A recorded case such as `email.bounced`, or a file that holds a body.
    case: String,
    /// The config file that the gateway runs with.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What signs: the source's secret, or for SendGrid the private key (base64 of PKCS#8 DER). Where `verify` is `basic` or
    /// `oauth`: `USER:PASSWORD` or `ID:SECRET`.
    #[arg(long, env = "WAYPOST_SEND_SECRET", hide_env_values = true)]
    secret: String,
    /// Where the gateway is; by default where its config says that it listens.
    #[arg(long)]
    url: Option<String>,
}

/// Posts one request and says what was answered. Anything but 200 is a failure.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = Settings::load_here(Some(&arguments.config))?;
    let source = settings.sources.get(&arguments.source).ok_or_else(|| {
        let known: Vec<_> = settings.sources.keys().map(String::as_str).collect();
        format!("no source `{}` in {}; it has {}", arguments.source, arguments.config.display(), known.join(", "))
    })?;
    let body = body(source.provider, &arguments.case)?;
    let gateway = arguments.url.unwrap_or_else(|| format!("http://{}", settings.server.listen));
    let url = format!("{}/in/{}", gateway.trim_end_matches('/'), arguments.source);
    let clock = Arc::new(SystemClock::new());
    let draft = Draft { body: &body, secret: &arguments.secret, now: clock.now(), nonce: nonce()? };
    let signed = source.proof.sign(source.provider, &arguments.source, draft)?;
    let request = request(&url, &signed.headers, signed.body)?;
    let client = client(settings.delivery.authorities, clock)?;
    let answer = client.post(request, Duration::from_secs(15)).await.answer;
    let text = answer.body.unwrap_or_default();
    match answer.status {
        Some(200) => {
            println!("200 {text}");
            Ok(())
        }
        Some(status) => Err(format!("{url} answered {status} {text}").into()),
        None => {
            let why = answer.error.map_or("", ErrorClass::as_str);
            Err(format!("{url} did not answer ({why}); is the gateway up, and is this where it listens?").into())
        }
    }
}

fn body(provider: &dyn Provider, case: &str) -> Result<Vec<u8>, Failure> {
    let samples = provider.samples();
    if let Some(body) = samples.body(case) {
        return Ok(body.to_vec());
    }
    std::fs::read(Path::new(case)).map_err(|error| {
        let known: Vec<_> = samples.names().collect();
        format!("`{case}` is neither a recorded case of {} ({}) nor a file: {error}", provider.name(), known.join(", "))
            .into()
    })
}
