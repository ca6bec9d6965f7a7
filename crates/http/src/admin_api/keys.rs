//! The keys that tokens are signed with.

use roadstead_registry::{Rotated, Rotation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::call::{Call, shown};
use super::refusals::{Answer, Refusal};

/// A signing key.
#[derive(Serialize, JsonSchema)]
pub(super) struct Key {
    /// Its id, the `kid` of the tokens that it signs.
    id: Uuid,
    /// With `now`, how many keys ended whose tokens were good until then; `null` when none ended.
    ended: Option<usize>,
}

/// How keys are rotated.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// Whether the other keys and all tokens that they signed are refused at once, because somebody may have stolen them;
    /// else these tokens stay good until they end.
    #[serde(default)]
    now: bool,
}

pub(super) async fn rotate(call: Call) -> Answer {
    let Wish { now } = call.body()?;
    let Some(keys) = &call.api.keys else {
        return Err(Refusal::conflict("nobody is asked who it is here (auth.enabled), so there are no signing keys"));
    };
    let rotation = if now { Rotation::AtOnce } else { Rotation::Overlapping };
    let Rotated { id, ended } = call.identities().rotate_key(&call.caller, keys, rotation).await?;
    shown(&Key { id, ended })
}
