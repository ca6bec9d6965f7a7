//! The one step every use case passes first: may this caller do this to this repository.
//!
//! [`decide`] is the decision, a pure function of who asks, what is known and what is asked. A [`Policy`] is where what is
//! known comes from; [`Everyone`] needs to know nothing.

mod cache;
mod decision;
mod scope;

use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use roadstead_metadata::Millis;
use roadstead_metadata::records::access::Subject;
use roadstead_metadata::records::visible::{Range, Viewer, Viewing};
use roadstead_oci::RepositoryName;
use uuid::Uuid;

use crate::registry::canonical;
use crate::{Error, Registry, Result};

pub use cache::AccessCache;
pub use decision::{Decision, Denial, Question, Rules, decide, is_valid, viewer};
pub use scope::{Scope, ScopeError};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// Whoever may use the socket of the process: does everything.
    Operator,
    /// Somebody who has shown to be it.
    Known(Arc<Identity>),
}

/// Who has shown to be whom, and by what. Whether that still holds is asked with every decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// A user or a robot.
    pub subject: Subject,
    /// What it is called: `alice`, `acme+ci`.
    pub name: String,
    /// The access token it came with, or for which it was given what it came with. When that ends, so does this.
    pub token: Option<Uuid>,
    /// The user's epoch when it was given what it came with; another one ends it. `None` when that was an access token, and
    /// for robots.
    pub epoch: Option<Millis>,
    /// What it came with is good for this only; `None`: for all that the subject may.
    pub scope: Option<Scope>,
    /// Who said so, if not we.
    pub vouched: Option<Arc<Vouched>>,
}

impl Identity {
    /// One that came with nothing that narrows what its subject may, or that ends before that does.
    pub fn new(subject: Subject, name: impl Into<String>) -> Self {
        Self { subject, name: name.into(), token: None, epoch: None, scope: None, vouched: None }
    }
}

/// That somebody else says who a caller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// Who says so: `htpasswd`, the URL of an issuer.
    pub source: String,
    /// Of which password it said so, as a number that another password does not have.
    pub mark: u64,
    /// Until when it says so, milliseconds since the Unix epoch; `None`: until it says otherwise.
    pub until: Option<Millis>,
}

impl From<Identity> for Caller {
    fn from(identity: Identity) -> Self {
        Caller::Known(Arc::new(identity))
    }
}

impl Caller {
    /// Where the names after `after` are that what the caller came with is good to pull from.
    pub(crate) fn ranges(&self, after: &str) -> Vec<Range> {
        let scope = match self {
            Caller::Known(identity) => identity.scope.as_ref(),
            Caller::Anonymous | Caller::Operator => None,
        };
        let ranges = scope.map_or_else(|| vec![Range::all()], Scope::pulled);
        ranges.into_iter().map(|range| range.after(after)).collect()
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read manifests, blobs, tags, referrers; mount blobs from here.
    Pull,
    /// Write blobs, manifests, tags.
    Push,
    /// Remove tags, manifests, blobs.
    Delete,
    /// Change settings and visibility, see and change what is granted.
    Admin,
}

impl Action {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Pull, Self::Push, Self::Delete, Self::Admin];

    /// As scopes say it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }

    /// The one that scopes call so.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.word() == word)
    }
}

/// Where a push may make a repository that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// Nowhere: it has to be there.
    Nowhere,
    /// In this namespace, which has to be there.
    In(Uuid),
    /// In a namespace that is made, too, unless it is there.
    Anywhere,
}

/// That a caller may do something, and what that includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    /// What a push may make.
    pub making: Making,
}

/// Decides who may do what.
#[async_trait]
pub trait Policy: Debug + Send + Sync + 'static {
    /// The decision, if nobody has to be asked for it; asked first, so that a request waits for nothing.
    fn at_once(&self, caller: &Caller, action: Action, repository: &RepositoryName) -> Option<Result<Permit>>;

    /// `Ok` when `caller` may do `action` in `repository`, else [`Error::Unauthorized`], [`Error::Denied`] or, to hide that the
    /// repository exists, [`Error::NameUnknown`]; [`Error::Unavailable`] when it cannot be known now.
    async fn decide(&self, caller: &Caller, action: Action, repository: &RepositoryName) -> Result<Permit> {
        let undecided = || Err(Error::Internal("the policy does not decide".to_owned()));
        self.at_once(caller, action, repository).unwrap_or_else(undecided)
    }

    /// Whose catalog `caller` sees, and how new that has to be. [`Error::Unauthorized`] when it is not who it was.
    async fn viewer(&self, _caller: &Caller) -> Result<Viewing> {
        Ok(Viewer::All.under(0))
    }

    /// This process has changed who may do what; decisions from now on know.
    fn changed(&self) {}
}

/// Everything for everyone: right only where nobody else can connect, which the configuration enforces.
#[derive(Debug)]
pub struct Everyone;

#[async_trait]
impl Policy for Everyone {
    fn at_once(&self, _: &Caller, _: Action, _: &RepositoryName) -> Option<Result<Permit>> {
        Some(Ok(Permit { making: Making::Anywhere }))
    }
}

/// A repository that a caller was let into, by its name as shown.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    name: RepositoryName,
    /// Where the caller may make it.
    pub(crate) making: Making,
    caller: Caller,
    action: Action,
}

impl Deref for Admitted {
    type Target = RepositoryName;

    fn deref(&self) -> &RepositoryName {
        &self.name
    }
}

impl Registry {
    /// The first step of every use case: the repository, if the policy lets the caller do this.
    pub(crate) async fn access(&self, caller: &Caller, action: Action, name: &RepositoryName) -> Result<Admitted> {
        let name = canonical(name);
        let permit = match self.policy.at_once(caller, action, &name) {
            Some(decided) => decided?,
            None => self.policy.decide(caller, action, &name).await?,
        };
        Ok(Admitted { name, making: permit.making, caller: caller.clone(), action })
    }

    /// The same again, for what took long: what was taken from the caller meanwhile counts.
    pub(crate) async fn access_again(&self, admitted: &Admitted) -> Result<Admitted> {
        self.access(&admitted.caller, admitted.action, admitted).await
    }

    /// `Ok` when the policy lets the caller do this; else what the use case would answer.
    pub async fn permit(&self, caller: &Caller, action: Action, name: &RepositoryName) -> Result<()> {
        self.access(caller, action, name).await.map(drop)
    }

    /// Whether the policy lets the caller do this, as far as it can be known now.
    pub async fn may(&self, caller: &Caller, action: Action, name: &RepositoryName) -> bool {
        self.permit(caller, action, name).await.is_ok()
    }

    /// Whether nothing is hidden from the caller: a system admin, whatever it came with is good for.
    pub async fn sees_all(&self, caller: &Caller) -> Result<bool> {
        Ok(self.policy.viewer(caller).await?.viewer == Viewer::All)
    }

    /// [`Error::Unauthorized`] when the caller is not who it was any more, and when nobody in particular may do nothing.
    pub async fn recognize(&self, caller: &Caller) -> Result<()> {
        self.policy.viewer(caller).await.map(drop)
    }
}
