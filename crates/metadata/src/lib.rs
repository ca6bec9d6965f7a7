//! What is known: the [`Sql`] trait, batches with guards, schema, typed records, the conformance suite.

pub mod base;
mod batch;
mod error;
mod faults;
pub mod lists;
mod memory;
mod metered;
mod migration;
pub mod records;
mod retrying;
mod revision;
pub mod schema;
mod sql;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod value;

pub use batch::{BATCH_BYTES, BATCH_STATEMENTS, Batch, Millis, Statement};
pub use error::{CommitError, Committed, QueryError};
pub use faults::{Fault, Faults, Faulty};
pub use memory::Memory;
pub use metered::{Metered, Operation, Outcome, Recorder};
pub use migration::{MigrateError, Migration, migrate, pending};
pub use retrying::{RETRIED_FOR, commit_once};
pub use revision::{Changing, Revision};
pub use sql::{Dialect, Freshness, Sql, Status};
pub use value::{Row, Rows, Value};
