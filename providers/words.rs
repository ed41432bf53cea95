//! The bare words for events that senders and subscribers use beside the eleven names.

use crate::Kind;

/// Each word in lower case, and what it means. `email.` may lead one that has no point in it.
pub const WORDS: [(&str, Kind); 21] = [
    ("sent", Kind::Sent),
    ("queued", Kind::Sent),
    ("sending", Kind::Sent),
    ("processing", Kind::Sent),
    ("delivered", Kind::Delivered),
    ("delivery_delayed", Kind::DeliveryDelayed),
    ("deferred", Kind::DeliveryDelayed),
    ("opened", Kind::Opened),
    ("open", Kind::Opened),
    ("clicked", Kind::Clicked),
    ("click", Kind::Clicked),
    ("bounced", Kind::Bounced),
    ("bounce", Kind::Bounced),
    ("complained", Kind::Complained),
    ("failed", Kind::Failed),
    (REJECTED, Kind::Failed),
    ("received", Kind::Received),
    ("domain.verified", Kind::DomainVerified),
    ("contact.unsubscribed", Kind::Unsubscribed),
    ("unsubscribed", Kind::Unsubscribed),
    ("unsubscribe", Kind::Unsubscribed),
];

/// A failure before any remote server was asked.
pub const REJECTED: &str = "rejected";

/// The entry of a word as somebody wrote it: in any case, with or without `email.`.
pub fn by_word(given: &str) -> Option<(&'static str, Kind)> {
    let given = given.to_ascii_lowercase();
    let bare = given.strip_prefix("email.").filter(|bare| !bare.contains('.')).unwrap_or(&given);
    WORDS.into_iter().find(|(word, _)| *word == bare)
}
