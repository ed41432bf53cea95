//! Signs as the Event Webhook does, a form.

use crate::form::content_type_of;
use crate::sendgrid::sign;
use crate::{Draft, KeyError, Signed};

pub(super) fn sign(draft: Draft<'_>) -> Result<Signed, KeyError> {
    let signed = sign::sign(draft)?;
    let content_type = content_type_of(draft.body);
    let others = signed.headers.iter().filter(|(name, _)| !matches!(*name, "content-type" | "user-agent"));
    let headers = [("content-type", content_type.as_str()), ("user-agent", "SendGrid Parse API")];
    Ok(Signed { headers: headers.into_iter().chain(others).collect(), body: signed.body })
}
