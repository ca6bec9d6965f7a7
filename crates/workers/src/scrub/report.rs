//! What an operator is told of damage.

use roadstead_metadata::records::blob;
use roadstead_metadata::records::damage::{self, Damaged};
use uuid::Uuid;

use super::Scrub;
use crate::StepError;

/// Repositories named for each damaged object at most.
const REPOSITORIES: i64 = 20;

/// A damaged object, and whom it concerns.
#[derive(Debug, Clone)]
pub struct DamagedObject {
    /// The id of the location that holds it.
    pub location_id: Uuid,
    /// The location's name.
    pub location: String,
    /// The object.
    pub object: Damaged,
    /// Repositories that link its blob, the first 20.
    pub repositories: Vec<String>,
}

impl Scrub {
    /// Damaged objects after one of an earlier answer, given by its location and key; at most `limit`.
    pub async fn damage(&self, after: Option<(Uuid, &str)>, limit: usize) -> Result<Vec<DamagedObject>, StepError> {
        let mut found = Vec::new();
        let from = after.map(|(location, _)| location);
        let locations = self.registry.locations();
        if limit == 0 {
            return Ok(found);
        }
        for location in locations.iter().skip_while(|location| from.is_some_and(|from| location.id != from)) {
            let after = after.filter(|(from, _)| *from == location.id).map_or("", |(_, key)| key);
            let page = damage::page(self.sql(), location.id, after, (limit - found.len()) as i64).await?;
            for object in page {
                let linked = blob::repositories(self.sql(), &object.digest, Uuid::nil(), REPOSITORIES).await?;
                let repositories = linked.into_iter().map(|(_, name)| name).collect();
                let (location_id, location) = (location.id, location.name.clone());
                found.push(DamagedObject { location_id, location, object, repositories });
            }
        }
        Ok(found)
    }
}
