//! The audit where it is not kept. Where it is, [`AuditApi`](crate::AuditApi) answers in this place.

use super::call::Call;
use super::refusals::{Answer, Refusal};

pub(super) async fn none(call: Call) -> Answer {
    call.identities().require_admin(&call.caller).await?;
    Err(Refusal::conflict("the audit is not kept here (audit.enabled)"))
}
