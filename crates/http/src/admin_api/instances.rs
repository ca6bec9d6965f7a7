//! What this instance does, and who else runs over the same metadata.

use super::call::{Call, shown};
use super::refusals::{Answer, Refusal};

/// `GET /api/v1/workers`: every worker's status.
pub(super) async fn workers(call: Call) -> Answer {
    shown(&call.api.workers.statuses())
}

/// `GET /api/v1/instances`: every process, oldest first. 503 when the metadata does not answer.
pub(super) async fn show(call: Call) -> Answer {
    match call.api.instances.list().await {
        Ok(instances) => shown(&instances),
        Err(error) => Err(Refusal::unavailable(format!("metadata: {error}"))),
    }
}
