//! What happened, as it is noted.

use std::mem::size_of;
use std::net::IpAddr;

use roadstead_metadata::Millis;
use roadstead_oci::{Digest, RepositoryName, Tag};

use super::Origin;
use crate::Caller;

/// What was done, or tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditAction {
    /// Somebody logged in: `login`.
    Login,
    /// A manifest or a blob was read: `pull`.
    Pull,
    /// A manifest or a blob was put into a repository: `push`.
    Push,
    /// A blob of another repository was put into one: `mount`.
    Mount,
    /// A tag, a manifest or a blob was removed from a repository: `delete`.
    Delete,
    /// Tags, referrers or repositories were listed, which is noted when it was refused: `list`.
    List,
    /// The admin API was asked for something, which is noted when it was refused: `admin`.
    Administer,
    /// Who may do what was changed: `user.add`, `grant.put`, ...
    Change(&'static str),
    /// Events were lost for want of room: `dropped`. How many is the event's count.
    Dropped,
}

impl AuditAction {
    /// Its name in what is kept.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Mount => "mount",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Administer => "admin",
            Self::Change(name) => name,
            Self::Dropped => "dropped",
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditOutcome {
    /// It was done: `ok`.
    Ok,
    /// Who asked may not, or is not who it says: `denied`.
    Denied,
    /// It could not be done: `failed`.
    Failed,
    /// Whoever asked went before the answer, or the metadata did not say: it may have been done: `unknown`.
    Unknown,
}

impl AuditOutcome {
    /// Its name in what is kept.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone)]
pub enum Actor {
    /// Who asked.
    Caller(Caller),
    /// Who is, or says to be, of this name.
    Claimed(Box<str>),
    /// The registry itself.
    System,
}

/// One thing that somebody did or tried.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it was noted.
    pub(crate) at: Millis,
    /// What.
    pub action: AuditAction,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Who.
    pub actor: Actor,
    /// From where.
    pub remote: Option<IpAddr>,
    /// In which repository.
    pub repository: Option<RepositoryName>,
    /// By which tag.
    pub tag: Option<Tag>,
    /// Of which content.
    pub digest: Option<Digest>,
    /// Of what a change is about: the name of a user, a team, a token's id.
    pub object: Option<Box<str>>,
    /// What a change makes of it.
    pub detail: Option<Box<str>>,
    /// The status that was answered.
    pub status: Option<u16>,
    /// The id of the request.
    pub request: Option<Box<str>>,
    /// How many events this one stands for, when they are many alike.
    pub count: Option<u64>,
}

impl Event {
    /// An event about nothing in particular, in the request that is under way ([`Origin`]), if one is.
    pub fn new(action: AuditAction, outcome: AuditOutcome, actor: Actor) -> Self {
        let (remote, request) = Origin::current().map_or((None, None), |origin| (origin.remote, Some(origin.request)));
        Self {
            at: 0,
            action,
            outcome,
            actor,
            remote,
            repository: None,
            tag: None,
            digest: None,
            object: None,
            detail: None,
            status: None,
            request,
            count: None,
        }
    }

    /// When it was noted: milliseconds since the epoch.
    pub fn at(&self) -> Millis {
        self.at
    }

    /// The same, noted then.
    pub fn dated(mut self, at: Millis) -> Self {
        self.at = at;
        self
    }

    /// Forgets what a client chose freely, so that thousands are alike.
    pub(super) fn without_particulars(&mut self) {
        (self.repository, self.tag, self.digest, self.object, self.detail) = Default::default();
        if let Actor::Claimed(_) = self.actor {
            self.actor = Actor::Claimed(Box::default());
        }
    }

    /// About how many bytes of memory it takes.
    pub(super) fn size(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let claimed = match &self.actor {
            Actor::Claimed(name) => name.len(),
            Actor::Caller(_) | Actor::System => 0,
        };
        let names = self.repository.as_ref().map_or(0, |name| name.as_str().len())
            + self.tag.as_ref().map_or(0, |tag| tag.as_str().len());
        size_of::<Self>() + claimed + names + text(&self.object) + text(&self.detail) + text(&self.request)
    }

    /// Whether another event tells the same of another moment and request.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.action == other.action
            && self.outcome == other.outcome
            && self.status == other.status
            && self.remote == other.remote
            && self.repository == other.repository
            && self.tag == other.tag
            && self.digest == other.digest
            && self.object == other.object
            && self.detail == other.detail
            && same(&self.actor, &other.actor)
    }
}

fn same(one: &Actor, other: &Actor) -> bool {
    match (one, other) {
        (Actor::Caller(one), Actor::Caller(other)) => one == other,
        (Actor::Claimed(one), Actor::Claimed(other)) => one == other,
        (Actor::System, Actor::System) => true,
        _ => false,
    }
}
