//! Placements: at which location, under which key, the bytes of a blob are.

use super::sql;
use crate::{Millis, Statement};
use roadstead_oci::Digest;
use uuid::Uuid;

sql! {
    ADD = "INSERT INTO placement (digest, location_id, object_key, size, verified_at) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (digest, location_id) DO NOTHING";
    REAP_UNLESS_PLACED = "INSERT INTO reap (location_id, object_key, attempts, not_before) SELECT $1, $2, 0, $3 \
        WHERE NOT EXISTS (SELECT 1 FROM placement WHERE digest = $4 AND location_id = $5 AND object_key = $6)";
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

/// Records a copy. When the location has one already, that one stays and the new object is handed to the reaper.
pub fn add(placement: &Placement, at: Millis) -> [Statement; 2] {
    let Placement { digest, location, object_key, size } = placement;
    [
        Statement::new(
            ADD,
            vec![digest.into(), (*location).into(), object_key.clone().into(), (*size as i64).into(), at.into()],
        ),
        Statement::new(
            REAP_UNLESS_PLACED,
            vec![
                (*location).into(),
                object_key.clone().into(),
                at.into(),
                digest.into(),
                (*location).into(),
                object_key.clone().into(),
            ],
        ),
    ]
}
