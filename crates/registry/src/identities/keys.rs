//! Signing keys.

use super::deed::Deed;
use super::{Identities, IdentityError, Outcome};
use crate::audit::AuditOutcome;
use crate::{Caller, Error, Keyring, Rotated, Rotation};
use roadstead_metadata::CommitError;

impl Identities {
    /// Makes a new signing key, in place of those there are. For system admins.
    pub async fn rotate_key(&self, caller: &Caller, keys: &Keyring, rotation: Rotation) -> Outcome<Rotated> {
        self.admin(caller).await?;
        match keys.rotate(rotation).await {
            Ok(made) => {
                let deed = Deed::new(caller, "key.rotate", made.id);
                let deed = match made.ended {
                    None => deed,
                    Some(ended) => deed.with(format!("the others have ended: {ended}")),
                };
                self.tell(deed, AuditOutcome::Ok);
                Ok(made)
            }
            Err(CommitError::Conflict(_)) => Err(super::contended()),
            Err(error) => Err(IdentityError::Registry(Error::from(error))),
        }
    }
}
