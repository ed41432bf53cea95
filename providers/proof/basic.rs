//! Basic authentication: providers send what stands before the `@` of the URL that they are given.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{AUTHORIZATION, credentials};
use crate::verify::sha256;
use crate::{Headers, KeyError, Request, Verified, VerifyError};

/// The fewest characters of a password or of a client's secret.
pub(super) const SECRET_LEN_MIN: usize = 16;

/// A user and a password, as a hash of both.
#[derive(Clone)]
pub struct Login([u8; 32]);

impl Login {
    /// Of their texts.
    ///
    /// # Errors
    /// When the user cannot be told from the password, or the password is short.
    pub fn new(user: &str, password: &str) -> Result<Self, KeyError> {
        let is_user = !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if !is_user || password.chars().count() < SECRET_LEN_MIN {
            return Err(KeyError::Shape(
                "a user of visible ASCII without `:`, and a password of 16 characters or more",
            ));
        }
        Ok(Self(hash(format!("{user}:{password}").as_bytes())))
    }

    /// Whether these are the two, with a `:` between them. How long it takes does not tell what is wrong.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, &hash(given)).is_ok()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

fn hash(text: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(sha256(&[text]).as_ref());
    hash
}

pub(super) fn verify(request: Request, logins: &[Login]) -> Result<Verified, VerifyError> {
    check(&request.headers, logins).map(|()| Verified::new(request, None))
}

pub(super) fn check(headers: &Headers, logins: &[Login]) -> Result<(), VerifyError> {
    let given = given(headers)?;
    if logins.iter().any(|login| login.is(&given)) { Ok(()) } else { Err(VerifyError::Mismatch) }
}

/// User and password of a request, with a `:` between them.
pub(super) fn given(headers: &Headers) -> Result<Vec<u8>, VerifyError> {
    STANDARD.decode(credentials(headers, "basic")?).map_err(|_| VerifyError::Malformed(AUTHORIZATION))
}
