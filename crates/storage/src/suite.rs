//! The conformance suite: named clauses that every storage engine must pass.
//!
//! An engine's tests call [`conformance!`](crate::conformance), which makes one `#[test]` of each clause, on a
//! [`Subject`] that opens the engine on a fresh store. A clause is an `async fn(&dyn Subject)` that panics when the
//! engine breaks its contract. After each, the store must hold nothing that no key names ([`Subject::leftovers`]).
//!
//! Compiled for this crate's own tests and behind the feature `suite`, so that no release binary carries it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod composing;
mod deleting;
mod extending;
mod identifying;
mod listing;
mod objects;
mod reading;
mod writing;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::Engine;

/// A store under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Opens one more engine instance on the store, as another process would.
    async fn open(&self) -> Arc<dyn Engine>;

    /// Names of what lies in the store and belongs to no object: temporary files, unfinished multipart uploads.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }

    /// Answers when the engines that were opened have cleaned up behind what was dropped.
    async fn settled(&self) {}

    /// Whether the store may let several writers win that race for one key. The last of them is then what is there:
    /// whole, and in the way of any later one.
    fn races_are_open(&self) -> bool {
        false
    }

    /// Whether the store cannot tell a key from the beginning of longer ones, and fails when asked for it.
    fn prefixes_are_in_the_way(&self) -> bool {
        false
    }
}

/// One thing that an engine promises.
#[derive(Clone, Copy)]
pub struct Clause {
    /// Its name, which is also that of the generated test.
    pub name: &'static str,
    /// Panics when the engine does not keep it.
    pub run: for<'a> fn(&'a dyn Subject) -> BoxFuture<'a, ()>,
}

/// Hands the list of all clauses to the macro `$apply`, after `$with`.
#[doc(hidden)]
#[macro_export]
macro_rules! __clauses {
    ($apply:ident $($with:tt)*) => {
        $crate::$apply! { [$($with)*]
            writing::nothing_is_visible_before_finish
            writing::aborted_and_dropped_writers_leave_nothing
            writing::one_of_fifty_concurrent_writers_wins
            writing::a_second_finish_of_a_key_is_refused
            writing::an_empty_object_is_an_object
            writing::chunks_of_every_size_keep_their_order
            writing::sync_may_be_called_at_any_time
            writing::a_large_object_streams_in_and_out
            writing::a_key_below_another_key_works_or_is_refused
            writing::put_small_replaces_unless_told_not_to
            writing::put_small_has_one_exclusive_winner
            writing::two_instances_see_one_store
            reading::ranges_are_exact
            reading::ranges_outside_are_refused
            reading::absent_objects_are_not_found
            reading::a_reader_outlives_its_engine
            reading::a_version_lasts_as_long_as_the_bytes
            composing::no_parts_make_an_empty_object
            composing::parts_are_joined_in_order
            composing::a_hundred_parts_are_joined
            composing::bytes_beyond_a_parts_length_do_not_count
            composing::a_part_shorter_than_its_length_is_corrupt
            composing::a_missing_part_is_not_found
            composing::parts_stay_and_may_be_deleted
            composing::an_existing_key_is_not_composed_over
            extending::bytes_survive_a_reopen
            extending::uncommitted_bytes_are_discarded
            extending::an_object_is_readable_while_it_grows
            extending::only_what_is_there_can_be_extended
            extending::abort_restores_the_former_bytes
            extending::a_dropped_writer_does_not_write_into_its_successor
            extending::a_composed_object_does_not_change_with_its_part
            listing::keys_come_in_ascii_order
            listing::pages_join_without_gap_or_repetition
            listing::prefixes_cut_anywhere
            listing::strange_prefixes_match_nothing
            listing::a_model_agrees
            deleting::a_delete_may_be_repeated
            deleting::a_reader_never_sees_wrong_bytes_of_a_deleted_object
            deleting::writers_survive_deletes_around_them
            identifying::an_empty_store_is_claimed_once
            identifying::racing_claims_have_one_winner
            identifying::a_foreign_store_is_refused_with_the_way_out
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __clause_table {
    ([] $($room:ident :: $clause:ident)*) => {
        &[$(Clause { name: stringify!($clause), run: |subject| Box::pin($room::$clause(subject)) }),*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __clause_tests {
    ([$make:expr] $($room:ident :: $clause:ident)*) => {
        $(#[test]
        fn $clause() {
            $crate::suite::run(stringify!($clause), || $make);
        })*
    };
    ([$present:expr, $make:expr] $($room:ident :: $clause:ident)*) => {
        $(#[test]
        fn $clause() {
            if $present {
                $crate::suite::run(stringify!($clause), || $make);
            }
        })*
    };
}

/// Makes one `#[test]` per clause. The argument is an expression that makes a [`Subject`](crate::suite::Subject); one
/// before it says whether the machine has what the subject needs, and without it the tests pass unrun.
#[macro_export]
macro_rules! conformance {
    ($make:expr) => {
        $crate::__clauses! { __clause_tests $make }
    };
    ($present:expr, $make:expr) => {
        $crate::__clauses! { __clause_tests $present, $make }
    };
}

/// All clauses.
pub const CLAUSES: &[Clause] = crate::__clauses! { __clause_table };

/// Runs the clause called `name` in a runtime of its own, on the subject that `make` makes there. Panics when it
/// fails, or when it left something behind.
pub fn run<S: Subject>(name: &str, make: impl FnOnce() -> S) {
    let clause = CLAUSES.iter().find(|clause| clause.name == name).expect("a clause of this name");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let subject = {
        let _context = runtime.enter();
        make()
    };
    runtime.block_on((clause.run)(&subject));
    runtime.block_on(subject.settled());
    // Waits for blocking work that was started, such as removing the file of a dropped writer.
    drop(runtime);
    let leftovers = subject.leftovers();
    assert!(leftovers.is_empty(), "left behind: {leftovers:?}");
}
