//! `waypost check`: is this config right, and what does it set up?

use std::path::Path;

use super::Failure;
use crate::config::Settings;

/// Reads the config as `serve` would, secrets included, and lists what it sets up. Changes nothing.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let settings = Settings::load_here(Some(config))?;
    println!("{}: right", config.display());
    println!("  listens on {}", settings.server.listen);
    for (name, source) in &settings.sources {
        println!("  source {name}: {} calls POST /in/{name}", source.provider.name());
    }
    for (id, entry) in &settings.endpoints {
        println!("  endpoint {id}: {}", entry.settings.url);
    }
    Ok(())
}
