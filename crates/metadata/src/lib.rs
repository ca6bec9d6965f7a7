//! What is known: the [`Sql`] trait, batches with guards, schema, typed records, the conformance suite.

mod batch;
mod error;
mod sql;
mod value;

pub use batch::{BATCH_BYTES, BATCH_STATEMENTS, Batch, Millis, Statement};
pub use error::{CommitError, Committed, QueryError};
pub use sql::{Freshness, Sql, Status};
pub use value::{Row, Rows, Value};
