//! Which repositories somebody may see, a page at a time.
//!
//! What a subject sees has a few sources: what is public, each namespace it has to do with, what is granted to it and to
//! each of its teams. Each is read in the order of names through an index of its own, as far as the page goes, and they are
//! merged. So a page costs its length times the subject's sources, however many repositories there are that it does not see.
//!
//! What a standby answers may be from before something was taken from the subject. So the revision of access is asked for with
//! each question, and what is older than the one under which the subject was let in is no answer.

use std::collections::{BTreeSet, HashSet};

use super::access::{self, Subject};
use super::{sql, team};
use crate::{Freshness, QueryError, Rows, Sql, Statement, Value};
use uuid::Uuid;

sql! {
    NAMESPACES = "SELECT organization_id FROM organization_member WHERE user_id = $1 AND role = 1 \
        UNION ALL SELECT namespace_id FROM namespace_grant WHERE subject_id = $2 \
        UNION ALL SELECT g.namespace_id FROM team_member k JOIN namespace_grant g ON g.subject_id = k.team_id WHERE k.user_id = $3";
    ALL = "SELECT name FROM repository WHERE name >= $1 AND name < $2 ORDER BY name LIMIT $3";
    PUBLIC = "SELECT name FROM repository WHERE visibility = 1 AND name >= $1 AND name < $2 ORDER BY name LIMIT $3";
    IN_NAMESPACE = "SELECT name FROM repository WHERE namespace_id = $1 AND name >= $2 AND name < $3 ORDER BY name LIMIT $4";
    AMONG = "SELECT r.id FROM repository r WHERE r.id IN ($1) AND (r.visibility = 1 OR r.namespace_id IN ($2) \
        OR EXISTS (SELECT 1 FROM repository_grant g WHERE g.repository_id = r.id AND g.subject_id IN ($3)))";
    GRANTED = "SELECT repository FROM repository_grant \
        WHERE subject_id = $1 AND repository >= $2 AND repository < $3 ORDER BY repository LIMIT $4";
}

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// Sees everything.
    All,
    /// Sees what everybody sees.
    Public,
    /// Sees that and what it may pull by its own rights.
    Subject(Subject),
}

impl Viewer {
    /// The same, let in under a revision of access.
    pub fn under(self, revision: i64) -> Viewing {
        Viewing { viewer: self, revision }
    }
}

/// Who looks, and what that was decided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewing {
    /// Who.
    pub viewer: Viewer,
    /// The revision of access under which that was so; nothing older is shown.
    pub revision: i64,
}

impl Viewing {
    /// Asks what the viewer sees; `Unavailable` when whoever answers does not know of all that was taken from it. Who sees
    /// everything sees it whatever access is.
    async fn ask(self, sql: &dyn Sql, mut questions: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        if self.viewer == Viewer::All {
            return sql.query_many(Freshness::Latest, questions).await;
        }
        questions.insert(0, access::ask_revision());
        let mut answers = sql.query_many(Freshness::Latest, questions).await?;
        let revision = access::read_revision(&answers.remove(0))?;
        if revision < self.revision {
            let known = self.revision;
            let cause =
                format!("who answers has revision {revision} of access, {known} is known: a standby lags behind");
            return Err(QueryError::Unavailable(cause));
        }
        Ok(answers)
    }
}

/// Names from `from` up to but without `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first that is in it.
    pub from: String,
    /// The first that is not.
    pub to: String,
}

impl Range {
    /// Every name of a repository: they have no character as high as the end of this.
    pub fn all() -> Self {
        Self { from: String::new(), to: "~".to_owned() }
    }

    /// What of it comes after the name `after`. No character of a name is as low as the one put behind it.
    pub fn after(self, after: &str) -> Self {
        let next = format!("{after}!");
        if after.is_empty() || self.from > next { self } else { Self { from: next, ..self } }
    }
}

/// The names in `ranges` that a viewer sees, in ASCII order, at most `limit`.
pub async fn page(sql: &dyn Sql, viewing: Viewing, ranges: &[Range], limit: i64) -> Result<Vec<String>, QueryError> {
    let sources = sources(sql, viewing).await?;
    let open = ranges.iter().filter(|range| range.from < range.to);
    let questions: Vec<Statement> =
        open.flat_map(|range| sources.iter().map(|source| source.question(range, limit))).collect();
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    let mut names = BTreeSet::new();
    for rows in viewing.ask(sql, questions).await? {
        for row in &rows {
            names.insert(row.text(0)?.to_owned());
        }
    }
    Ok(names.into_iter().take(usize::try_from(limit).unwrap_or(0)).collect())
}

/// Which of these repositories a viewer sees: as many questions for one as for many.
pub async fn among(sql: &dyn Sql, viewing: Viewing, ids: &[Uuid]) -> Result<HashSet<Uuid>, QueryError> {
    if viewing.viewer == Viewer::All {
        return Ok(ids.iter().copied().collect());
    }
    let (mut namespaces, mut granted) = (Vec::new(), Vec::new());
    for source in sources(sql, viewing).await? {
        match source {
            Source::All | Source::Public => {}
            Source::Namespace(id) => namespaces.push(Value::from(id)),
            Source::Granted(to) => granted.push(Value::from(to)),
        }
    }
    let ids = ids.iter().map(|id| (*id).into()).collect();
    let question = Statement::new(AMONG, [ids, namespaces, granted].map(Value::List).into());
    viewing.ask(sql, vec![question]).await?.iter().flatten().map(|row| row.id(0)).collect()
}

/// Something through which one sees repositories.
enum Source {
    All,
    Public,
    Namespace(Uuid),
    Granted(Uuid),
}

impl Source {
    fn question(&self, range: &Range, limit: i64) -> Statement {
        let bounds = vec![range.from.as_str().into(), range.to.as_str().into(), limit.into()];
        match self {
            Source::All => Statement::new(ALL, bounds),
            Source::Public => Statement::new(PUBLIC, bounds),
            Source::Namespace(id) => Statement::new(IN_NAMESPACE, [vec![(*id).into()], bounds].concat()),
            Source::Granted(to) => Statement::new(GRANTED, [vec![(*to).into()], bounds].concat()),
        }
    }
}

async fn sources(sql: &dyn Sql, viewing: Viewing) -> Result<Vec<Source>, QueryError> {
    let subject = match viewing.viewer {
        Viewer::All => return Ok(vec![Source::All]),
        Viewer::Public => return Ok(vec![Source::Public]),
        Viewer::Subject(subject) => subject,
    };
    let (user, _) = subject.columns();
    let own = user;
    let user = user.unwrap_or_default();
    let namespaces = Statement::new(NAMESPACES, vec![user.into(), subject.id().into(), user.into()]);
    let mut answers = viewing.ask(sql, vec![namespaces, team::of_user(user)]).await?.into_iter();
    let mut ids = || -> Result<HashSet<Uuid>, QueryError> {
        let rows: Rows = answers.next().unwrap_or_default();
        rows.iter().map(|row| row.id(0)).collect()
    };
    let (mut namespaces, mut granted) = (ids()?, ids()?);
    namespaces.extend(own);
    granted.insert(subject.id());
    let seen = [Source::Public].into_iter().chain(namespaces.into_iter().map(Source::Namespace));
    Ok(seen.chain(granted.into_iter().map(Source::Granted)).collect())
}
