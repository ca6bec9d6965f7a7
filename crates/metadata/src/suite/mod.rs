//! The conformance suite: what every metadata engine promises, as named clauses run over any [`Sql`].
//!
//! [`conformance!`](crate::conformance) makes one test of each clause. A clause gets an engine of its own, freshly
//! opened; most find the tables of [`TABLES`] in it. Deliberately absent: outages, crashes and restarts, which
//! only the engine itself knows how to cause.

// Test code that stands in a library: a clause fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bookkeeping;
mod commits;
mod identities;
mod identity_races;
mod limits;
mod lists;
mod queries;
mod races;
mod removals;
mod schema;
mod tokens;
mod values;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::{Batch, CommitError, Committed, Freshness, Migration, Millis, Row, Rows, Sql, Statement, Value, migrate};

pub use bookkeeping::*;
pub use commits::*;
pub use identities::*;
pub use identity_races::*;
pub use limits::*;
pub use lists::*;
pub use queries::*;
pub use races::*;
pub use removals::*;
pub use schema::*;
pub use tokens::*;
pub use values::*;

/// An engine under test, empty and writable, with whatever must live as long as it (directory, server).
pub struct Subject {
    /// The engine.
    pub sql: Arc<dyn Sql>,
    /// Dropped after the clause.
    pub keep: Box<dyn Any + Send>,
}

impl Subject {
    /// An engine that needs nothing else kept.
    pub fn new(sql: impl Sql) -> Self {
        Self { sql: Arc::new(sql), keep: Box::new(()) }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("sql", &self.sql).finish_non_exhaustive()
    }
}

/// Runs a clause on an engine without tables.
pub async fn on_empty<C: AsyncFnOnce(Arc<dyn Sql>)>(subject: Subject, clause: C) {
    clause(subject.sql.clone()).await;
}

/// Runs a clause on an engine with the tables of [`TABLES`].
pub async fn on_tables<C: AsyncFnOnce(Arc<dyn Sql>)>(subject: Subject, clause: C) {
    migrate(&*subject.sql, TABLES, AT).await.unwrap();
    clause(subject.sql.clone()).await;
}

/// Makes one test of each clause. `$make` is the path of an `async fn() -> Subject`; after `optional`, of one that answers
/// `None`, and has said so, where the server that it needs is absent.
#[macro_export]
macro_rules! conformance {
    ($make:path) => {
        async fn present() -> Option<$crate::suite::Subject> {
            Some($make().await)
        }
        $crate::conformance! { optional present }
    };
    (optional $make:path) => {
        $crate::conformance! { @each $make, on_empty: migrations_apply_once, an_older_program_runs_beside_what_only_adds, the_schema_applies_twice }
        $crate::conformance! { @each $make, on_empty:
            what_scrub_finds_is_recorded_and_heals,
            an_orphan_is_a_pushs_or_the_reapers,
            a_run_of_scrub_is_saved_by_one,
            what_nothing_holds_is_told_and_goes,
        }
        $crate::conformance! { @each $make, on_empty:
            identities_come_and_go,
            a_namespace_is_claimed_with_what_is_in_it,
            facts_tell_what_a_decision_needs,
            what_changes_access_raises_its_revision,
            tokens_and_keys_are_kept,
            what_was_made_with_a_token_ends_with_it,
            a_forgotten_token_hands_over_what_was_made_with_it,
            the_catalog_is_what_one_may_see,
            immutable_tags_stay,
            an_organization_keeps_an_owner,
            a_system_admin_stays,
            a_name_is_a_users_or_an_organizations,
            a_refresh_token_is_used_once,
            a_family_of_refresh_tokens_ends_whole,
            a_grant_and_the_end_of_its_team_leave_nothing,
        }
        $crate::conformance! { @each $make, on_empty:
            a_removed_repository_goes_in_parts,
            a_push_is_before_the_removal_of_its_repository_or_refused,
        }
        $crate::conformance! { @each $make, on_tables:
            a_batch_happens_whole,
            a_failed_guard_aborts_everything,
            a_broken_reference_aborts_everything,
            a_duplicate_key_is_a_conflict,
            a_faulty_statement_aborts_everything,
            a_statement_sees_those_before_it,
            an_operation_happens_once,
            an_operation_submitted_many_times_at_once_happens_once,
            a_refused_operation_may_come_again,
            an_empty_batch_takes_its_operation_id,
            an_unknown_outcome_is_settled_once,
            old_operation_ids_are_purged_in_bounded_steps,
            too_many_statements_are_refused,
            too_many_bytes_are_refused,
            the_largest_batch_is_accepted,
            a_list_selects,
            an_empty_list_matches_nothing,
            a_list_in_a_commit,
            a_long_list_is_answered,
            too_long_a_list_is_answered_whole_or_refused,
            a_misplaced_list_is_refused,
            answers_stand_in_the_order_of_questions,
            a_question_without_rows_is_answered,
            a_faulty_question_fails,
            a_question_may_not_write,
            paging_goes_in_ascii_order,
            blobs_come_back,
            integers_come_back,
            text_comes_back,
            empty_is_not_null,
            latest_sees_every_acknowledged_commit,
            concurrent_increments_lose_nothing,
            a_push_and_a_collector_never_both_win,
            of_two_moves_of_a_tag_one_wins,
            a_mount_and_a_deletion_never_both_win,
            a_lease_has_one_owner,
            a_job_is_claimed_once,
            what_is_kept_under_a_revision_is_never_older_than_what_was_acknowledged,
        }
    };
    (@each $make:path, $on:ident: $($clause:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                let Some(subject) = $make().await else { return };
                $crate::suite::$on(subject, $crate::suite::$clause).await;
            }
        )*
    };
}

/// The tables that clauses use.
pub const TABLES: &[Migration] = &[Migration::new(
    1,
    "suite",
    &[
        "CREATE TABLE item (k BIGINT NOT NULL PRIMARY KEY, v TEXT)",
        "CREATE TABLE content (k BIGINT NOT NULL PRIMARY KEY, bytes BLOB, words TEXT)",
        "CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY)",
        "CREATE TABLE child (id BIGINT NOT NULL PRIMARY KEY, parent BIGINT NOT NULL REFERENCES parent(id))",
        // A reference without a foreign key: guards alone keep it whole.
        "CREATE TABLE link (id BIGINT NOT NULL PRIMARY KEY, parent BIGINT NOT NULL)",
        "CREATE TABLE tag (repository BIGINT NOT NULL, name TEXT NOT NULL, target TEXT NOT NULL, \
         version BIGINT NOT NULL, PRIMARY KEY (repository, name))",
        "CREATE TABLE job (id BIGINT NOT NULL PRIMARY KEY, owner BIGINT)",
    ],
)];

/// The time at which everything happens in the suite.
const AT: Millis = 1_750_000_000_000;

const PUT_ITEM: &str = "INSERT INTO item(k, v) VALUES ($1, $2)";
const COUNT_ITEMS: &str = "SELECT count(*) FROM item";
const ABORT: &str = "INSERT INTO guard(ok) SELECT 0";

/// A batch under a new operation id.
fn batch(statements: impl IntoIterator<Item = Statement>) -> Batch {
    let mut batch = Batch::new(Uuid::now_v7(), AT);
    batch.extend(statements);
    batch
}

fn say<const N: usize>(sql: &'static str, params: [Value; N]) -> Statement {
    Statement::new(sql, params.into())
}

fn item(k: i64, v: &str) -> Statement {
    say(PUT_ITEM, [k.into(), v.into()])
}

/// Commits, and insists that it happened now.
async fn commit(sql: &dyn Sql, statements: impl IntoIterator<Item = Statement>) {
    assert_eq!(sql.commit(batch(statements)).await.unwrap(), Committed { replayed: false });
}

async fn ask<const N: usize>(sql: &dyn Sql, text: &'static str, params: [Value; N]) -> Rows {
    sql.query(Freshness::Latest, say(text, params)).await.unwrap()
}

async fn number<const N: usize>(sql: &dyn Sql, text: &'static str, params: [Value; N]) -> i64 {
    ask(sql, text, params).await[0].integer(0).unwrap()
}

async fn items(sql: &dyn Sql) -> i64 {
    number(sql, COUNT_ITEMS, []).await
}

fn integers(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|row| row.integer(0).unwrap()).collect()
}

#[track_caller]
fn assert_conflict(outcome: Result<Committed, CommitError>) {
    assert!(matches!(outcome, Err(CommitError::Conflict(_))), "not a conflict: {outcome:?}");
}

#[cfg(test)]
mod tests {
    use super::Subject;
    use crate::Memory;

    async fn memory() -> Subject {
        Subject::new(Memory::open().unwrap())
    }

    crate::conformance!(memory);

    /// A clause that the macro does not name would never run.
    #[test]
    fn every_clause_is_run() {
        let named = include_str!("mod.rs").split_once("macro_rules! conformance").unwrap().1;
        let named: Vec<_> = named.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let rooms = [
            include_str!("bookkeeping.rs"),
            include_str!("commits.rs"),
            include_str!("identities.rs"),
            include_str!("identity_races.rs"),
            include_str!("limits.rs"),
            include_str!("lists.rs"),
            include_str!("queries.rs"),
            include_str!("races.rs"),
            include_str!("removals.rs"),
            include_str!("schema.rs"),
            include_str!("tokens.rs"),
            include_str!("values.rs"),
        ];
        for clause in rooms.iter().flat_map(|room| room.split("\npub async fn ").skip(1)) {
            let name = clause.split('(').next().unwrap();
            assert!(named.contains(&name), "{name} is not in conformance!");
        }
    }
}
