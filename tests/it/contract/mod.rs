//! What every engine must do. Time passes only through delays of zero and delays that never end, so that an engine
//! with a clock of its own can be held to the same.

use std::sync::Arc;
use std::time::Duration;

use waypost::domain::retention::Lifetimes;
use waypost::store::{Lease, Store, Want};

use crate::embedded::LIFETIMES;

pub(crate) mod access;
pub(crate) mod attempts;
pub(crate) mod copies;
pub(crate) mod counts;
pub(crate) mod erasures;
pub(crate) mod feed;
pub(crate) mod ingest;
pub(crate) mod leases;
pub(crate) mod lists;
pub(crate) mod operational;
pub(crate) mod replays;
pub(crate) mod requests;
pub(crate) mod search;
pub(crate) mod states;
pub(crate) mod suppressions;
pub(crate) mod tallies;

/// A hold that does not lapse, a wait that does not end.
pub(crate) const LONG: Duration = Duration::from_secs(24 * 3600);

/// An engine under test, on data of its own.
pub(crate) trait Harness: Sized {
    /// Opens an empty store.
    async fn start() -> Self;

    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Closes the store and opens it again on the same data, which from now on lives so long. Whoever holds the old one
    /// has dropped it.
    async fn reopen_for(&mut self, lifetimes: Lifetimes);

    /// The same for the usual lifetimes, with so many bytes for the log of one endpoint's attempts.
    async fn reopen_holding(&mut self, log_bytes: u64);

    /// Closes the store and opens it again on the same data.
    async fn reopen(&mut self) {
        self.reopen_for(LIFETIMES).await;
    }
}

/// Takes what is due now.
pub(crate) async fn lease(store: &dyn Store, endpoint: &str, limit: usize, hold: Duration) -> Vec<Lease> {
    let want = Want { endpoint: endpoint.into(), limit, replays: limit, hold, rest: None };
    store.lease(&[want]).await.unwrap().leases
}

/// Takes what is due in a moment: a delay of zero may last as long as the engine's clock takes to tick.
pub(crate) async fn lease_soon(store: &dyn Store, endpoint: &str, limit: usize, hold: Duration) -> Vec<Lease> {
    for _ in 0..1_000 {
        let leases = lease(store, endpoint, limit, hold).await;
        if !leases.is_empty() {
            return leases;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Vec::new()
}

/// Makes a test of every case, on this harness.
macro_rules! run_contract {
    ($harness:ty) => {
        crate::contract::run_contract!($harness, ingest: [
            a_copy_is_a_repeat, two_sources_differ, what_was_stored_survives_a_reopen,
            a_stale_plan_changes_nothing, each_of_a_call_has_its_own_fate, a_forged_token_stores_nothing,
            a_token_is_remembered_under_each_key_that_signed_it, the_generation_grows,
            an_endpoint_that_was_removed_stays_away,
            a_raw_request_comes_back,
            the_length_of_a_request_is_told,
        ]);
        crate::contract::run_contract!($harness, copies: [
            a_fact_under_another_id_is_a_repeat, an_opening_under_another_id_is_kept_and_marked,
            copies_of_one_call_meet, an_identity_comes_first, of_copies_that_come_together_one_is_first,
            what_expired_is_no_longer_the_first,
        ]);
        crate::contract::run_contract!($harness, states: [
            a_state_is_reported_when_it_comes_to_hold, what_is_only_told_is_remembered, an_older_snapshot_changes_nothing,
            of_one_moment_the_one_that_holds_stays, snapshots_end_the_same_in_any_order,
            a_stored_identity_is_a_repeat_whatever_its_state, of_snapshots_that_come_together_one_is_reported,
            a_state_outlives_its_event, each_entity_has_a_state_of_its_own,
        ]);
        crate::contract::run_contract!($harness, leases: [
            a_lost_lease_cannot_finish, a_lease_that_lapses_comes_again, a_lease_finishes_once,
            one_mail_keeps_its_order_within_a_class, a_retry_lets_the_next_of_its_mail_go, classes_are_independent,
            neither_class_starves, nothing_due_costs_nothing_and_tells_when, a_lane_rests,
            a_lease_without_a_rest_ends_it, a_lane_state_comes_back,
            an_endpoint_that_was_removed_leaves_no_lane_state,
            a_gateway_lives_until_it_leaves, work_wakes_who_waits,
        ]);
        crate::contract::run_contract!($harness, operational: [
            it_is_committed_without_a_request, it_is_delivered_and_in_no_list_of_events,
            what_is_committed_after_it_comes_after_it,
        ]);
        crate::contract::run_contract!($harness, suppressions: [
            an_event_suppresses_in_its_own_commit, each_of_several_is_suppressed, a_repeat_and_a_stale_plan_suppress_nobody,
            an_event_that_is_none_suppresses_nobody, of_each_reason_the_earliest_event_stays,
            a_suppression_outlives_its_event_and_a_reopen,
            an_address_is_put_on_the_list_and_taken_off_by_hand, the_list_is_read_in_pages_while_it_changes,
            an_address_is_listed_while_an_event_names_it,
        ]);
        crate::contract::run_contract!($harness, attempts: [
            attempts_to_an_endpoint_are_listed_latest_first, the_oldest_attempts_go_where_there_are_too_many_bytes,
            attempts_go_with_their_deliveries,
        ]);
        crate::contract::run_contract!($harness, counts: [
            what_was_counted_adds_up_by_the_hour_and_survives_a_reopen, all_that_is_pending_to_an_endpoint_is_told,
        ]);
        crate::contract::run_contract!($harness, tallies: [
            what_was_counted_adds_up_and_survives_a_reopen, types_that_a_sender_makes_up_take_bounded_room,
        ]);
        crate::contract::run_contract!($harness, access: [
            what_was_told_is_listed_latest_first_and_survives_a_reopen, a_change_of_endpoints_is_told_if_it_is_made,
            of_several_who_claim_one_is_first, the_latest_use_of_a_key_stays,
        ]);
        crate::contract::run_contract!($harness, replays: [
            a_replay_is_a_delivery_of_its_own, a_delivery_and_its_replay_may_be_under_way_together,
            a_replay_holds_back_no_live_delivery_of_its_mail, live_deliveries_go_first_and_replays_never_starve,
            what_is_gone_or_was_replayed_too_often_is_not_replayed, a_canceled_replay_ends_whatever_became_of_it,
            a_replay_ends_with_its_event, an_endpoints_deliveries_are_found_in_bounded_steps,
            a_job_is_changed_by_who_knows_it, jobs_are_listed_latest_first,
        ]);
        crate::contract::run_contract!($harness, requests: [
            what_was_not_understood_is_listed_until_it_is, what_comes_again_and_is_understood_now_is_no_longer_listed,
            what_it_says_now_suppresses_and_tells_a_state, what_it_says_is_delivered_once,
            a_large_one_is_read_again_whole, a_stale_plan_reprocesses_nothing,
            what_brought_a_mail_lives_as_long_as_its_event, a_reprocessed_event_lives_from_its_receipt_on,
            what_expired_before_it_was_delivered_is_delivered_once_when_it_comes_again,
            what_is_reprocessed_late_is_found_by_its_receipt,
        ]);
        crate::contract::run_contract!($harness, search: [
            each_recipient_and_either_id_finds_an_event, all_that_is_asked_for_holds, what_expired_is_not_found,
            pages_skip_and_double_nothing_while_more_come, a_span_is_of_receipts,
            what_was_reprocessed_is_found_by_its_receipt, a_scan_tells_how_far_it_got_and_goes_on,
            a_mails_events_come_in_order_by_any_of_its_ids, what_waypost_made_is_found_by_nothing,
            a_cursor_is_a_place_and_nobodys_is_refused,
        ]);
        crate::contract::run_contract!($harness, feed: [
            every_event_is_read_once_and_in_order, from_the_end_only_what_comes_later_is_read,
            what_waypost_made_and_what_was_erased_is_passed_over, what_is_no_longer_kept_is_counted,
            a_reader_whose_place_the_store_lost_begins_a_little_before, whoever_waits_hears_of_more,
            a_consumer_is_changed_by_who_knows_it,
        ]);
        crate::contract::run_contract!($harness, erasures: [
            an_erased_event_is_a_repeat_and_given_to_nobody, a_lease_of_what_is_erased_is_lost_and_answers_are_blanked,
            others_of_the_mail_go_on_when_one_is_erased, what_is_erased_amid_a_long_lane_is_passed_over,
            a_replay_of_what_is_erased_is_canceled_and_none_is_made, an_erased_request_is_blank_and_brings_nothing,
            what_is_erased_before_it_comes_is_never_kept, what_is_barred_is_a_repeat_when_it_comes,
            a_body_that_something_refers_to_is_no_leftover, all_that_is_kept_is_found_in_parts, its_files_are_written_anew,
        ]);
        crate::contract::run_contract!($harness, lists: [
            an_end_is_listed_by_status, a_disabled_endpoint_is_skipped_at_once, pages_go_on_where_they_ended,
            deliveries_of_an_event_keep_the_order_of_its_endpoints, the_latest_end_is_listed_first,
            an_expired_event_ends_what_is_pending_and_the_end_is_listed, a_cursor_of_nobodys_is_refused,
            pages_go_on_within_what_is_of_one_moment, what_was_tried_is_known_after_its_event_expired,
        ]);
    };
    ($harness:ty, $file:ident: [$($name:ident),* $(,)?]) => {
        mod $file {
            use super::*;

            $(
                #[tokio::test]
                async fn $name() {
                    let mut harness = <$harness as crate::contract::Harness>::start().await;
                    crate::contract::$file::$name(&mut harness).await;
                }
            )*
        }
    };
}
pub(crate) use run_contract;
