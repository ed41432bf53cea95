//! `waypost check`: is this config right, and what does it set up?

use std::path::Path;

use super::Failure;
use crate::config::Settings;
use crate::domain::endpoint::{EndpointSettings, Scheme};
use crate::domain::secret::SigningSecret;

/// Reads the config as `serve` would, secrets included, and lists what it sets up. Changes nothing.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let settings = Settings::load_here(Some(config))?;
    println!("{}: right", config.display());
    println!("  listens on {}", settings.server.listen);
    for (name, source) in &settings.sources {
        let way = source.proof.way().as_str();
        println!("  source {name}: {} calls POST /in/{name}, proven by {way}", source.provider.name());
    }
    for (id, entry) in &settings.endpoints {
        let names = |schemes: &[Scheme]| schemes.iter().map(|scheme| scheme.as_str()).collect::<Vec<_>>().join(", ");
        let EndpointSettings { url, format, signatures, .. } = &entry.settings;
        println!("  endpoint {id}: {url}, {} signed {}", format.as_str(), names(signatures));
        if !entry.left_out.is_empty() {
            println!("    left out: {}, which its secrets are not good for", names(&entry.left_out));
        }
        for public_key in entry.secrets.iter().filter_map(SigningSecret::public_key) {
            println!("    public key: {public_key}");
        }
    }
    Ok(())
}
