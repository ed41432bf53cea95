use crate::{Draft, Key, KeyError, KeyField, Keys, Parsed, Provider, Request, Signed, Verified, VerifyError};
use jiff::Timestamp;
/// SendGrid.
pub struct SendGrid;
impl Provider for SendGrid {
    fn name(&self) -> &'static str { "sendgrid" }
    fn key_fields(&self) -> &'static [KeyField] { &[] }
    fn key(&self, _f: &str, _t: &str) -> Result<Key, KeyError> { Err(KeyError::Shape("")) }
    fn verify(&self, _r: Request, _k: &Keys, _n: Timestamp) -> Result<Verified, VerifyError> { Err(VerifyError::Mismatch) }
    fn parse(&self, _v: &Verified) -> Vec<Parsed> { Vec::new() }
    fn sign(&self, _d: Draft<'_>) -> Result<Signed, KeyError> { Err(KeyError::Shape("")) }
}
