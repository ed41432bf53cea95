//! The command line; one file for each command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::telemetry;

mod cases;
mod check;
mod demo;
mod listen;
mod receiver;
mod send;
mod serve;

/// One gateway for the webhooks of Resend, SendGrid and Mailgun.
#[derive(Debug, Parser)]
#[command(name = "waypost", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    ///
    /// Example: waypost serve --config /etc/waypost.toml
    Serve {
        /// The config file; without one, the defaults and WAYPOST__SECTION__KEY from the environment.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Show everything at work in one process, with no set-up.
    ///
    /// Example: waypost demo --exit
    Demo {
        /// Stop after the table instead of serving on.
        #[arg(long)]
        exit: bool,
    },
    /// Sign a request as a provider would, and post it to a gateway.
    ///
    /// Example: waypost send resend email.bounced --config waypost.toml
    Send(send::Arguments),
    /// Receive deliveries, verify and print them.
    ///
    /// Example: waypost listen --port 9000 --secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
    Listen(listen::Arguments),
    /// Check a config file and say what it sets up.
    ///
    /// Example: waypost check waypost.toml
    Check {
        /// The config file.
        #[arg(value_name = "CONFIG")]
        config: PathBuf,
    },
}

/// What ends a command badly, in words for the person who called it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    telemetry::start(matches!(command, Command::Demo { .. } | Command::Send(_) | Command::Check { .. }));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let result = runtime.block_on(async {
        match command {
            Command::Serve { config } => serve::run(config.as_deref()).await,
            Command::Demo { exit } => demo::run(exit).await,
            Command::Send(arguments) => send::run(arguments).await,
            Command::Listen(arguments) => listen::run(arguments).await,
            Command::Check { config } => check::run(&config),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error.as_ref()),
    }
}

#[expect(clippy::print_stderr, reason = "the one place that tells a person why the program ends")]
fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("waypost: {error}");
    ExitCode::FAILURE
}

/// Resolves on SIGTERM and on Ctrl-C.
async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        result = tokio::signal::ctrl_c() => result,
    }
}

/// Random bytes, for message ids and tokens.
fn nonce() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system gives no random bytes")?;
    Ok(bytes)
}
