//! The decision: what somebody may do, as a pure function of what is known.
//!
//! | Right | Whose |
//! |---|---|
//! | pull | of a public repository everybody's; of a private one from `read-only` on |
//! | push, delete tags and manifests | from `read-write` on |
//! | settings, visibility, grants | `admin` |
//!
//! Grants add up, the highest counts. A user is admin in its own namespace, an owner in those of the organization, a system
//! admin everywhere. A scope takes away and never adds. Whoever may not read a repository learns nothing of it: one that is
//! not there and one that is private are answered alike.

use std::fmt;

use roadstead_metadata::Millis;
use roadstead_metadata::records::access::{Access, Facts, Subject, namespace_of};
use roadstead_metadata::records::repository::{LIBRARY, NamespaceKind};
use roadstead_metadata::records::visible::Viewer;
use roadstead_oci::RepositoryName;
use uuid::Uuid;

use super::{Action, Caller, Identity};

/// What an operator decides for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A push makes the repository that is not there, private, for those who may do everything there.
    pub create_on_push: bool,
    /// Who does not say who it is may pull what is public.
    pub anonymous_pull: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { create_on_push: true, anonymous_pull: true }
    }
}

/// What is asked, and when.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// To do what.
    pub action: Action,
    /// In which repository, by its name as shown.
    pub repository: &'a RepositoryName,
    /// Now, on the wall clock: tokens expire.
    pub at: Millis,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes. Of a repository that is not there: what it finds is for the use case to say.
    Allowed,
    /// Yes, and the push may make the repository in this namespace; `None`: in `library`, which it may make, too.
    AllowedMaking(Option<Uuid>),
    /// Nobody known, or what it came with does not hold any more: 401 with a challenge.
    Unauthorized,
    /// There is nothing there for this caller: 404, whether or not there is something for others.
    NameUnknown,
    /// It may know of the repository and not do this: 403.
    Denied(Denial),
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// `read-write`.
    Write,
    /// `admin`.
    Admin,
    /// The subject may do it; its token is not for that.
    Scope,
    /// Nobody has this namespace yet.
    Namespace,
    /// Pushes make no repositories.
    NotMade,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Denial::Write => "this takes read-write access; ask an admin of the repository for it",
            Denial::Admin => "this takes admin access; ask an admin of the repository for it",
            Denial::Scope => "the token is not for that; make one whose scope has it",
            Denial::Namespace => "there is no such namespace; add a user or an organization of this name first",
            Denial::NotMade => "there is no such repository, and pushes make none here; add it first",
        })
    }
}

/// Whether who asks is still whom it has shown to be, and what it came with still holds.
pub fn is_valid(identity: &Identity, facts: &Facts, at: Millis) -> bool {
    let standing = facts
        .standing
        .is_some_and(|standing| standing.active && identity.epoch.is_none_or(|epoch| epoch == standing.epoch));
    let token = identity.token.is_none_or(|_| {
        facts.token.is_some_and(|token| {
            token.subject == identity.subject && !token.revoked && token.expires_at.is_none_or(|end| at < end)
        })
    });
    let vouched = identity.vouched.as_ref().and_then(|vouched| vouched.until).is_none_or(|end| at < end);
    standing && token && vouched
}

/// Decides. `facts` are those of this caller and this repository.
pub fn decide(rules: &Rules, caller: &Caller, facts: &Facts, question: Question<'_>) -> Decision {
    let required = match question.action {
        Action::Pull => Access::ReadOnly,
        Action::Push | Action::Delete => Access::ReadWrite,
        Action::Admin => Access::Admin,
    };
    let public = facts.repository.is_some_and(|repository| repository.public);
    let (rights, scope) = match caller {
        Caller::Anonymous if public && rules.anonymous_pull && question.action == Action::Pull => {
            return Decision::Allowed;
        }
        Caller::Anonymous => return Decision::Unauthorized,
        Caller::Operator => (Some(Access::Admin), None),
        Caller::Known(identity) if !is_valid(identity, facts, question.at) => return Decision::Unauthorized,
        Caller::Known(identity) => (rights(identity.subject, facts), identity.scope.as_ref()),
    };
    let rights = rights.max(public.then_some(Access::ReadOnly));
    let in_scope = scope.is_none_or(|scope| scope.allows(question.repository, question.action));
    if rights >= Some(required) && in_scope {
        return match facts.repository {
            None if question.action == Action::Push => making(rules, facts, question.repository),
            _ => Decision::Allowed,
        };
    }
    let named = scope.is_none_or(|scope| scope.names(question.repository));
    match rights {
        None => Decision::NameUnknown,
        Some(_) if !public && !named => Decision::NameUnknown,
        Some(rights) if rights >= required => Decision::Denied(Denial::Scope),
        // Only of a namespace, in which there may be anything.
        Some(_) if facts.repository.is_none() => Decision::NameUnknown,
        Some(_) if required == Access::Admin => Decision::Denied(Denial::Admin),
        Some(_) => Decision::Denied(Denial::Write),
    }
}

/// What a subject may do by its own rights; to a repository that is not there, by those that it has in the namespace.
fn rights(subject: Subject, facts: &Facts) -> Option<Access> {
    let own = matches!((subject, facts.namespace), (Subject::User(id), Some((of, NamespaceKind::User))) if of == id);
    let admin = facts.standing.is_some_and(|standing| standing.admin);
    if admin || own || facts.owner == Some(true) {
        return Some(Access::Admin);
    }
    if facts.repository.is_some() { facts.granted } else { facts.granted_namespace }
}

/// A push to a repository that is not there, by somebody who may push there.
fn making(rules: &Rules, facts: &Facts, repository: &RepositoryName) -> Decision {
    let library = namespace_of(repository.as_str()) == LIBRARY;
    match facts.namespace {
        None if !library => Decision::Denied(Denial::Namespace),
        _ if !rules.create_on_push => Decision::Denied(Denial::NotMade),
        Some((id, _)) => Decision::AllowedMaking(Some(id)),
        None => Decision::AllowedMaking(None),
    }
}

/// Whose catalog a caller sees; `None`: it is not who it was. `facts` are those of the caller and any repository.
pub fn viewer(rules: &Rules, caller: &Caller, facts: &Facts, at: Millis) -> Option<Viewer> {
    match caller {
        Caller::Operator => Some(Viewer::All),
        Caller::Anonymous => rules.anonymous_pull.then_some(Viewer::Public),
        Caller::Known(identity) if !is_valid(identity, facts, at) => None,
        Caller::Known(_) if facts.standing.is_some_and(|standing| standing.admin) => Some(Viewer::All),
        Caller::Known(identity) => Some(Viewer::Subject(identity.subject)),
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
