//! What a decision about access needs to know, and the revision under which it was known.
//!
//! Every statement list of the records of identities ends in [`raise`], so no batch can change who may do what without
//! raising the revision. What is kept in memory of [`Facts`] counts while the revision is the one they came with.

use super::access_token::ended_at;
use super::repository::{LIBRARY, NamespaceKind};
use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Rows, Sql, Statement};
use uuid::Uuid;

sql! {
    REVISION = "SELECT revision FROM access_state WHERE id = 1";
    RAISE = "UPDATE access_state SET revision = revision + 1 WHERE id = 1";
    FACTS = concat!(
        "SELECT s.revision, a.active, a.admin, a.password_changed_at, b.namespace_id, o.active, \
        t.id, t.user_id, t.robot_id, t.expires_at, ",
        ended_at!(),
        ", r.id, r.visibility, r.immutable_tags, n.id, n.kind, m.role, \
        (SELECT g.access FROM repository_grant g WHERE g.repository_id = r.id AND g.subject_id = $1), \
        (SELECT max(g.access) FROM team_member k JOIN repository_grant g \
        ON g.repository_id = r.id AND g.subject_id = k.team_id WHERE k.user_id = $2), \
        (SELECT g.access FROM namespace_grant g WHERE g.namespace_id = n.id AND g.subject_id = $3), \
        (SELECT max(g.access) FROM team_member k JOIN namespace_grant g \
        ON g.namespace_id = n.id AND g.subject_id = k.team_id WHERE k.user_id = $4) \
        FROM access_state s \
        LEFT JOIN account a ON a.namespace_id = $5 \
        LEFT JOIN robot b ON b.id = $6 \
        LEFT JOIN account o ON o.namespace_id = b.namespace_id \
        LEFT JOIN access_token t ON t.id = $7 \
        LEFT JOIN repository r ON r.name = $8 \
        LEFT JOIN namespace n ON n.name = $9 \
        LEFT JOIN organization_member m ON m.organization_id = n.id AND m.user_id = $10 \
        WHERE s.id = 1"
    );
}

/// Who has rights of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user, by the id of the account, which is that of its namespace.
    User(Uuid),
    /// A robot.
    Robot(Uuid),
}

impl Subject {
    /// Its id.
    pub fn id(self) -> Uuid {
        match self {
            Subject::User(id) | Subject::Robot(id) => id,
        }
    }

    /// Its id as the columns `user_id` and `robot_id` of a table have it.
    pub(super) fn columns(self) -> (Option<Uuid>, Option<Uuid>) {
        match self {
            Subject::User(id) => (Some(id), None),
            Subject::Robot(id) => (None, Some(id)),
        }
    }

    /// From two columns `user_id` and `robot_id`.
    pub(super) fn read(row: &Row, at: usize) -> Result<Self, QueryError> {
        if row.is_null(at) { row.id(at + 1).map(Subject::Robot) } else { row.id(at).map(Subject::User) }
    }
}

/// What a grant allows. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// View and pull.
    ReadOnly = 1,
    /// Push, too, and delete tags and manifests.
    ReadWrite = 2,
    /// Also change settings and visibility, and grant access.
    Admin = 3,
}

impl Access {
    /// From its number in metadata; a number of a later version grants nothing.
    pub fn from_number(number: i64) -> Option<Self> {
        [Access::ReadOnly, Access::ReadWrite, Access::Admin].into_iter().find(|access| *access as i64 == number)
    }
}

/// Of whom, with what, and of which repository is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Nobody known, without one.
    pub subject: Option<Subject>,
    /// The access token that the subject came with, if with one.
    pub token: Option<Uuid>,
    /// The name of a repository as it is shown; or, to ask of a namespace alone, that with a `/` behind it.
    pub repository: &'a str,
}

/// What is known of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it may do anything at all: of a robot, whether its user may.
    pub active: bool,
    /// A system admin.
    pub admin: bool,
    /// When a user's password changed last; 0 of a robot.
    pub epoch: Millis,
}

/// What is known of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenStanding {
    /// Whose it is.
    pub subject: Subject,
    /// When it ends by itself.
    pub expires_at: Option<Millis>,
    /// Somebody ended it.
    pub revoked: bool,
}

/// A repository as decisions see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// Its id.
    pub id: Uuid,
    /// Everybody may pull from it.
    pub public: bool,
    /// Tags neither move nor go.
    pub immutable_tags: bool,
}

/// All that a decision needs to know, from one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The revision of access at that moment.
    pub revision: i64,
    /// The subject; `None` when there is none, or none any more.
    pub standing: Option<Standing>,
    /// The token that was asked for, if it is there.
    pub token: Option<TokenStanding>,
    /// The repository, if there is one.
    pub repository: Option<RepositoryFacts>,
    /// The namespace it is in or would be made in, if there is one.
    pub namespace: Option<(Uuid, NamespaceKind)>,
    /// The subject's role in that organization: `Some(true)` of an owner.
    pub owner: Option<bool>,
    /// The highest access that grants to the subject and its teams come to, on the repository and its namespace.
    pub granted: Option<Access>,
    /// The same of those on the namespace alone.
    pub granted_namespace: Option<Access>,
}

/// Belongs to every batch that may change who may do what.
pub fn raise() -> Statement {
    Statement::new(RAISE, vec![])
}

/// The revision as of every batch that was acknowledged.
pub async fn revision(sql: &dyn Sql) -> Result<i64, QueryError> {
    read_revision(&sql.query(Freshness::Latest, ask_revision()).await?)
}

/// The question for the revision, to be asked with others: what is answered after it is at least as new.
pub(super) fn ask_revision() -> Statement {
    Statement::new(REVISION, vec![])
}

/// The answer to it.
pub(super) fn read_revision(rows: &Rows) -> Result<i64, QueryError> {
    rows.first().ok_or_else(absent)?.integer(0)
}

fn absent() -> QueryError {
    QueryError::Failed(
        "access_state has no row: the metadata was made by something else, or its schema is damaged".into(),
    )
}

/// The name of the namespace that a repository is in.
pub fn namespace_of(repository: &str) -> &str {
    repository.split_once('/').map_or(LIBRARY, |(namespace, _)| namespace)
}

/// Everything at once: one statement, so from one moment.
pub async fn facts(sql: &dyn Sql, freshness: Freshness, asked: Asked<'_>) -> Result<Facts, QueryError> {
    let subject = asked.subject.map_or(Uuid::nil(), Subject::id);
    let (user, robot) = asked.subject.map_or((None, None), Subject::columns);
    let (user, robot) = (user.unwrap_or_default(), robot.unwrap_or_default());
    let token = asked.token.unwrap_or_default();
    let params = vec![
        subject.into(),
        user.into(),
        subject.into(),
        user.into(),
        user.into(),
        robot.into(),
        token.into(),
        asked.repository.into(),
        namespace_of(asked.repository).into(),
        user.into(),
    ];
    let rows = sql.query(freshness, Statement::new(FACTS, params)).await?;
    read(rows.first().ok_or_else(absent)?, asked.subject)
}

fn read(row: &Row, subject: Option<Subject>) -> Result<Facts, QueryError> {
    let flag = |at: usize| row.integer(at).map(|number| number != 0);
    let standing = match subject {
        Some(Subject::User(_)) if !row.is_null(1) => {
            Some(Standing { active: flag(1)?, admin: flag(2)?, epoch: row.integer(3)? })
        }
        Some(Subject::Robot(_)) if !row.is_null(4) => {
            Some(Standing { active: row.is_null(5) || flag(5)?, admin: false, epoch: 0 })
        }
        _ => None,
    };
    let token = match row.is_null(6) {
        true => None,
        false => Some(TokenStanding {
            subject: Subject::read(row, 7)?,
            expires_at: row.given(9, Row::integer)?,
            revoked: !row.is_null(10),
        }),
    };
    let repository = match row.is_null(11) {
        true => None,
        false => Some(RepositoryFacts { id: row.id(11)?, public: flag(12)?, immutable_tags: flag(13)? }),
    };
    let namespace = match row.is_null(14) {
        true => None,
        false => Some((row.id(14)?, NamespaceKind::from_number(row.integer(15)?))),
    };
    let access = |at: usize| Ok::<_, QueryError>(row.given(at, Row::integer)?.and_then(Access::from_number));
    let granted_namespace = access(19)?.max(access(20)?);
    Ok(Facts {
        revision: row.integer(0)?,
        standing,
        token,
        repository,
        namespace,
        owner: row.given(16, Row::integer)?.map(|role| role == 1),
        granted: access(17)?.max(access(18)?).max(granted_namespace),
        granted_namespace,
    })
}
