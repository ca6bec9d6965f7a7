//! What this instance runs with.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::call::{Call, shown};
use super::refusals::Answer;

/// One key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Setting {
    /// Its path: `http.addr`.
    pub key: String,
    /// Its value as it was written, a list as one, or its default; `null` when it has none; `(hidden)` in the place of a
    /// secret.
    pub value: Value,
    /// Where that stands: `roadstead.yml:3`, the variable, the flag, or `default`.
    pub from: String,
}

/// `GET /api/v1/settings`: every key, in alphabetical order.
pub(super) async fn show(call: Call) -> Answer {
    shown(&*call.api.settings)
}
