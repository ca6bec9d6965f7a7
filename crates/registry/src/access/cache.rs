//! What decisions need to know, kept in memory.
//!
//! Facts come with the revision of access under which they held, and count while that is the revision. What it is is asked
//! where metadata is newest, about once a second, by one request for all: so whatever was taken from somebody is refused
//! within a second everywhere, and at once in the process that took it.
//!
//! That there is nothing for a caller is not kept: a push that makes a repository raises no revision, and a private repository
//! that was refused must cost what an absent one costs, or the time of an answer would tell them apart. So it is asked for each
//! time, at hand and then where it is newest, and what is given to somebody holds everywhere at once.
//!
//! While the newest cannot be had, facts that are as new as the newest revision ever heard of serve pulls, for a set time
//! since it was heard; after that only what is public is served. Nothing else than pulls is decided then.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use roadstead_metadata::records::access::{self, Asked, Facts, Subject};
use roadstead_metadata::records::visible::Viewing;
use roadstead_metadata::{Freshness, QueryError, Sql};
use roadstead_oci::RepositoryName;
use uuid::Uuid;

use super::{Action, Caller, Decision, Making, Permit, Policy, Question, Rules, decide, viewer};
use crate::{Clock, Error, Result};

/// For how long a revision counts as the newest after it was asked for. Less than the second in which a change has to hold
/// everywhere, so that the answer to who was let in last is out by then, too.
const REVISION_LIFE: Duration = Duration::from_millis(800);
/// Of so many subjects and repositories facts are kept: some hundred bytes each.
const ENTRIES: usize = 20_000;
/// The place of what concerns no repository; it is the name of none.
const NOWHERE: &str = "/";

/// Decides by [`Rules`] and what metadata knows.
#[derive(Debug)]
pub struct AccessCache {
    sql: Arc<dyn Sql>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    /// How long facts serve pulls while the newest cannot be had.
    outage: Duration,
    kept: Cache<Key, Arc<Facts>>,
    known: Mutex<Known>,
    /// Whoever holds it asks for the revision, for all who wait.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    subject: Option<Subject>,
    token: Option<Uuid>,
    repository: String,
}

impl Key {
    fn of(caller: &Caller, repository: &str) -> Self {
        let (subject, token) = match caller {
            Caller::Anonymous | Caller::Operator => (None, None),
            Caller::Known(identity) => (Some(identity.subject), identity.token),
        };
        Self { subject, token, repository: repository.to_owned() }
    }

    fn asked(&self) -> Asked<'_> {
        Asked { subject: self.subject, token: self.token, repository: &self.repository }
    }
}

/// What is known of the revision. Times are the clock's monotonic ones.
#[derive(Debug)]
struct Known {
    /// The newest ever heard of; of no fact that is older anything is decided.
    revision: i64,
    /// When the question for it began that was answered last.
    asked: Option<Duration>,
    /// The engine's own revision then: while it stays, nothing was committed.
    engine: Option<u64>,
    /// The last time that the newest was heard; at first, when all began.
    reached: Duration,
    /// How often this process changed who may do what: an answer to a question from before a change is not the newest.
    changes: u64,
    /// When it was asked for in vain, and why, if since then it was not heard.
    failed: Option<(Duration, String)>,
}

/// Whether the revision is the newest.
enum Age {
    Newest(i64),
    /// The newest cannot be had.
    Outage {
        revision: i64,
        reached: Duration,
        cause: String,
    },
}

impl AccessCache {
    /// Nothing known yet. `outage`: how long facts serve pulls while the newest cannot be had.
    pub fn new(sql: Arc<dyn Sql>, clock: Arc<dyn Clock>, rules: Rules, outage: Duration) -> Self {
        let known =
            Known { revision: 0, asked: None, engine: None, reached: clock.monotonic(), changes: 0, failed: None };
        let (kept, known) = (Cache::new(ENTRIES), Mutex::new(known));
        Self { sql, clock, rules, outage, kept, known, asking: tokio::sync::Mutex::default() }
    }

    /// What is known of the revision without asking.
    fn age(&self) -> Option<Age> {
        let engine = self.sql.revision();
        let known = self.known.lock();
        let now = self.clock.monotonic();
        let asked = known.asked?;
        let unchanged = engine.is_some() && engine == known.engine;
        if unchanged || now.saturating_sub(asked) < REVISION_LIFE {
            return Some(Age::Newest(known.revision));
        }
        known.outage(now)
    }

    /// What is known of the revision, after asking for it where that is due.
    async fn newest(&self) -> Result<Age> {
        let due = || self.age().or_else(|| self.known.lock().outage(self.clock.monotonic()));
        if let Some(age) = due() {
            return Ok(age);
        }
        let _turn = self.asking.lock().await;
        if let Some(age) = due() {
            return Ok(age);
        }
        let (asked, engine) = (self.clock.monotonic(), self.sql.revision());
        let changes = self.known.lock().changes;
        let answer = access::revision(&*self.sql).await;
        let mut known = self.known.lock();
        match answer {
            Ok(revision) => {
                known.revision = known.revision.max(revision);
                (known.reached, known.failed) = (asked, None);
                if known.changes == changes {
                    (known.asked, known.engine) = (Some(asked), engine);
                }
                Ok(Age::Newest(known.revision))
            }
            Err(QueryError::Unavailable(cause)) => {
                tracing::warn!(cause, "the newest revision of access cannot be had; what is known serves pulls");
                known.failed = Some((self.clock.monotonic(), cause.clone()));
                Ok(Age::Outage { revision: known.revision, reached: known.reached, cause })
            }
            Err(failed) => Err(failed.into()),
        }
    }

    /// Facts that are kept and as new as `revision`, unless they hide the place.
    fn find(&self, key: &Key, revision: i64, hidden: &Hidden<'_>) -> Option<Arc<Facts>> {
        self.kept.get(key).filter(|facts| facts.revision >= revision && !hidden(facts))
    }

    /// Facts as new as `revision`: from at hand, or from where they are newest.
    async fn ask(&self, key: &Key, revision: i64, hidden: &Hidden<'_>) -> std::result::Result<Arc<Facts>, QueryError> {
        let near = access::facts(&*self.sql, Freshness::Local, key.asked()).await;
        let facts = match near {
            Ok(facts) if facts.revision >= revision && !hidden(&facts) => facts,
            _ => access::facts(&*self.sql, Freshness::Latest, key.asked()).await?,
        };
        let facts = Arc::new(facts);
        if !hidden(&facts) {
            self.kept.insert(key.clone(), facts.clone());
        }
        let mut known = self.known.lock();
        known.revision = known.revision.max(facts.revision);
        Ok(facts)
    }

    /// Facts of a caller and a place, and whether they are the newest.
    async fn facts(&self, key: &Key, hidden: &Hidden<'_>) -> Result<(Arc<Facts>, Age)> {
        let age = self.newest().await?;
        let (Age::Newest(revision) | Age::Outage { revision, .. }) = age;
        if let Some(facts) = self.find(key, revision, hidden) {
            return Ok((facts, age));
        }
        let (reached, cause) = match age {
            Age::Newest(_) => match self.ask(key, revision, hidden).await {
                Ok(facts) => return Ok((facts, age)),
                Err(QueryError::Unavailable(cause)) => (self.known.lock().reached, cause),
                Err(failed) => return Err(failed.into()),
            },
            Age::Outage { reached, cause, .. } => (reached, cause),
        };
        // A standby may know.
        match access::facts(&*self.sql, Freshness::Local, key.asked()).await {
            Ok(facts) if facts.revision >= revision => Ok((Arc::new(facts), Age::Outage { revision, reached, cause })),
            _ => Err(Error::Unavailable { component: "metadata", cause }),
        }
    }

    /// Whether there is nothing for somebody, as far as these facts say.
    fn hides(&self, asked: &Wanted<'_>, facts: &Facts) -> bool {
        let question = Question { action: asked.action, repository: asked.repository, at: self.clock.now() };
        let decision = decide(&self.rules, asked.caller, facts, question);
        facts.repository.is_none() || matches!(decision, Decision::Unauthorized | Decision::NameUnknown)
    }

    /// The decision on facts that may not be the newest.
    fn judge(&self, asked: &Wanted<'_>, facts: &Facts, age: Age) -> Result<Permit> {
        let question = Question { action: asked.action, repository: asked.repository, at: self.clock.now() };
        let caller = match age {
            Age::Newest(_) => asked.caller,
            Age::Outage { cause, .. } if asked.action != Action::Pull => {
                return Err(Error::Unavailable { component: "metadata", cause });
            }
            Age::Outage { reached, .. } if self.clock.monotonic().saturating_sub(reached) <= self.outage => {
                asked.caller
            }
            // What is public is so for everybody.
            Age::Outage { cause, .. } => {
                return match decide(&self.rules, &Caller::Anonymous, facts, question) {
                    Decision::Allowed => Ok(Permit { making: Making::Nowhere }),
                    _ => Err(Error::Unavailable { component: "metadata", cause }),
                };
            }
        };
        answer(decide(&self.rules, caller, facts, question), asked.repository)
    }
}

impl Known {
    /// That the newest cannot be had, while it is too early to ask again.
    fn outage(&self, now: Duration) -> Option<Age> {
        let (at, cause) = self.failed.as_ref()?;
        (now.saturating_sub(*at) < REVISION_LIFE).then(|| Age::Outage {
            revision: self.revision,
            reached: self.reached,
            cause: cause.clone(),
        })
    }
}

/// Whether there is nothing for who asks.
type Hidden<'a> = dyn Fn(&Facts) -> bool + Send + Sync + 'a;

/// Who wants to do what where.
struct Wanted<'a> {
    caller: &'a Caller,
    action: Action,
    repository: &'a RepositoryName,
}

fn answer(decision: Decision, repository: &RepositoryName) -> Result<Permit> {
    match decision {
        Decision::Allowed => Ok(Permit { making: Making::Nowhere }),
        Decision::AllowedMaking(namespace) => Ok(Permit { making: namespace.map_or(Making::Anywhere, Making::In) }),
        Decision::Unauthorized => Err(Error::Unauthorized),
        Decision::NameUnknown => Err(Error::NameUnknown(repository.clone())),
        Decision::Denied(why) => Err(Error::Denied(format!("{repository}: {why}"))),
    }
}

#[async_trait]
impl Policy for AccessCache {
    fn at_once(&self, caller: &Caller, action: Action, repository: &RepositoryName) -> Option<Result<Permit>> {
        let Some(age @ Age::Newest(revision)) = self.age() else { return None };
        let asked = Wanted { caller, action, repository };
        let facts = self.find(&Key::of(caller, repository.as_str()), revision, &|facts| self.hides(&asked, facts))?;
        Some(self.judge(&asked, &facts, age))
    }

    async fn decide(&self, caller: &Caller, action: Action, repository: &RepositoryName) -> Result<Permit> {
        let asked = Wanted { caller, action, repository };
        let key = Key::of(caller, repository.as_str());
        let (facts, age) = self.facts(&key, &|facts| self.hides(&asked, facts)).await?;
        self.judge(&asked, &facts, age)
    }

    async fn viewer(&self, caller: &Caller) -> Result<Viewing> {
        let (facts, age) = self.facts(&Key::of(caller, NOWHERE), &|_| false).await?;
        match age {
            Age::Outage { reached, cause, .. } if self.clock.monotonic().saturating_sub(reached) > self.outage => {
                Err(Error::Unavailable { component: "metadata", cause })
            }
            _ => {
                let viewer = viewer(&self.rules, caller, &facts, self.clock.now()).ok_or(Error::Unauthorized)?;
                Ok(viewer.under(facts.revision))
            }
        }
    }

    fn changed(&self) {
        let mut known = self.known.lock();
        (known.asked, known.engine) = (None, None);
        known.changes += 1;
    }
}
