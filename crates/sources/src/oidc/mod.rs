//! Users of an OpenID Connect issuer: their password is an ID token of it, as CI systems have one, or a login that ended.
//!
//! A token counts until it ends, and nothing that is made of it for longer. The issuer is asked for its keys and for
//! nothing else: who it let in is in the token, and whom it would not let in any more is not known before that ends.

mod provider;
mod statement;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Certificate, Client, Url};
use roadstead_registry::identities::{IdentityError, Outcome, Passwords, Source, Verdict};
use roadstead_registry::{Clock, Error};
use tokio_util::task::AbortOnDropHandle;

use provider::{Found, Provider, is_loopback, is_safe};
use statement::{Expected, Wanted, issuer_of};

/// What clients are told does not answer.
const NAME: &str = "the issuer of ID tokens";
/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(3);

/// Whose tokens are taken, and whom they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcOptions {
    /// The URL of the issuer, as its tokens have it under `iss`, to the last character.
    pub issuer: String,
    /// Whom the tokens are for (`aud`).
    pub audience: String,
    /// Which claim names the user.
    pub username_claim: String,
    /// What stands before that in the name here.
    pub username_prefix: String,
    /// Which claim says who that is, whatever name the issuer gives it.
    pub subject_claim: String,
    /// What other claims have to be.
    pub required_claims: Vec<(String, String)>,
    /// Whether whom the issuer knows and this registry does not gets an account.
    pub create_accounts: bool,
    /// A PEM file with the authorities that vouch for the issuer, in place of those of the system.
    pub ca: Option<PathBuf>,
}

/// Why an issuer cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// Its URL is none, or everybody between could say what it says.
    #[error("auth.oidc.issuer: {0:?} is no https URL; http is for an issuer on this machine only")]
    Issuer(String),
    /// The authorities cannot be used.
    #[error("auth.oidc.ca: {}: {why}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Nothing can be asked over TLS.
    #[error("auth.oidc: no TLS: {0}")]
    Client(String),
}

/// An issuer.
pub struct Oidc {
    expected: Expected,
    create_accounts: bool,
    provider: Arc<Provider>,
    clock: Arc<dyn Clock>,
}

impl Oidc {
    /// Nothing is asked yet: an issuer that is away ends no start.
    pub async fn open(options: &OidcOptions, clock: Arc<dyn Clock>) -> Result<Arc<Self>, OidcError> {
        let OidcOptions { issuer, ca, .. } = options;
        let url = Url::parse(issuer).ok().filter(|url| is_safe(issuer) && url.query().is_none());
        let url = url.ok_or_else(|| OidcError::Issuer(issuer.clone()))?;
        let mut client = Client::builder().connect_timeout(CONNECT).redirect(reqwest::redirect::Policy::none());
        if let Some(path) = ca {
            client = client.tls_certs_only(authorities(path).await?);
        }
        // A proxy would look for it on its own machine.
        if url.host_str().is_some_and(is_loopback) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| OidcError::Client(error.to_string()))?;
        let expected = Expected {
            issuer: issuer.clone(),
            audience: options.audience.clone(),
            claim: options.username_claim.clone(),
            prefix: options.username_prefix.clone(),
            subject_claim: options.subject_claim.clone(),
            required: options.required_claims.clone(),
        };
        let create_accounts = options.create_accounts;
        Ok(Arc::new(Self { expected, create_accounts, provider: Provider::new(issuer, client, clock.clone()), clock }))
    }

    /// Asks for the keys, so that what is wrong stands in the log before the first login, and again when they are old.
    pub fn begin(self: &Arc<Self>) -> AbortOnDropHandle<()> {
        let issuer = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            issuer.provider.keep().await;
        }))
    }

    /// Whether the issuer answered when it was asked last.
    pub fn is_current(&self) -> bool {
        self.provider.is_current()
    }
}

#[async_trait]
impl Source for Oidc {
    fn name(&self) -> &str {
        &self.expected.issuer
    }

    fn recognizes(&self, secret: &str) -> bool {
        issuer_of(secret).is_some_and(|issuer| issuer == self.expected.issuer)
    }

    async fn judge(&self, name: Option<&str>, secret: &str, _passwords: &Passwords) -> Outcome<Verdict> {
        let Some(name) = name.filter(|_| self.recognizes(secret)) else { return Ok(Verdict::Nobody) };
        let wrong = |why| {
            tracing::info!(issuer = self.expected.issuer, why, "an ID token is not taken");
            Ok(Verdict::Wrong)
        };
        let wanted = match Wanted::read(secret) {
            Ok(wanted) => wanted,
            Err(why) => return wrong(why),
        };
        let now = self.clock.now();
        match self.provider.with_key(&wanted, |key| self.expected.read(secret, key, now)).await {
            Found::Key(Ok(told)) if told.name == name => {
                Ok(Verdict::Stated { subject: told.subject, mark: told.mark, until: told.until })
            }
            Found::Key(Ok(_)) => wrong("it is of another user"),
            Found::Key(Err(why)) => wrong(why),
            Found::None => wrong("the issuer has no key of that id and kind"),
            Found::Unknown(cause) => {
                let cause = format!("{}: {cause}", self.expected.issuer);
                Err(IdentityError::Registry(Error::SourceUnavailable { name: NAME, cause }))
            }
        }
    }

    fn creates_accounts(&self) -> bool {
        self.create_accounts
    }

    /// It said so of one token, for as long as that is good, and as its key is one.
    fn holds(&self, _name: &str, mark: u64) -> bool {
        self.provider.holds(mark)
    }
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc").field("expected", &self.expected).finish_non_exhaustive()
    }
}

async fn authorities(path: &Path) -> Result<Vec<Certificate>, OidcError> {
    let wrong = |why: String| OidcError::Authorities { path: path.to_owned(), why };
    let text = tokio::fs::read(path).await.map_err(|error| wrong(error.to_string()))?;
    match Certificate::from_pem_bundle(&text) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong("it must be PEM, `-----BEGIN CERTIFICATE-----`".into())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
