//! Signs as Mailgun does, a form of either kind.

use bytes::Bytes;

use crate::form::boundary_of;
use crate::mailgun::sign;
use crate::{Draft, Headers, KeyError, Signed};

/// Behind all other fields of a multipart form, as Mailgun puts them; any other body is signed as the webhooks are.
pub(super) fn sign(draft: Draft<'_>) -> Result<Signed, KeyError> {
    let Some(boundary) = boundary_of(draft.body) else { return sign::sign(draft) };
    let end = format!("--{boundary}--");
    let body = draft.body.trim_ascii_end().strip_suffix(end.as_bytes());
    let body = body.filter(|body| body.ends_with(b"\r\n")).ok_or(sign::SHAPE)?;
    let mut signed = body.to_vec();
    for (name, value) in sign::proof(draft)? {
        let part = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        signed.extend(part.bytes());
    }
    signed.extend(format!("{end}\r\n").bytes());
    let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
    let headers = Headers::from_iter([("content-type", content_type.as_str()), ("user-agent", "mailgun/treq-20.9.0")]);
    Ok(Signed { headers, body: Bytes::from(signed) })
}
