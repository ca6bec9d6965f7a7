//! The same contract without prepared statements, as behind PgBouncer in transaction mode.

use roadstead_metadata::suite::Subject;
use roadstead_metadata_postgres::Options;

use crate::support;

async fn subject() -> Option<Subject> {
    let options = Options { statement_cache: false, ..support::options()? };
    Some(Subject::new(support::open(options).await))
}

roadstead_metadata::conformance!(optional subject);
