//! `waypost completions`: so that a shell can complete the commands.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Failure;

/// Prints the script for a shell.
pub(super) fn run(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Arguments::command(), "waypost", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
