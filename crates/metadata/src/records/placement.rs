//! Placements: at which location, under which key, the bytes of a blob are.

use super::sql;
use crate::{Millis, Statement};
use roadstead_oci::Digest;
use uuid::Uuid;

/// A copy that another one replaced is deleted no sooner than this many milliseconds later: whoever has just looked up
/// its key still finds it.
pub const REPLACED_KEPT: Millis = 60_000;

sql! {
    REAP_REPLACED = "INSERT INTO reap (location_id, object_key, attempts, not_before) \
        SELECT location_id, object_key, 0, $1 FROM placement WHERE digest = $2 AND location_id = $3 AND object_key <> $4 \
        ON CONFLICT (location_id, object_key) DO NOTHING";
    PLACE = "INSERT INTO placement (digest, location_id, object_key, size, verified_at) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (digest, location_id) DO UPDATE \
        SET object_key = excluded.object_key, size = excluded.size, verified_at = excluded.verified_at";
}

/// A freshly published, verified object of a blob.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The blob.
    pub digest: Digest,
    /// Where it is.
    pub location: Uuid,
    /// Under which key.
    pub object_key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Records a copy. One that the location has already is replaced and handed to the reaper: the new object has just
/// been verified, while nobody knows what became of the old one, and so a push heals what was lost.
pub fn put(placement: &Placement, at: Millis) -> [Statement; 2] {
    let Placement { digest, location, object_key, size } = placement;
    let (location, key) = (*location, object_key.as_str());
    [
        Statement::new(
            REAP_REPLACED,
            vec![at.saturating_add(REPLACED_KEPT).into(), digest.into(), location.into(), key.into()],
        ),
        Statement::new(PLACE, vec![digest.into(), location.into(), key.into(), (*size as i64).into(), at.into()]),
    ]
}
