//! Which signatures an endpoint's requests carry: those that are asked for, or its defaults, as far as its secrets are
//! good for them.

use std::collections::BTreeMap;

use http::HeaderName;

use super::endpoint::Scheme;
use super::header::{BODY_SIGNATURE, is_reserved};
use super::secret::SigningSecret;

/// How an endpoint's requests are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// The schemes in force; at least one.
    pub schemes: Vec<Scheme>,
    /// Those that its secrets are not good for, to be told to the operator.
    pub left_out: Vec<Scheme>,
}

/// Signatures that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// No scheme is asked for.
    #[error("is empty; name `drin` or another, or leave it out")]
    Empty,
    /// Two schemes with one header of one value.
    #[error("`hex` and `sha256` share one header of one value; keep one of the two")]
    OneHeader,
    /// `ed25519` without a private key.
    #[error("`ed25519` needs a secret that is whsk_ + base64; give one, or leave `ed25519` out")]
    NoPrivateKey,
    /// None of the schemes can be made with the secrets.
    #[error("`{}` needs a secret that is {}; change the secret, or name another scheme", .0.as_str(), needed(*.0))]
    NothingLeft(Scheme),
}

impl Scheme {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drin => "drin",
            Self::Standard => "standard",
            Self::Ed25519 => "ed25519",
            Self::Svix => "svix",
            Self::Hex => "hex",
            Self::Sha256 => "sha256",
        }
    }
}

/// What a scheme's secret must be.
const fn needed(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Standard | Scheme::Svix => "whsec_ + base64",
        Scheme::Ed25519 => "whsk_ + base64",
        Scheme::Drin | Scheme::Hex | Scheme::Sha256 => "whsec_ + base64, or a text",
    }
}

/// Settles how requests are signed. Without `asked` they are signed in the ways of `defaults`, and with `ed25519` if
/// there is a private key. Where there are shared secrets, `standard` and `svix` need each of them to hold a key, so that
/// the end of a rotation leaves no receiver without a signature.
///
/// # Errors
/// When what is asked for excludes itself, or no signature is left: a request is never sent unsigned.
pub fn settle(
    asked: Option<&[Scheme]>,
    defaults: &[Scheme],
    secrets: &[SigningSecret],
) -> Result<Signing, SigningError> {
    let mut wanted = Vec::new();
    for scheme in asked.unwrap_or(defaults) {
        if !wanted.contains(scheme) {
            wanted.push(*scheme);
        }
    }
    if asked.is_none() && is_good(Scheme::Ed25519, secrets) {
        wanted.push(Scheme::Ed25519);
    }
    let Some(first) = wanted.first().copied() else { return Err(SigningError::Empty) };
    if wanted.contains(&Scheme::Hex) && wanted.contains(&Scheme::Sha256) {
        return Err(SigningError::OneHeader);
    }
    let (schemes, left_out): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|scheme| is_good(*scheme, secrets));
    if left_out.contains(&Scheme::Ed25519) {
        return Err(SigningError::NoPrivateKey);
    }
    if schemes.is_empty() { Err(SigningError::NothingLeft(first)) } else { Ok(Signing { schemes, left_out }) }
}

fn is_good(scheme: Scheme, secrets: &[SigningSecret]) -> bool {
    let mut shared = secrets.iter().filter(|secret| secret.shared().is_some()).peekable();
    match scheme {
        Scheme::Ed25519 => secrets.iter().any(|secret| secret.private().is_some()),
        Scheme::Drin | Scheme::Hex | Scheme::Sha256 => shared.peek().is_some(),
        Scheme::Standard | Scheme::Svix => shared.peek().is_some() && shared.all(|secret| secret.key().is_some()),
    }
}

/// A name that the header of `hex` and `sha256` cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It is no name of a header.
    #[error("is no header name; use letters, digits and `-`")]
    Name,
    /// It has another meaning.
    #[error("is set by Waypost or by HTTP itself; use another name")]
    Reserved,
    /// The endpoint's static headers have it.
    #[error("is one of the static headers too; rename one of the two")]
    Static,
    /// There is nothing to put into it.
    #[error("is the header of `hex` and `sha256`, and neither signs; add one to `signatures`, or leave the header out")]
    Unused,
}

/// Checks the name that an endpoint wants for the header of `hex` or `sha256`, beside its static headers, whose names are
/// in lower case.
///
/// # Errors
/// When it cannot have it.
pub fn check_header(name: &str, schemes: &[Scheme], headers: &BTreeMap<String, String>) -> Result<(), HeaderError> {
    let name = HeaderName::try_from(name).map_err(|_| HeaderError::Name)?;
    if is_reserved(name.as_str()) && name != BODY_SIGNATURE {
        return Err(HeaderError::Reserved);
    }
    if headers.contains_key(name.as_str()) {
        return Err(HeaderError::Static);
    }
    let is_used = schemes.contains(&Scheme::Hex) || schemes.contains(&Scheme::Sha256);
    if is_used { Ok(()) } else { Err(HeaderError::Unused) }
}

#[cfg(test)]
mod tests {
    use super::Scheme::{Drin, Ed25519, Hex, Sha256, Standard, Svix};
    use super::*;

    const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const TEXT: &str = "whsec_your_secret_key_here";
    const PRIVATE: &str = "whsk_V0VCSE9PS0FTWU1NRVRSSUNURVNUUFJJVkFURUtFWTE=";
    const DEFAULTS: [Scheme; 2] = [Drin, Standard];

    /// What is in force, and what is left out.
    fn settled(asked: Option<&[Scheme]>, secrets: &[&str]) -> Result<(Vec<Scheme>, Vec<Scheme>), SigningError> {
        let secrets: Vec<_> = secrets.iter().map(|text| SigningSecret::parse(text).unwrap()).collect();
        settle(asked, &DEFAULTS, &secrets).map(|signing| (signing.schemes, signing.left_out))
    }

    #[test]
    fn defaults_are_what_the_secrets_are_good_for() {
        assert_eq!(settled(None, &[KEY]), Ok((vec![Drin, Standard], vec![])));
        assert_eq!(settled(None, &[TEXT]), Ok((vec![Drin], vec![Standard])));
        assert_eq!(settled(None, &[KEY, TEXT]), Ok((vec![Drin], vec![Standard])));
        assert_eq!(settled(None, &[KEY, PRIVATE]), Ok((vec![Drin, Standard, Ed25519], vec![])));
        assert_eq!(settled(None, &[PRIVATE]), Ok((vec![Ed25519], vec![Drin, Standard])));
    }

    #[test]
    fn a_text_leaves_out_what_needs_a_key_and_an_endpoint_is_never_left_unsigned() {
        assert_eq!(settled(Some(&[Svix, Hex, Hex]), &[TEXT]), Ok((vec![Hex], vec![Svix])));
        assert_eq!(settled(Some(&[Svix]), &[TEXT]), Err(SigningError::NothingLeft(Svix)));
        assert_eq!(settled(Some(&[Sha256]), &[PRIVATE]), Err(SigningError::NothingLeft(Sha256)));
        assert_eq!(settled(Some(&[]), &[KEY]), Err(SigningError::Empty));
    }

    #[test]
    fn what_excludes_itself_is_refused() {
        assert_eq!(settled(Some(&[Hex, Drin, Sha256]), &[TEXT]), Err(SigningError::OneHeader));
        assert_eq!(settled(Some(&[Drin, Ed25519]), &[KEY]), Err(SigningError::NoPrivateKey));
    }

    #[test]
    fn a_body_signature_may_have_a_header_of_its_own() {
        let headers = BTreeMap::from([("x-team".to_owned(), "mail".to_owned())]);
        let check = |name, schemes: &[Scheme]| check_header(name, schemes, &headers);
        assert_eq!(check("X-RelayPost-Signature", &[Hex]), Ok(()));
        assert_eq!(check("X-Webhook-Signature", &[Drin, Sha256]), Ok(()));
        assert_eq!(check("a b", &[Hex]), Err(HeaderError::Name));
        assert_eq!(check("Webhook-Signature", &[Hex]), Err(HeaderError::Reserved));
        assert_eq!(check("X-Team", &[Hex]), Err(HeaderError::Static));
        assert_eq!(check("X-Mine", &[Drin]), Err(HeaderError::Unused));
    }
}
