//! Who may see what others did.

use roadstead_oci::RepositoryName;

use roadstead_metadata::Millis;
use roadstead_metadata::records::repository;

use super::{Identities, IdentityError, Outcome};
use crate::registry::canonical;
use crate::{Action, Caller, Error};

impl Identities {
    /// Lets those see the audit who may, and tells since when: system admins all there is; of one repository also its admins,
    /// since it was made. What was done to another one that had its name before is nobody's business but theirs whose it was.
    pub async fn may_audit(&self, caller: &Caller, repository: Option<&RepositoryName>) -> Outcome<Option<Millis>> {
        match (self.admin(caller).await, repository) {
            (Err(IdentityError::Denied(_)), Some(name)) => {
                let name = canonical(name);
                let id = self.require(caller, Action::Admin, &name).await?;
                let found = repository::settings(&*self.sql, name.as_str()).await?;
                // One that came in its place meanwhile is not the one that was asked about.
                let found = found.filter(|found| found.id == id);
                let gone = || IdentityError::Registry(Error::NameUnknown(name.clone()));
                found.map(|found| Some(found.created_at)).ok_or_else(gone)
            }
            (decided, _) => decided.map(|()| None),
        }
    }
}
