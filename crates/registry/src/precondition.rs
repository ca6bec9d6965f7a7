//! What a change asks of the content it replaces or removes (RFC 9110, `If-Match` and `If-None-Match`).
//!
//! It is judged when the use case looks, and again by guards of the batch: nothing slips in between.

use roadstead_metadata::records::{manifest, tag};
use roadstead_metadata::{Freshness, Statement};
use roadstead_oci::{Digest, Reference, RepositoryName};
use uuid::Uuid;

use crate::{Error, Registry, Result};

/// Content that a precondition speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// `*`: any at all.
    Anything,
    /// One of these.
    These(Vec<Digest>),
}

impl Wanted {
    fn has(&self, digest: &Digest) -> bool {
        match self {
            Wanted::Anything => true,
            Wanted::These(these) => these.contains(digest),
        }
    }
}

/// Conditions on what a reference names before a change. The default asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Precondition {
    /// `If-Match`: it names this now.
    pub matches: Option<Wanted>,
    /// `If-None-Match`: it does not name this now; [`Wanted::Anything`]: it names nothing, so the change only creates.
    pub matches_none: Option<Wanted>,
}

impl Precondition {
    /// Whether it holds while the reference names `current`.
    pub fn holds(&self, current: Option<&Digest>) -> bool {
        let named = |wanted: &Wanted| current.is_some_and(|digest| wanted.has(digest));
        self.matches.as_ref().is_none_or(named) && !self.matches_none.as_ref().is_some_and(named)
    }

    /// Conflicts unless it holds when the batch happens.
    pub(crate) fn guards(&self, repository: Uuid, reference: &Reference) -> Vec<Statement> {
        let named = |wanted: &Wanted| match (reference, wanted) {
            (Reference::Tag(tag), Wanted::Anything) => Named::Tag(tag, None),
            (Reference::Tag(tag), Wanted::These(these)) => Named::Tag(tag, Some(these.clone())),
            (Reference::Digest(digest), wanted) if wanted.has(digest) => Named::Manifest(digest),
            (Reference::Digest(_), _) => Named::Never,
        };
        let matches = self.matches.as_ref().and_then(|wanted| match named(wanted) {
            Named::Tag(tag, None) => Some(tag::guard(repository, tag)),
            Named::Tag(tag, Some(these)) => Some(tag::guard_among(repository, tag, &these)),
            Named::Manifest(digest) => Some(manifest::guard(repository, digest)),
            // Refused already when the use case looked.
            Named::Never => None,
        });
        let none = self.matches_none.as_ref().and_then(|wanted| match named(wanted) {
            Named::Tag(tag, None) => Some(tag::guard_absent(repository, tag)),
            Named::Tag(tag, Some(these)) => Some(tag::guard_not_among(repository, tag, &these)),
            Named::Manifest(digest) => Some(manifest::guard_absent(repository, digest)),
            Named::Never => None,
        });
        matches.into_iter().chain(none).collect()
    }
}

/// What has to be there, or absent, for a reference to name what is wanted.
enum Named<'a> {
    Tag(&'a roadstead_oci::Tag, Option<Vec<Digest>>),
    Manifest(&'a Digest),
    Never,
}

impl Registry {
    /// `PreconditionFailed` unless `precondition` holds now.
    pub(crate) async fn judge(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        precondition: &Precondition,
    ) -> Result<()> {
        if *precondition == Precondition::default() {
            return Ok(());
        }
        let found = manifest::stat(&*self.sql, Freshness::Latest, name.as_str(), reference).await?;
        let current = found.map(|stat| stat.digest);
        if precondition.holds(current.as_ref()) { Ok(()) } else { Err(Error::PreconditionFailed(current)) }
    }
}
