//! The contract that every metadata engine keeps, on connections of our own.

use roadstead_metadata::suite::Subject;

use crate::support;

async fn subject() -> Option<Subject> {
    support::engine().await.map(Subject::new)
}

roadstead_metadata::conformance!(optional subject);
