//! Mailgun's signature, in fields of the form. The guard against replay holds it to what the fields say, decoded: a retry has
//! another boundary.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::form::Form;
use crate::mail::JSON_LEN_MAX;
use crate::mailgun::verify;
use crate::{Keys, Request, Verified, VerifyError};

/// The last of each counts.
pub(super) const PROOF: [&str; 4] = ["timestamp", "token", "signature", "parent-signature"];
/// Nobody knows what a body says that could not be read: it may be Mailgun's all the same.
pub(super) const UNREAD: VerifyError = VerifyError::Malformed("body");
/// None of them is so long.
const PROOF_LEN_MAX: usize = 1024;

pub(super) fn verify(request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
    let Some(form) = Form::read(&request) else {
        // A webhook that has this URL by mistake.
        let is_json = request.body.len() <= JSON_LEN_MAX && request.body.trim_ascii_start().starts_with(b"{");
        return if is_json { verify::verify(request, keys, now) } else { Err(UNREAD) };
    };
    let field = |name: &&str| {
        let text = form.last(name)?.body.short_text(PROOF_LEN_MAX)?;
        Some(((*name).to_owned(), Value::from(text.into_owned())))
    };
    let proof: Map<String, Value> = PROOF.iter().filter_map(field).collect();
    let proven = verify::proven(&proof.into(), keys, now, || form.digest(&PROOF));
    let (signed_at, guards) = proven.map_err(|error| match error {
        // It may stand in what could not be read.
        VerifyError::Missing(_) if !form.is_whole() => UNREAD,
        error => error,
    })?;
    // Of a form that was not read as a whole, two may differ in the rest.
    let digest = guards.first().filter(|_| form.is_whole()).map(|guard| guard.digest);
    Ok(Verified::new(request, signed_at).guarded(guards, None).told(digest))
}
