//! Typed records: every SQL text of the registry, once, for all engines.
//!
//! A record's file holds its statements and questions. Writes come as [`crate::Statement`]s that a use case puts
//! into one [`crate::Batch`]; questions are functions over [`crate::Sql`]. A guard is a statement too: it
//! aborts the batch unless its condition holds.

use crate::{Freshness, QueryError, Rows, Sql, Statement};

pub mod access;
pub mod access_token;
pub mod account;
pub mod blob;
pub mod collect;
pub mod damage;
pub mod grant;
pub mod instance;
pub mod lease;
pub mod location;
pub mod manifest;
pub mod organization;
pub mod placement;
pub mod preview;
pub mod reap;
pub mod referrer;
pub mod refresh_token;
pub mod removal;
pub mod repository;
pub mod robot;
pub mod scrub;
pub mod setting;
pub mod signing_key;
pub mod tag;
pub mod team;
pub mod untagged;
pub mod upload;
pub mod visible;

/// Every statement with its name, for the suite: each must prepare on every engine, and the hot ones use an index.
pub fn all_sql() -> Vec<(&'static str, &'static str)> {
    [
        access::SQL,
        access_token::SQL,
        account::SQL,
        blob::SQL,
        collect::SQL,
        damage::SQL,
        grant::SQL,
        instance::SQL,
        lease::SQL,
        location::SQL,
        manifest::SQL,
        organization::SQL,
        placement::SQL,
        preview::SQL,
        reap::SQL,
        referrer::SQL,
        refresh_token::SQL,
        removal::SQL,
        repository::SQL,
        robot::SQL,
        scrub::SQL,
        setting::SQL,
        signing_key::SQL,
        tag::SQL,
        team::SQL,
        untagged::SQL,
        upload::SQL,
        visible::SQL,
    ]
    .concat()
}

/// The answer to a question about what never changes once it is there: the newest, or, while that cannot be had, the one
/// at hand.
async fn at_hand(sql: &dyn Sql, question: Statement) -> Result<Rows, QueryError> {
    match sql.query(Freshness::Latest, question.clone()).await {
        Err(QueryError::Unavailable(_)) => sql.query(Freshness::Local, question).await,
        answer => answer,
    }
}

/// Declares the SQL texts of a record file: a constant for each, and the list of all as `SQL`.
macro_rules! sql {
    ($($name:ident = $text:expr;)*) => {
        $(const $name: &str = $text;)*
        /// The statements of this record, by name.
        pub(super) const SQL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
use sql;
