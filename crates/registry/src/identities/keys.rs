//! Signing keys.

use uuid::Uuid;

use super::deed::Deed;
use super::{Identities, IdentityError, Outcome};
use crate::audit::AuditOutcome;
use crate::{Caller, Error, Keyring, Rotation};
use roadstead_metadata::CommitError;

impl Identities {
    /// Makes a new signing key, in place of those there are. For system admins.
    pub async fn rotate_key(&self, caller: &Caller, keys: &Keyring, rotation: Rotation) -> Outcome<Uuid> {
        self.admin(caller).await?;
        match keys.rotate(rotation).await {
            Ok(id) => {
                let deed = Deed::new(caller, "key.rotate", id);
                let deed = match rotation {
                    Rotation::Overlapping => deed,
                    Rotation::AtOnce => deed.with("the others have ended"),
                };
                self.tell(deed, AuditOutcome::Ok);
                Ok(id)
            }
            Err(CommitError::Conflict(_)) => Err(super::contended()),
            Err(error) => Err(IdentityError::Registry(Error::from(error))),
        }
    }
}
