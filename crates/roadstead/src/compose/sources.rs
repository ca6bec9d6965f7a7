//! Who else vouches for users, as the settings name them.

use std::sync::Arc;

use roadstead_registry::identities::Source;
use roadstead_registry::{Clock, SystemClock};
use roadstead_sources::{Htpasswd, HtpasswdError, Oidc, OidcError, OidcOptions};
use tokio_util::task::AbortOnDropHandle;

use crate::config::sources::{Issuer, Sources};

/// Those who vouch, and what keeps them current.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// In the order in which they are asked.
    pub(super) sources: Vec<Arc<dyn Source>>,
    /// Watches and asks while it lives.
    pub(super) tasks: Vec<AbortOnDropHandle<()>>,
    htpasswd: Option<Arc<Htpasswd>>,
    oidc: Option<Arc<Oidc>>,
}

/// Why somebody who is named cannot vouch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The file cannot be used.
    #[error("auth.htpasswd: {0}")]
    Htpasswd(#[from] HtpasswdError),
    /// The issuer cannot be asked.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// Nothing could be looked at.
    #[error("auth: {0}")]
    Runtime(std::io::Error),
}

/// Opens all that is named. What is on the network is asked for later, and again.
pub(super) async fn open(named: &Sources, clock: &Arc<dyn Clock>) -> Result<Opened, SourceError> {
    let mut opened = Opened::default();
    if let Some(issuer) = &named.oidc {
        let issuer = Oidc::open(&options(issuer), clock.clone()).await?;
        opened.tasks.push(issuer.begin());
        opened.sources.push(issuer.clone());
        opened.oidc = Some(issuer);
    }
    if let Some(path) = &named.htpasswd {
        let file = Htpasswd::open(path, named.foreign()).await?;
        opened.tasks.push(file.watch());
        opened.sources.push(file.clone());
        opened.htpasswd = Some(file);
    }
    Ok(opened)
}

impl Opened {
    /// Which of them answer by what is there now, for a metric.
    pub(super) fn current(&self) -> impl Fn() -> Vec<(String, bool)> + Send + Sync + 'static {
        let (htpasswd, oidc) = (self.htpasswd.clone(), self.oidc.clone());
        move || {
            let file = htpasswd.iter().map(|file| (file.name().to_owned(), file.is_current()));
            file.chain(oidc.iter().map(|issuer| (issuer.name().to_owned(), issuer.is_current()))).collect()
        }
    }
}

/// Whether the files that the settings name can be used. Nothing on the network is looked at.
pub(crate) fn check(named: &Sources) -> Result<(), SourceError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SourceError::Runtime)?;
    runtime.block_on(async {
        if let Some(issuer) = &named.oidc {
            Oidc::open(&options(issuer), Arc::new(SystemClock::new())).await?;
        }
        if let Some(path) = &named.htpasswd {
            Htpasswd::open(path, named.foreign()).await?;
        }
        Ok(())
    })
}

fn options(named: &Issuer) -> OidcOptions {
    let named = named.clone();
    OidcOptions {
        issuer: named.issuer,
        audience: named.audience,
        username_claim: named.username_claim,
        username_prefix: named.username_prefix,
        subject_claim: named.subject_claim,
        required_claims: named.required_claims,
        create_accounts: named.create_accounts,
        ca: named.ca,
    }
}
