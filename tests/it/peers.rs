//! What users of peers hit (issues of svix-webhooks, convoy, outpost, hook0, django-anymail and others, 2019 to 2026), and
//! the tests that show that it does not happen here.

use crate::tidy::files;

/// What happened, and the tests, as `file: name`.
const CASES: [(&str, &[&str]); 29] = [
    (
        "After a Redis restart or flush, workers loop on what is missing until somebody restarts them",
        &[
            "outage: a_redis_that_is_killed_costs_nothing_but_time",
            "redis_faults: a_flush_of_scripts_or_of_everything_heals_by_itself",
        ],
    ),
    (
        "The event is stored and the push to the queue fails; or the queue forgets",
        &[
            "crash_points: a_crash_between_any_two_steps_loses_nothing_on_redis",
            "crash_points: a_crash_between_any_two_steps_loses_nothing_embedded",
            "redis_faults: a_server_that_loses_data_is_refused_unless_the_risk_is_accepted",
        ],
    ),
    (
        "Three seconds of outage end the retry worker for good",
        &[
            "outage: a_redis_that_hangs_costs_nothing_but_time",
            "tests: what_is_due_is_delivered_though_the_store_fails_at_first",
        ],
    ),
    (
        "Events for a disabled endpoint vanish",
        &[
            "redis_store: skipped_deliveries_are_final_and_lists_follow_the_status",
            "life: an_endpoint_that_is_disabled_is_skipped_until_it_is_enabled_and_a_reload_changes_nothing",
            "stale_endpoints: an_endpoint_that_one_gateway_was_told_to_disable_is_not_called_by_the_other",
            "jobs: a_job_has_no_cap_and_counts_exactly",
            "ends: what_failed_was_gone_or_skipped_is_kept_and_sent_again_embedded",
            "ends: what_failed_was_gone_or_skipped_is_kept_and_sent_again_on_redis",
        ],
    ),
    (
        "One failing endpoint clogs the queue for all",
        &[
            "sick: endpoints_that_hang_cost_only_themselves_embedded",
            "sick: endpoints_that_hang_cost_only_themselves_on_redis",
        ],
    ),
    ("Payloads in queue items fill Redis", &["sick: a_payload_is_stored_once_however_many_wait_for_it"]),
    (
        "One dead endpoint re-sends to the healthy ones",
        &["sick: one_that_fails_is_called_again_alone_and_always_under_the_same_id"],
    ),
    (
        "The visibility timeout is shorter than the HTTP timeout: two sends at once",
        &[
            "clocks: what_is_left_of_the_hold_must_suffice_or_nothing_is_sent",
            "redis_faults: two_gateways_that_ask_for_one_lane_never_get_the_same_lease",
            "gateways: one_that_stood_still_before_it_sent_does_not_send",
        ],
    ),
    (
        "500 concurrent set, 744 seen",
        &[
            "lanes: a_rate_a_cap_and_a_breaker_hold_in_sum_over_four_gateways",
            "lanes: a_rate_a_cap_and_a_breaker_hold_on_the_embedded_store",
        ],
    ),
    (
        "A deleted endpoint turns its tasks into endless failures",
        &[
            "tests: a_delivery_without_its_endpoint_or_event_ends",
            "life: a_deleted_endpoint_stays_deleted_and_what_was_pending_is_canceled_embedded",
            "life: a_deleted_endpoint_stays_deleted_and_what_was_pending_is_canceled_on_redis",
            "leases: an_endpoint_that_was_removed_leaves_no_lane_state",
        ],
    ),
    (
        "Infinite retries, never recorded",
        &[
            "redis_store: a_lost_lease_changes_nothing_and_what_was_begun_is_visible",
            "retry: follows_the_schedule_then_gives_up",
        ],
    ),
    (
        "A rate limit that does nothing",
        &[
            "lanes: a_rate_a_cap_and_a_breaker_hold_in_sum_over_four_gateways",
            "lanes: a_rate_a_cap_and_a_breaker_hold_on_the_embedded_store",
        ],
    ),
    (
        "Retention ignored",
        &[
            "tests: what_expires_in_an_idle_store_is_removed_without_a_pause_between_steps",
            "redis_faults: everything_about_an_event_expires",
        ],
    ),
    (
        "A new id at each emission, so receivers cannot dedupe",
        &[
            "sick: one_that_fails_is_called_again_alone_and_always_under_the_same_id",
            "replays: a_delivery_and_an_event_are_sent_again_embedded",
            "replays: a_delivery_and_an_event_are_sent_again_on_redis",
        ],
    ),
    (
        "A private target, a redirect and the answer in the log make a port scanner; rebinding beats the check",
        &[
            "client: private_addresses_are_blocked_behind_literals_and_names",
            "client: a_redirect_is_an_answer_and_is_not_followed",
            "connector: a_name_is_resolved_once_a_connection_and_only_checked_addresses_are_called",
            "api: only_admin_is_told_why_an_attempt_failed",
        ],
    ),
    (
        "Rotation without overlap breaks receivers; whoever may read can read secrets back",
        &[
            "secrets: a_rotated_secret_signs_beside_the_new_one_until_it_is_revoked_embedded",
            "secrets: a_rotated_secret_signs_beside_the_new_one_until_it_is_revoked_on_redis",
            "fields: each_scope_may_do_its_own",
            "sign: during_rotation_each_live_secret_signs",
            "receiver: each_way_to_sign_is_believed_with_either_of_two_secrets",
        ],
    ),
    (
        "A breaker that counts exhausted messages trips days late; one lucky success resets it",
        &[
            "breaker: opens_after_ten_failures_in_a_row",
            "tests: an_open_breaker_rests_then_lets_one_probe_through",
            "tests: what_failed_before_an_endpoint_was_enabled_again_counts_no_more",
        ],
    ),
    (
        "Bulk replay stops silently at 10,000",
        &[
            "jobs: a_job_has_no_cap_and_counts_exactly",
            "jobs: a_job_goes_on_where_its_gateway_died_embedded",
            "jobs: a_job_goes_on_where_its_gateway_died_on_redis",
            "ledger: embedded_loses_nothing_when_the_gateway_is_killed",
            "ledger: redis_loses_nothing_when_two_gateways_and_the_server_are_killed",
        ],
    ),
    ("A parser bug drops real messages", &["inbound: what_is_verified_and_unreadable_is_kept"]),
    (
        "The timeout covers headers only; a dripping or endless body pins a worker",
        &[
            "client: a_dripping_body_is_cut_at_the_deadline",
            "client: an_endless_body_is_capped",
            "client: a_head_without_end_and_interim_answers_without_end_are_cut",
        ],
    ),
    (
        "A connection error is re-sent at once, with no attempt on record",
        &[
            "tests: a_failed_attempt_is_retried_and_the_lane_remembers_it",
            "client: a_refused_connection_and_an_unknown_name_are_named",
            "client: what_was_read_and_not_answered_is_not_sent_again",
        ],
    ),
    (
        "One malformed item stops the whole delayed queue",
        &[
            "redis_faults: an_unreadable_row_does_not_block_its_lane",
            "tests: an_unreadable_pending_row_keeps_the_store_from_nothing",
            "replays: what_cannot_be_read_is_passed_over_and_the_rest_is_replayed",
        ],
    ),
    (
        "A Retry-After of an hour becomes 10 s",
        &[
            "retry: retry_after_only_lengthens_and_only_on_429_and_503",
            "ends: what_failed_was_gone_or_skipped_is_kept_and_sent_again_embedded",
            "ends: what_failed_was_gone_or_skipped_is_kept_and_sent_again_on_redis",
        ],
    ),
    (
        "A throttled endpoint's backlog churns through the queue",
        &["tests: a_rate_rests_the_lane_and_gives_back_what_was_not_used"],
    ),
    (
        "A short freshness window and 406 lose mail silently after an outage",
        &["proofs: each_window_is_bounded_on_both_sides", "inbound: every_request_is_answered_as_promised"],
    ),
    (
        "A field that is null, retyped or missing costs the event",
        &["mutations: one_field_changed_costs_that_field_and_not_the_event"],
    ),
    (
        "A body that was serialized again no longer verifies",
        &["proofs: one_byte_of_a_signed_body_changed_is_a_mismatch", "redis_store: a_request_comes_back_byte_for_byte"],
    ),
    ("An empty filter list is rejected", &["subscription: an_empty_list_is_all_eleven"]),
    (
        "Editing a URL does not reach what is queued",
        &["sick: an_address_that_is_corrected_reaches_what_waits", "life: a_change_reaches_what_waits"],
    ),
];

#[test]
fn each_case_has_its_tests() {
    let all = [files("src", &["rs"]), files("tests/it", &["rs"]), files("providers", &["rs"])].concat();
    let is_there = |test: &str| {
        let (file, name) = test.split_once(": ").unwrap();
        let definition = format!("fn {name}(");
        all.iter().any(|(path, text)| path.ends_with(&format!("/{file}.rs")) && text.contains(&definition))
    };
    for (case, tests) in CASES {
        let missing: Vec<_> = tests.iter().filter(|test| !is_there(test)).collect();
        assert!(!tests.is_empty() && missing.is_empty(), "{case}: no {missing:?}");
    }
}
