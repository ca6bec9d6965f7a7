//! Questions, several in one round trip.

use roadstead_metadata::lists::arrays;
use roadstead_metadata::{QueryError, Rows, Statement};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use crate::connecting::first;
use crate::pool::{Lease, Pool};
use crate::values::{self, Bound};
use crate::{faults, pipeline};

/// How questions are put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Prepared, on connections of our own.
    pub(crate) prepare: bool,
    /// Only the primary may answer.
    pub(crate) primary: bool,
}

/// A question as it is sent.
struct Question {
    sql: &'static str,
    text: std::borrow::Cow<'static, str>,
    values: Vec<Bound>,
}

/// What went wrong with one of several.
enum Wrong {
    /// Which, and how.
    Question(usize, Error),
    /// The whole.
    All(Error),
    /// The server is not the primary.
    Standby,
}

/// Asks on a connection of `pool`; once more on another one when the first had ended.
pub(crate) async fn ask(
    pool: &Pool,
    statements: &[Statement],
    manner: Manner,
    deadline: Instant,
) -> Result<Vec<Rows>, QueryError> {
    let questions: Result<Vec<Question>, QueryError> = statements.iter().map(Question::of).collect();
    let questions = questions?;
    let mut again = true;
    loop {
        let lease = pool.lease(deadline).await.map_err(QueryError::Unavailable)?;
        let answers = match timeout_at(deadline, put(&lease, &questions, manner)).await {
            Ok(answers) => answers,
            Err(_) => {
                let server = &lease.connection().server;
                return Err(QueryError::Unavailable(format!("PostgreSQL at {server} did not answer in time")));
            }
        };
        let (error, place) = match answers {
            Ok(answers) => {
                lease.settled();
                return answers.iter().map(|rows| rows.iter().map(values::row).collect()).collect();
            }
            Err(Wrong::Standby) => return Err(QueryError::Unavailable("a standby answered for the primary".into())),
            Err(Wrong::All(error)) => (error, "transaction"),
            Err(Wrong::Question(index, error)) => (error, questions[index].sql),
        };
        let ended = error.as_db_error().is_none() && !faults::is_ours(&error);
        let stale =
            error.as_db_error().is_some_and(|said| faults::sort(said.code(), said.message()) == faults::Verdict::Stale);
        // Not settled: the connection is closed, and with it what it had prepared.
        if !(again && (ended || stale)) {
            return Err(faults::unanswered(&error, &lease.connection().server, place));
        }
        again = false;
    }
}

impl Question {
    fn of(statement: &Statement) -> Result<Self, QueryError> {
        let text = arrays(statement).map_err(|e| QueryError::Failed(format!("{e} ({})", statement.sql)))?;
        let values = statement.params.iter().cloned().map(Bound).collect();
        Ok(Self { sql: statement.sql, text, values })
    }
}

type Answered = Result<Vec<Vec<tokio_postgres::Row>>, Wrong>;

async fn put(lease: &Lease, questions: &[Question], manner: Manner) -> Answered {
    let connection = lease.connection();
    if !manner.prepare {
        return in_a_transaction(&connection.client, questions, manner.primary).await;
    }
    let texts: Vec<&str> = questions.iter().map(|question| &*question.text).collect();
    let statements = connection.prepared(&texts).await.map_err(|(index, error)| Wrong::Question(index, error))?;
    let values: Vec<Vec<&(dyn ToSql + Sync)>> = questions.iter().map(Question::values).collect();
    let mut asked = Vec::with_capacity(questions.len());
    for (statement, values) in statements.iter().zip(&values) {
        asked.push(pipeline::send(connection.client.query(statement, values)).await);
    }
    let mut answers = Vec::with_capacity(asked.len());
    for (index, question) in asked.into_iter().enumerate() {
        answers.push(question.answer().await.map_err(|error| Wrong::Question(index, error))?);
    }
    Ok(answers)
}

/// Behind PgBouncer every transaction may be on another server: which one it is is asked in the same.
async fn in_a_transaction(client: &Client, questions: &[Question], primary: bool) -> Answered {
    let values: Vec<Vec<(&(dyn ToSql + Sync), Type)>> = questions.iter().map(Question::announced).collect();
    let begin = pipeline::send(client.batch_execute("BEGIN READ ONLY")).await;
    let recovery = pipeline::send(client.simple_query("SELECT pg_is_in_recovery()")).await;
    let mut asked = Vec::with_capacity(questions.len());
    for (question, values) in questions.iter().zip(&values) {
        asked.push(pipeline::send(client.query_typed(&question.text, values)).await);
    }
    let end = pipeline::send(client.batch_execute("COMMIT")).await;
    begin.answer().await.map_err(Wrong::All)?;
    let recovery = recovery.answer().await.map_err(Wrong::All)?;
    let mut answers = Vec::with_capacity(asked.len());
    for (index, question) in asked.into_iter().enumerate() {
        answers.push(question.answer().await.map_err(|error| Wrong::Question(index, error))?);
    }
    end.answer().await.map_err(Wrong::All)?;
    if primary && first(&recovery) != Some("f") { Err(Wrong::Standby) } else { Ok(answers) }
}

impl Question {
    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
    }

    fn announced(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values.iter().map(|value| (value as &(dyn ToSql + Sync), value.announced())).collect()
    }
}
