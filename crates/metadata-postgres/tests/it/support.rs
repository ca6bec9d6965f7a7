//! Engines on databases of their own.

use roadstead_metadata_postgres::{Options, PostgresSql};
use roadstead_testkit::servers;

/// Options for a new database in the server that all tests share; `None` when there is no PostgreSQL here.
pub(crate) fn options() -> Option<Options> {
    servers::database().map(|database| Options::new(database.url))
}

/// An engine on a new database.
pub(crate) async fn engine() -> Option<PostgresSql> {
    Some(open(options()?).await)
}

pub(crate) async fn open(options: Options) -> PostgresSql {
    PostgresSql::open(options).await.unwrap()
}
