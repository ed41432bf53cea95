//! How requests go out: what may be called, who is trusted, and through which proxy.

use std::collections::BTreeMap;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::checks::{COUNT_MAX, networks, within};
use super::file::Delivery;
use super::{ConfigError, DeliverySettings};
use crate::domain::proxy::Proxy;

/// Reads and checks the section.
pub(super) fn read(delivery: &Delivery, env: &BTreeMap<String, String>) -> Result<DeliverySettings, ConfigError> {
    within("delivery.in_flight_max", delivery.in_flight_max as u64, 1, COUNT_MAX)?;
    Ok(DeliverySettings {
        in_flight_max: delivery.in_flight_max,
        networks: networks("delivery.allow_networks", &delivery.allow_networks)?,
        authorities: delivery
            .ca_file
            .as_deref()
            .map(|path| authorities("delivery.ca_file", path))
            .transpose()?
            .unwrap_or_default(),
        proxy: match &delivery.proxy {
            Some(source) => Some(proxy(source.resolve(PROXY, env)?.expose())?),
            None => None,
        },
    })
}

/// The certificates of a PEM file, which `key` names.
///
/// # Errors
/// When it holds none, or one that is no authority's.
pub(crate) fn authorities(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let wrong = |problem: String| {
        let remedy = "name a file of one or more PEM certificates (-----BEGIN CERTIFICATE-----)";
        Err(ConfigError::new(key, format!("`{}` {problem}", path.display()), remedy))
    };
    let pem = match std::fs::read(path) {
        Ok(pem) => pem,
        Err(error) => return wrong(format!("cannot be read: {error}")),
    };
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if found.is_empty() => wrong("holds no certificate".into()),
        Ok(found) => match found.iter().find_map(|one| rustls::RootCertStore::empty().add(one.clone()).err()) {
            None => Ok(found),
            Some(error) => wrong(format!("holds a certificate that is no authority's: {error}")),
        },
        Err(error) => wrong(format!("is no PEM: {error}")),
    }
}

const PROXY: &str = "delivery.proxy";

fn proxy(text: &str) -> Result<Proxy, ConfigError> {
    Proxy::parse(text).map_err(|error| {
        ConfigError::new(PROXY, error.to_string(), "write `http://proxy.example:3128`, or leave it out for none")
    })
}
