//! The `waypost` program.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Events are many small allocations that one thread makes and another frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is larger mimalloc gives back to the system at once. The rest it keeps for a second, for whoever asks next: with more
/// than this, parts of large mails would take more than the budget of bodies allows. A number without a unit is of bytes.
const OBJECT_MAX: (&str, &str) = ("MIMALLOC_ARENA_MAX_OBJECT_SIZE", "1M");

/// mimalloc reads its options before `main`, so the program begins anew with them, as the same process. An environment that
/// has the option already is left as it is.
fn begin_with_options() {
    let (name, value) = OBJECT_MAX;
    let (mut args, is_set) = (std::env::args_os(), std::env::var_os(name).is_some());
    let program = std::env::current_exe().ok().filter(|program| !is_loader(program));
    if let (false, Some(program), Some(arg0)) = (is_set, program, args.next()) {
        // It returns only when it fails, and then memory is given back later: nothing more.
        drop(Command::new(program).arg0(arg0).args(args).env(name, value).exec());
    }
}

/// Whether it was begun as an argument of the dynamic loader, which would take the next argument for the program.
fn is_loader(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld"))
}

fn main() -> ExitCode {
    begin_with_options();
    waypost::cli::main()
}
