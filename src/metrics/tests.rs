use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use waypost_providers::Kind;

use super::families::{About, Type};
use super::*;
use crate::domain::delivery::{ErrorClass, Status};
use crate::domain::tally::Outcome;

/// Lines of the text that begin so.
fn lines(metrics: &Metrics, start: &str) -> Vec<String> {
    let observed = Observed { sources: vec!["resend"], ..Observed::default() };
    metrics.text(&observed).lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

/// Those that are not zero.
fn counted(metrics: &Metrics, start: &str) -> Vec<String> {
    lines(metrics, start).into_iter().filter(|line| !line.ends_with(" 0")).collect()
}

#[test]
fn names_follow_the_rules() {
    let names: BTreeSet<_> = Family::ALL.iter().map(|family| family.about().name).collect();
    assert_eq!(names.len(), Family::ALL.len());
    for About { name, kind, labels, help } in Family::ALL.iter().map(|family| family.about()) {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == Type::Counter, "{name}");
        assert_eq!(name.ends_with("_duration_seconds") || name.ends_with("_delay_seconds"), kind == Type::Histogram);
        assert!(!["_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix)), "{name}");
        assert!(!labels.contains(&"le") && !help.contains(['\n', '\\']) && help.ends_with('.'), "{name}");
    }
}

/// Counters are kept in the order of these.
#[test]
fn what_is_counted_by_its_place_is_in_its_place() {
    assert!(Kind::ALL.iter().enumerate().all(|(place, kind)| *kind as usize == place));
    assert!(ErrorClass::ALL.iter().enumerate().all(|(place, class)| *class as usize == place));
    assert!(Status::ALL.iter().enumerate().all(|(place, status)| *status as usize == place));
    assert!(Answered::ALL.iter().enumerate().all(|(place, answered)| *answered as usize == place));
}

#[test]
fn what_came_in_is_told_by_source() {
    let metrics = Metrics::default();
    let at = metrics.inbound.at("resend");
    at.answered(Answered::Stored, Duration::from_millis(3));
    at.answered(Answered::NotProven, Duration::from_micros(500));
    at.body_read(700);
    at.read(Outcome::Stored, Some(Kind::Unsubscribed));
    at.read(Outcome::Unreadable, None);
    metrics.inbound.unknown();
    let told = [
        r#"waypost_inbound_requests_total{source="resend",outcome="stored"} 1"#,
        r#"waypost_inbound_requests_total{source="resend",outcome="not_proven"} 1"#,
        r#"waypost_inbound_requests_total{source="",outcome="unknown_source"} 1"#,
    ];
    assert_eq!(counted(&metrics, "waypost_inbound_requests"), told);
    assert_eq!(lines(&metrics, "waypost_inbound_requests").len(), Answered::ALL.len() + 1);
    let told = [
        r#"waypost_inbound_events_total{source="resend",type="contact.unsubscribed",outcome="stored"} 1"#,
        r#"waypost_inbound_events_total{source="resend",type="",outcome="unreadable"} 1"#,
    ];
    assert_eq!(counted(&metrics, "waypost_inbound_events"), told);
    assert_eq!(
        lines(&metrics, "waypost_inbound_body_bytes"),
        ["waypost_inbound_body_bytes_total{source=\"resend\"} 700"]
    );
    let duration = lines(&metrics, "waypost_inbound_request_duration_seconds");
    assert_eq!(duration[0], r#"waypost_inbound_request_duration_seconds_bucket{source="resend",le="0.001"} 1"#);
    let end = [
        r#"waypost_inbound_request_duration_seconds_bucket{source="resend",le="+Inf"} 2"#,
        r#"waypost_inbound_request_duration_seconds_sum{source="resend"} 0.0035"#,
        r#"waypost_inbound_request_duration_seconds_count{source="resend"} 2"#,
    ];
    assert_eq!(duration[duration.len() - 3..], end);
}

#[test]
fn attempts_are_told_by_their_hundred_or_why_there_was_no_answer() {
    let metrics = Metrics::default();
    let deliveries = &metrics.deliveries;
    for status in [100, 204, 299, 599, 600, 99, 999] {
        deliveries.attempted(Some(status), None, Duration::from_secs(1));
    }
    deliveries.attempted(None, Some(ErrorClass::Timeout), Duration::from_secs(15));
    deliveries.attempted(None, None, Duration::ZERO);
    let told = [("1xx", 1), ("2xx", 2), ("5xx", 1), ("other", 4), ("timeout", 1)];
    let told = told.map(|(outcome, count)| format!("waypost_delivery_attempts_total{{outcome=\"{outcome}\"}} {count}"));
    assert_eq!(counted(&metrics, "waypost_delivery_attempts_total"), told);
    assert_eq!(
        lines(&metrics, "waypost_delivery_attempt_duration_seconds_sum"),
        ["waypost_delivery_attempt_duration_seconds_sum 22"]
    );
    deliveries.ended(Status::Failed);
    assert_eq!(counted(&metrics, "waypost_deliveries_ended"), [r#"waypost_deliveries_ended_total{status="failed"} 1"#]);
    deliveries.watch_lanes(|| Lanes { in_flight: 5, breakers_open: 2 });
    assert_eq!(lines(&metrics, "waypost_delivery_breakers_open"), ["waypost_delivery_breakers_open 2"]);
    assert_eq!(lines(&metrics, "waypost_delivery_attempts_in_flight"), ["waypost_delivery_attempts_in_flight 5"]);
}

#[test]
fn each_family_is_told_of_before_its_samples() {
    let metrics = Metrics::of_process_since(Timestamp::from_millisecond(1_500).unwrap());
    let text = metrics.text(&Observed { process: Process::read(), ..Observed::default() });
    assert!(text.contains("\nprocess_start_time_seconds 1.5\n"), "{text}");
    let mut family = None;
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => family = rest.split(' ').next(),
            None if line.starts_with('#') => {}
            None => assert!(line.starts_with(family.unwrap()), "{line}"),
        }
    }
    let version = format!("waypost_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines(&metrics, "waypost_build_info"), [version]);
}
