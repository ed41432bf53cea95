//! The command line; one file for each command.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use rustls::pki_types::CertificateDer;
use tokio::runtime::{Builder, Runtime};

use crate::clock::Clock;
use crate::dispatch::client::{Client, Egress};
use crate::domain::target::Networks;
use crate::telemetry;

mod api;
mod cases;
mod check;
mod completions;
mod demo;
mod key;
mod listen;
mod receiver;
mod secrets;
mod send;
mod serve;

/// One gateway for the webhooks of email providers and of senders of your own.
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
    /// Example: waypost send resend email.bounced --config waypost.toml --secret "$SECRET"
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
    /// Look at who is told of what came in, and change it.
    Endpoints(api::endpoints::Arguments),
    /// Look at what came in, and send it again.
    Events(api::events::Arguments),
    /// Print what came in, in order, and go on with what comes in.
    ///
    /// With a cursor file it can be stopped at any time, and goes on where it was.
    ///
    /// Example: waypost feed --follow --type email.* --json --cursor-file cursor
    Feed(api::feed::Arguments),
    /// Look at what went out, and send it again.
    Deliveries(api::deliveries::Arguments),
    /// Ask and change whom to write to no more.
    Suppressions(api::suppressions::Arguments),
    /// Erase all that was received of a person until now; needs a key of scope `admin`.
    ///
    /// It cannot be undone. Shows how far it has got until it is done: then the bytes have left the disk.
    ///
    /// Example: waypost erase nora@customer.example
    Erase(api::erase::Arguments),
    /// Send again what went out.
    Replay(api::replay::Arguments),
    /// List where events come in, and what came of them.
    ///
    /// Example: waypost sources
    Sources(api::sources::Arguments),
    /// Show numbers of all that came in and went out.
    ///
    /// Example: waypost stats --hours 168
    Stats(api::stats::Arguments),
    /// List who changed what, the latest first; needs a key of scope `admin`.
    ///
    /// Example: waypost audit --limit 50
    Audit(api::audit::Arguments),
    /// Print what makes a shell complete these commands.
    ///
    /// Example: waypost completions bash > /etc/bash_completion.d/waypost
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Make keys.
    #[command(flatten_help = true)]
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Look after the secrets that the store holds.
    #[command(flatten_help = true)]
    Secrets {
        #[command(subcommand)]
        command: SecretsCommand,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Print a new key, for `store.master_keys` or for `api.keys`: 32 random bytes in base64.
    ///
    /// Example: waypost key new > /run/secrets/waypost-2026-11
    New,
}

#[derive(Debug, Subcommand)]
enum SecretsCommand {
    /// Seal everything in the store with the first of `store.master_keys`, so that the others can go.
    ///
    /// Gateways may run on a Redis meanwhile; give all of them the new key first, for one that has another first key goes
    /// on sealing with that. An embedded store must not be in use. Can be run again at any time.
    ///
    /// Example: waypost secrets rotate --config /etc/waypost.toml
    Rotate {
        /// The config file; without one, the defaults and WAYPOST__SECTION__KEY from the environment.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// How long threads that are still at work get when the command has ended.
const THREADS_WITHIN: Duration = Duration::from_secs(1);

/// What ends a command badly, in words for the person who called it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    telemetry::start(!matches!(command, Command::Serve { .. } | Command::Listen(_)));
    let result = match command {
        Command::Serve { config } => serve::run(config.as_deref()),
        Command::Demo { exit } => run(demo::run(exit)),
        Command::Send(arguments) => run(send::run(arguments)),
        Command::Listen(arguments) => run(listen::run(arguments)),
        Command::Check { config } => check::run(&config),
        Command::Endpoints(arguments) => run(api::endpoints::run(arguments)),
        Command::Events(arguments) => run(api::events::run(arguments)),
        Command::Feed(arguments) => run(api::feed::run(arguments)),
        Command::Deliveries(arguments) => run(api::deliveries::run(arguments)),
        Command::Suppressions(arguments) => run(api::suppressions::run(arguments)),
        Command::Erase(arguments) => run(api::erase::run(arguments)),
        Command::Replay(arguments) => run(api::replay::run(arguments)),
        Command::Sources(arguments) => run(api::sources::run(arguments)),
        Command::Stats(arguments) => run(api::stats::run(arguments)),
        Command::Audit(arguments) => run(api::audit::run(arguments)),
        Command::Completions { shell } => completions::run(shell),
        Command::Key { command: KeyCommand::New } => key::new(),
        Command::Secrets { command: SecretsCommand::Rotate { config } } => run(secrets::rotate(config.as_deref())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error.as_ref()),
    }
}

/// Runs the command on as many threads as there are CPUs.
fn run(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run_to_end(Builder::new_multi_thread().enable_all().build()?, command)
}

/// Runs the command, and leaves behind what does not end with it. A name lookup in libc cannot be called off, and to
/// drop the runtime would wait for it, for as long as the name servers are silent.
fn run_to_end<T>(runtime: Runtime, command: impl Future<Output = T>) -> T {
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(THREADS_WITHIN);
    result
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

/// What posts for a person, who names the address, so that any may be called. Trusts these authorities beside the public
/// ones.
fn client(authorities: Vec<CertificateDer<'static>>, clock: Arc<dyn Clock>) -> Result<Client, Failure> {
    let networks = Networks::parse(&["0.0.0.0/0", "::/0"])?;
    Ok(Client::new(Egress { networks, authorities, proxy: None }, clock)?)
}

/// Random bytes, for message ids and tokens.
fn nonce() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system gives no random bytes")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use clap::CommandFactory;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    /// The commands below this one that do something, with their words.
    fn leaves(command: &clap::Command, words: &str) -> Vec<(String, String)> {
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        let below: Vec<_> = below.flat_map(|below| leaves(below, &format!("{words} {}", below.get_name()))).collect();
        let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        if below.is_empty() { vec![(words.to_owned(), about)] } else { below }
    }

    #[test]
    fn each_command_shows_an_example_that_is_understood() {
        let mut wrong = Vec::new();
        for (words, about) in leaves(&Arguments::command(), "waypost") {
            let example = about.split("Example: ").nth(1).unwrap_or_default();
            // What comes behind is for the shell.
            let example = example.split(" > ").next().unwrap_or_default();
            if !example.starts_with(&words) || Arguments::try_parse_from(example.split_whitespace()).is_err() {
                wrong.push(format!("{words}: {about}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_thread_that_hangs_does_not_keep_the_process() {
        let (clock, hangs_max) = (SystemClock::new(), Duration::from_secs(30));
        let (started, has_started) = channel();
        let (_release, hangs) = channel::<()>();
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let answer = run_to_end(runtime, async move {
            tokio::task::spawn_blocking(move || {
                started.send(()).unwrap();
                hangs.recv_timeout(hangs_max)
            });
            has_started.recv().unwrap();
            7
        });
        assert_eq!(answer, 7);
        assert!(clock.elapsed() >= THREADS_WITHIN, "nothing hung");
        assert!(clock.elapsed() < hangs_max / 2, "{:?}", clock.elapsed());
    }
}
