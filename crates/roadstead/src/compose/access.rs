//! Access control, as the settings want it: who decides, who issues tokens, and the first system admin.

use std::sync::Arc;

use roadstead_http::Auth;
use roadstead_metadata::Sql;
use roadstead_registry::audit::Audit;
use roadstead_registry::identities::{FIRST_ADMIN, Identities, IdentityError};
use roadstead_registry::{AccessCache, Clock, Error, Everyone, Issuer, Keyring, Policy, Registry, Rules};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::ComposeError;
use super::sources::{self, Opened};
use crate::config::auth::Guarded;

/// What there is before the registry.
pub(super) struct Access {
    /// Who decides.
    pub(super) policy: Arc<dyn Policy>,
    /// Users and what they may. There, too, where nobody is asked who it is: it can be set up before.
    pub(super) identities: Arc<Identities>,
    /// Issues tokens, where they are asked for.
    issuer: Option<Arc<Issuer>>,
    /// Keeps its keys current while it lives.
    pub(super) watch: Option<AbortOnDropHandle<()>>,
    /// The password that was made for the first system admin: shown once, and nowhere kept.
    pub(super) password: Option<String>,
    /// Who else vouches for users.
    pub(super) sources: Opened,
}

impl Access {
    pub(super) async fn open(
        guarded: Option<&Guarded>,
        sql: &Arc<dyn Sql>,
        clock: &Arc<dyn Clock>,
        audit: Option<&Arc<Audit>>,
    ) -> Result<Self, ComposeError> {
        let sources = match guarded {
            Some(guarded) => sources::open(&guarded.sources, clock).await?,
            None => Opened::default(),
        };
        let identities = |policy: &Arc<dyn Policy>| {
            let identities = Identities::new(sql.clone(), clock.clone(), policy.clone());
            let identities = identities.with_sources(sources.sources.clone());
            Arc::new(match audit {
                Some(audit) => identities.with_audit(audit.clone()),
                None => identities,
            })
        };
        let Some(guarded) = guarded else {
            let policy: Arc<dyn Policy> = Arc::new(Everyone);
            let identities = identities(&policy);
            return Ok(Self { policy, identities, issuer: None, watch: None, password: None, sources });
        };
        let rules = Rules { create_on_push: guarded.create_on_push, anonymous_pull: guarded.anonymous_pull };
        let policy: Arc<dyn Policy> = Arc::new(AccessCache::new(sql.clone(), clock.clone(), rules, guarded.outage));
        let identities = identities(&policy);
        let keys = Keyring::open(sql.clone(), clock.clone()).await?;
        let watch = Some(keys.watch());
        let issuer = Some(Arc::new(Issuer::new(keys, clock.clone(), &guarded.service)));
        let password = first_admin(&identities, guarded.admin_password.as_deref()).await?;
        Ok(Self { policy, identities, issuer, watch, password, sources })
    }

    /// The keys that tokens are signed with, where they are asked for.
    pub(super) fn keys(&self) -> Option<Arc<Keyring>> {
        self.issuer.as_ref().map(|issuer| issuer.keys().clone())
    }

    /// What the HTTP floor asks who comes, if it asks.
    pub(super) fn auth(&self, registry: &Arc<Registry>, clock: &Arc<dyn Clock>, host: Option<&str>) -> Option<Auth> {
        let issuer = self.issuer.clone()?;
        Some(Auth::new(registry.clone(), self.identities.clone(), issuer, clock.clone(), host))
    }
}

/// Makes the first system admin where there is none, and answers the password if it had to be made, too.
async fn first_admin(identities: &Identities, given: Option<&str>) -> Result<Option<String>, ComposeError> {
    let drawn = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())[..40].to_owned();
    let made = given.is_none().then(drawn);
    let password = made.as_deref().or(given).unwrap_or_default();
    match identities.create_first_admin(FIRST_ADMIN, password).await {
        Ok(true) => Ok(made),
        Ok(false) => Ok(None),
        // Whoever has the name keeps it, and the registry its start.
        Err(IdentityError::Exists(_)) => {
            tracing::warn!(
                user = FIRST_ADMIN,
                "there is no active system admin with a password, and none was made, as the name is taken; make one: \
                 `roadstead user add NAME --admin`"
            );
            Ok(None)
        }
        // Others can be made when it is there again; a registry that only serves pulls needs none.
        Err(IdentityError::Registry(
            error @ (Error::ReadOnly(_) | Error::Unavailable { .. } | Error::Uncertain(_)),
        )) => {
            tracing::warn!(%error, "whether there is a system admin is not known; if there is none, a later start makes it");
            Ok(None)
        }
        Err(error) => Err(ComposeError::Admin(error)),
    }
}
