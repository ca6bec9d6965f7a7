//! The contract behind a real PgBouncer in transaction mode, which gives each transaction another of its few connections.

use std::sync::LazyLock;

use roadstead_metadata::suite::Subject;
use roadstead_metadata_postgres::Options;
use roadstead_testkit::servers::{self, PgBouncer};

use crate::support;

async fn subject() -> Option<Subject> {
    static BOUNCER: LazyLock<Option<PgBouncer>> = LazyLock::new(|| servers::pgbouncer(&servers::database()?));
    let database = BOUNCER.as_ref()?.to(&servers::database()?);
    let options = Options { statement_cache: false, ..Options::new(database.url) };
    Some(Subject::new(support::open(options).await))
}

roadstead_metadata::conformance!(optional subject);
