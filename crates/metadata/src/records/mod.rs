//! Typed records: every SQL text of the registry, once, for all engines.
//!
//! A record's file holds its statements and questions. Writes come as [`crate::Statement`]s that a use case puts
//! into one [`crate::Batch`]; questions are functions over [`crate::Sql`]. A guard is a statement too: it
//! aborts the batch unless its condition holds.

pub mod blob;
pub mod collect;
pub mod damage;
pub mod location;
pub mod manifest;
pub mod placement;
pub mod preview;
pub mod reap;
pub mod referrer;
pub mod repository;
pub mod scrub;
pub mod setting;
pub mod tag;
pub mod untagged;
pub mod upload;

/// Every statement with its name, for the suite: each must prepare on every engine, and the hot ones use an index.
pub fn all_sql() -> Vec<(&'static str, &'static str)> {
    [
        blob::SQL,
        collect::SQL,
        damage::SQL,
        location::SQL,
        manifest::SQL,
        placement::SQL,
        preview::SQL,
        reap::SQL,
        referrer::SQL,
        repository::SQL,
        scrub::SQL,
        setting::SQL,
        tag::SQL,
        untagged::SQL,
        upload::SQL,
    ]
    .concat()
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
