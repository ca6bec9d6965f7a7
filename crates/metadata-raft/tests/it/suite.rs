//! The contract that every metadata engine keeps.

use roadstead_metadata::suite::Subject;
use roadstead_metadata_raft::RaftSql;

use crate::support::options;

async fn subject() -> Subject {
    let directory = tempfile::tempdir().unwrap();
    let sql = RaftSql::open(options(directory.path())).await.unwrap();
    Subject { keep: Box::new(directory), ..Subject::new(sql) }
}

roadstead_metadata::conformance!(subject);
