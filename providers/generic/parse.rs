//! The words of `crate::words`, and the fields of the seed document 001 with what the format `platform` adds to them.

use serde_json::Value;

use crate::event::{
    Bounce, BounceClass, Click, Data, Delay, Delivery, Domain, Failure, FailureStage, Kind, Mail, Open, Origin, Scope,
    Unsubscribe,
};
use crate::fields::{Smtp, rfc3339, smtp, text, text_or_number, texts};
use crate::identity::{self, Read};
use crate::words::{REJECTED, by_word};
use crate::{Parsed, Verified, fields};

pub(super) fn parse(verified: &Verified) -> Parsed {
    let request = verified.request();
    let Some(body) = verified.decoded().cloned().or_else(|| fields::json(&request.body)) else {
        return Parsed::unreadable("the body is not JSON");
    };
    let Some(sent_word) = text(&body["type"]) else { return Parsed::unreadable("`type` is not a text") };
    let Some((word, kind)) = by_word(sent_word.trim()) else { return Parsed::Unmapped { kind: sent_word } };
    let id = text_or_number(&body["email_id"]);
    let domain = text(&body["domain"]);
    match kind {
        Kind::DomainVerified if domain.is_none() => return Parsed::unreadable("`domain` is not a text"),
        Kind::DomainVerified | Kind::Unsubscribed => {}
        _ if id.is_none() => return Parsed::unreadable("`email_id` is not a text"),
        _ => {}
    }
    let event_id = text_or_number(&body["id"]);
    let recipients = texts(&body["recipient"]).into_iter().chain(texts(&body["recipients"])).collect();
    let mut data = Data {
        id,
        from: text(&body["from"]),
        subject: text(&body["subject"]),
        provider: Origin {
            name: "generic".into(),
            source: request.source.to_string(),
            kind: sent_word,
            event_id: event_id.clone(),
            test: false,
        },
        ..Data::for_recipients(recipients)
    };
    // The name is all that there is to know it by.
    data.domain = domain.filter(|_| kind == Kind::DomainVerified).map(|name| Domain { id: name.clone(), name });
    add_detail(&mut data, kind, word, &body);
    let own_identity = if kind == Kind::Sent { Some(sent_once(&data)) } else { event_id };
    Read { request, kind, at: rfc3339(&body["timestamp"]), data, own_identity, from: &body }.finish()
}

/// Of a mail and a recipient: `queued`, `sending` and `processing` tell again of what was told as one of them.
fn sent_once(data: &Data) -> String {
    let told = serde_json::json!([data.id, data.to, data.recipients]);
    format!("sent:{}", hex::encode(identity::digest(&told)))
}

fn add_detail(data: &mut Data, kind: Kind, word: &str, given: &Value) {
    let (ip, user_agent) = (text(&given["ip"]), text(&given["user_agent"]));
    let message = text(&given["smtp_message"]);
    let Smtp { code, status } = smtp(message.as_deref());
    let code = text_or_number(&given["smtp_code"]).or(code);
    match kind {
        Kind::Delivered => data.delivery = Some(Delivery { code, status, message, mx_host: None }),
        Kind::DeliveryDelayed => data.delay = Some(Delay { code, status, message, ..Delay::default() }),
        Kind::Opened => data.open = Some(Open { ip, user_agent, machine: None }),
        Kind::Clicked => data.click = Some(Click { url: text(&given["url"]), ip, user_agent, machine: None }),
        Kind::Bounced => data.bounce = Some(bounce(given)),
        Kind::Failed => {
            let stage = (word == REJECTED).then_some(FailureStage::BeforeSending);
            let (reason, message) = (text(&given["reason"]), text(&given["message"]));
            data.failure = Some(Failure { reason, stage, message, ..Failure::default() });
        }
        Kind::Received => data.mail = Some(mail(data)),
        Kind::Unsubscribed => {
            data.unsubscribe =
                Some(Unsubscribe { scope: scope(&given["scope"]), ip, user_agent, ..Default::default() });
        }
        Kind::Sent | Kind::Complained | Kind::DomainVerified => {}
    }
}

fn bounce(given: &Value) -> Bounce {
    let message = text(&given["bounce_message"]);
    let smtp = smtp(message.as_deref());
    let code = text_or_number(&given["bounce_code"]).or(smtp.code);
    Bounce { class: class(&given["bounce_type"]), code, status: smtp.status, message, ..Bounce::default() }
}

fn class(given: &Value) -> BounceClass {
    match given.as_str().unwrap_or_default().to_ascii_lowercase().as_str() {
        "hard" => BounceClass::Hard,
        "soft" => BounceClass::Soft,
        _ => BounceClass::Undetermined,
    }
}

/// Everything, unless told; a scope that is not known is not guessed.
fn scope(given: &Value) -> Option<Scope> {
    if given.is_null() { Some(Scope::Global) } else { serde_json::from_value(given.clone()).ok() }
}

fn mail(data: &Data) -> Mail {
    let to = data.to.iter().chain(&data.recipients).cloned().collect();
    Mail { from: data.from.clone(), to, subject: data.subject.clone(), ..Mail::default() }
}
