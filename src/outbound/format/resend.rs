//! The webhooks of Resend, as its own consumers know them (`resend/resend-node`, "webhook-event.interface.ts"). What its
//! types require and an event lacks is `""`; a time that it lacks is the event's.

use bytes::Bytes;
use serde::Serialize;
use waypost_providers::Kind;
use waypost_providers::event::{BounceClass, Scope};

use super::view::{Access, Attachment, Bounce, Text, View};
use super::write::json;
use crate::domain::plan::StoredEvent;

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    created_at: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Mail(Mail<'a>),
    Received(Received<'a>),
    Domain(Domain<'a>),
    Contact(Contact<'a>),
    Topics(Topics<'a>),
}

#[derive(Serialize)]
struct Mail<'a> {
    created_at: &'a str,
    email_id: &'a str,
    message_id: &'a str,
    from: &'a str,
    to: Vec<&'a str>,
    subject: &'a str,
    #[serde(flatten)]
    detail: Option<Detail<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Detail<'a> {
    #[serde(rename_all = "camelCase")]
    Bounce {
        r#type: &'static str,
        sub_type: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        diagnostic_code: Option<[&'a str; 1]>,
    },
    #[serde(rename_all = "camelCase")]
    Click {
        ip_address: &'a str,
        link: &'a str,
        timestamp: &'a str,
        user_agent: &'a str,
    },
    Failed {
        reason: &'a str,
    },
}

#[derive(Serialize)]
struct Received<'a> {
    created_at: &'a str,
    email_id: &'a str,
    message_id: &'a str,
    from: &'a str,
    to: Vec<&'a str>,
    cc: Vec<&'a str>,
    bcc: Vec<&'a str>,
    received_for: Vec<&'a str>,
    subject: &'a str,
    attachments: Vec<Attached<'a>>,
}

#[derive(Serialize)]
struct Attached<'a> {
    id: &'static str,
    filename: Option<&'a str>,
    content_type: &'a str,
    content_disposition: &'static str,
    content_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Domain<'a> {
    id: &'a str,
    name: &'a str,
    status: &'static str,
    created_at: &'a str,
    region: &'static str,
    records: [&'static str; 0],
}

#[derive(Serialize)]
struct Contact<'a> {
    id: &'a str,
    audience_id: &'static str,
    segment_ids: [&'static str; 0],
    created_at: &'a str,
    updated_at: &'a str,
    email: &'a str,
    unsubscribed: bool,
}

#[derive(Serialize)]
struct Topics<'a> {
    email: &'a str,
    topics: Vec<Topic<'a>>,
}

#[derive(Serialize)]
struct Topic<'a> {
    id: &'a str,
    subscription: &'static str,
}

/// Its names. It has no word for a partial opt-out but that of a topic.
fn name(kind: Kind, is_global: bool) -> &'static str {
    match kind {
        Kind::DomainVerified => "domain.updated",
        Kind::Unsubscribed if is_global => "contact.updated",
        Kind::Unsubscribed => "contact.topics.updated",
        Kind::Sent
        | Kind::Delivered
        | Kind::DeliveryDelayed
        | Kind::Opened
        | Kind::Clicked
        | Kind::Bounced
        | Kind::Complained
        | Kind::Failed
        | Kind::Received => kind.as_str(),
    }
}

pub(super) fn render(event: &StoredEvent, kind: Kind) -> Result<Bytes, serde_json::Error> {
    let view = View::of(event)?;
    let at = event.created_at.as_str();
    let is_global = view.unsubscribe.as_ref().and_then(|unsubscribe| unsubscribe.scope) == Some(Scope::Global);
    let data = match kind {
        Kind::DomainVerified => Data::Domain(domain(&view, at)),
        Kind::Unsubscribed if is_global => Data::Contact(contact(&view, at)),
        Kind::Unsubscribed => Data::Topics(topics(&view)),
        Kind::Received => Data::Received(received(&view, at)),
        _ => Data::Mail(mail(&view, kind, at)),
    };
    json(&Body { r#type: name(kind, is_global), created_at: at, data })
}

fn text<'a>(text: Option<&'a Text<'_>>) -> &'a str {
    text.map_or("", |text| text)
}

fn texts<'a>(texts: &'a [Text<'_>]) -> Vec<&'a str> {
    texts.iter().map(|text| &**text).collect()
}

/// The one recipient, or the several.
fn to<'a>(view: &'a View<'_>) -> Vec<&'a str> {
    view.to.as_deref().into_iter().chain(view.recipients.iter().map(|recipient| &**recipient)).collect()
}

fn mail<'a>(view: &'a View<'_>, kind: Kind, at: &'a str) -> Mail<'a> {
    let detail = match kind {
        Kind::Bounced => Some(bounce(view.bounce.as_ref())),
        Kind::Clicked => Some(click(view.click.as_ref(), at)),
        Kind::Failed => {
            let reason = view.failure.as_ref().and_then(|failure| failure.reason.as_ref());
            Some(Detail::Failed { reason: text(reason) })
        }
        _ => None,
    };
    Mail {
        created_at: at,
        email_id: text(view.id.as_ref()),
        message_id: text(view.message_id.as_ref()),
        from: text(view.from.as_ref()),
        to: to(view),
        subject: text(view.subject.as_ref()),
        detail,
    }
}

fn bounce<'a>(bounce: Option<&'a Bounce<'_>>) -> Detail<'a> {
    let reason = text(bounce.and_then(|bounce| bounce.reason.as_ref()));
    let (r#type, sub_type) = match bounce.map(|bounce| bounce.class).unwrap_or_default() {
        BounceClass::Hard => ("Permanent", reason),
        BounceClass::Soft | BounceClass::Blocked => ("Transient", reason),
        BounceClass::Suppressed => ("Permanent", "Suppressed"),
        BounceClass::Undetermined => ("Undetermined", reason),
    };
    let message = bounce.and_then(|bounce| bounce.message.as_deref());
    let diagnostic_code = message.map(|message| [message]);
    Detail::Bounce { r#type, sub_type, message: message.unwrap_or_default(), diagnostic_code }
}

fn click<'a>(click: Option<&'a Access<'_>>, at: &'a str) -> Detail<'a> {
    Detail::Click {
        ip_address: text(click.and_then(|click| click.ip.as_ref())),
        link: text(click.and_then(|click| click.url.as_ref())),
        timestamp: at,
        user_agent: text(click.and_then(|click| click.user_agent.as_ref())),
    }
}

fn received<'a>(view: &'a View<'_>, at: &'a str) -> Received<'a> {
    let mail = view.mail.as_ref();
    let list = |list: Option<&'a Vec<Text<'_>>>| list.map(|list| texts(list)).unwrap_or_default();
    let attachments = mail.map_or(&[][..], |mail| &mail.attachments);
    let named = list(mail.map(|mail| &mail.to));
    Received {
        created_at: at,
        email_id: text(view.id.as_ref()),
        message_id: text(view.message_id.as_ref()),
        from: text(view.from.as_ref()),
        to: if named.is_empty() { to(view) } else { named },
        cc: list(mail.map(|mail| &mail.cc)),
        bcc: list(mail.map(|mail| &mail.bcc)),
        received_for: list(mail.and_then(|mail| mail.envelope.as_ref()).map(|envelope| &envelope.to)),
        subject: text(view.subject.as_ref()),
        attachments: attachments.iter().map(attached).collect(),
    }
}

fn attached<'a>(attachment: &'a Attachment<'_>) -> Attached<'a> {
    Attached {
        // Resend's API would not know ours.
        id: "",
        filename: attachment.filename.as_deref(),
        content_type: text(attachment.content_type.as_ref()),
        content_disposition: if attachment.inline { "inline" } else { "attachment" },
        content_id: attachment.content_id.as_deref(),
    }
}

fn domain<'a>(view: &'a View<'_>, at: &'a str) -> Domain<'a> {
    let domain = view.domain.as_ref();
    Domain {
        id: domain.map_or("", |domain| &domain.id),
        name: text(domain.and_then(|domain| domain.name.as_ref())),
        status: "verified",
        created_at: at,
        region: "",
        records: [],
    }
}

fn contact<'a>(view: &'a View<'_>, at: &'a str) -> Contact<'a> {
    Contact {
        id: view.contact.as_ref().map_or("", |contact| &contact.id),
        audience_id: "",
        segment_ids: [],
        created_at: at,
        updated_at: at,
        email: text(view.to.as_ref()),
        unsubscribed: true,
    }
}

fn topics<'a>(view: &'a View<'_>) -> Topics<'a> {
    let ids = view.unsubscribe.as_ref().map_or(&[][..], |unsubscribe| &unsubscribe.ids);
    Topics {
        email: text(view.to.as_ref()),
        topics: ids.iter().map(|id| Topic { id, subscription: "opt_out" }).collect(),
    }
}
