//! Which keys of an event are SendGrid's. All others are the sender's custom arguments.

/// On every event.
pub(super) const COMMON: &[&str] = &[
    "asm_group_id",
    "category",
    "email",
    "event",
    "marketing_campaign_id",
    "marketing_campaign_name",
    "marketing_campaign_split_id",
    "marketing_campaign_version",
    "mc_stats",
    "newsletter",
    "phase_id",
    "post_type",
    "send_at",
    "sg_content_type",
    "sg_event_id",
    "sg_message_id",
    "sg_template_id",
    "sg_template_name",
    "sg_user_id",
    "singlesend_id",
    "singlesend_name",
    "smtp-id",
    "template_hash",
    "template_id",
    "template_version_id",
    "timestamp",
];

/// On events of this word only. Elsewhere the same key is the sender's: a custom argument `type` on a `delivered` says
/// nothing of a bounce.
pub(super) fn of(word: &str) -> &'static [&'static str] {
    match word {
        "processed" => &["pool"],
        "deferred" => &["attempt", "cert_err", "domain", "from", "ip", "response", "tls"],
        "delivered" => &["cert_err", "ip", "response", "tls"],
        "bounce" => &["bounce_classification", "cert_err", "ip", "reason", "status", "tls", "type"],
        "dropped" => &["reason", "status", "type"],
        "open" => &["ip", "sg_machine_open", "useragent"],
        "click" => &["ip", "url", "url_offset", "useragent"],
        "group_unsubscribe" => &["ip", "url", "useragent"],
        _ => &[],
    }
}
