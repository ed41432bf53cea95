//! What a domain or a contact is now. Sent whenever anything of it has changed, so it does not tell what has.

use serde_json::Value;

use crate::event::{Contact, Data, Domain, Kind, Scope, Unsubscribe};
use crate::fields::{text, texts};

/// What it is the state of, whether that is what `kind` would report, and what it would say.
pub(super) fn read(kind: Kind, given: &Value) -> Option<(String, bool, Data)> {
    let id = text(&given["id"])?;
    if kind == Kind::DomainVerified {
        // `partially_verified` is not verified.
        let holds = text(&given["status"])? == "verified";
        let domain = Domain { id, name: text(&given["name"])? };
        return Some((format!("domain:{}", domain.id), holds, Data { domain: Some(domain), ..Data::default() }));
    }
    // Of all broadcasts; each topic has a word of its own.
    let holds = given["unsubscribed"].as_bool()?;
    let unsubscribe = Some(Unsubscribe { scope: Some(Scope::Global), ..Unsubscribe::default() });
    let contact = Some(Contact { id: id.clone() });
    Some((
        format!("contact:{id}"),
        holds,
        Data { unsubscribe, contact, ..Data::for_recipients(texts(&given["email"])) },
    ))
}
