//! What a caller is to the registry as a whole.

use roadstead_metadata::records::access::{self, Asked};
use roadstead_metadata::{Freshness, Millis};

use super::{Identities, IdentityError, Outcome};
use crate::Caller;
use crate::access::is_valid;

impl Identities {
    /// `Denied` to all but system admins and the operator, of whom nothing is asked: it repairs what does not answer.
    pub async fn require_admin(&self, caller: &Caller) -> Outcome<()> {
        match caller {
            Caller::Operator => Ok(()),
            Caller::Anonymous | Caller::Known(_) => self.admin(caller).await,
        }
    }

    /// Whether the caller is a system admin, also when it came with a token that administers nothing; `Unauthorized` when
    /// it is nobody, or not who it was.
    pub async fn is_admin(&self, caller: &Caller) -> Outcome<bool> {
        let identity = match caller {
            Caller::Anonymous => return Err(IdentityError::Unauthorized),
            Caller::Operator => return Ok(true),
            Caller::Known(identity) => identity,
        };
        let asked = Asked { subject: Some(identity.subject), token: identity.token, repository: "/" };
        let facts = access::facts(&*self.sql, Freshness::Latest, asked).await?;
        match is_valid(identity, &facts, self.now()) {
            true => Ok(facts.standing.is_some_and(|standing| standing.admin)),
            false => Err(IdentityError::Unauthorized),
        }
    }

    /// The time by which tokens expire.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }
}
