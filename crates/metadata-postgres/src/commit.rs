//! A batch as one SERIALIZABLE transaction.
//!
//! Where its statements are prepared all of it is sent at once, from BEGIN to COMMIT. The first statement that fails
//! decides: the server has then ended the transaction, and answers the COMMIT with a rollback and no error. So the COMMIT
//! says that something happened only if nothing before it failed; and it is sent only if everything before it was.

use std::borrow::Cow;

use roadstead_metadata::lists::arrays;
use roadstead_metadata::{Batch, CommitError, Committed, Statement, base};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use crate::faults::{self, Verdict};
use crate::pipeline;
use crate::pool::Lease;
use crate::text::{defines, translated};
use crate::values::Bound;

const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE";
/// What a connection of our own has set, where the connection may be a stranger's the next moment.
const HERE_ONLY: &str = "SELECT set_config(name, 'on', true) FROM pg_settings \
    WHERE name = 'synchronous_commit' AND setting = 'off'";

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It happened, now or before.
    Done(Committed),
    /// Nothing happened, and the same may succeed at once: others were in the way, or the connection had ended.
    Again(String),
    /// Nothing happened: what the connection had prepared is out of date.
    Stale(String),
    /// Nothing happened, or nobody knows.
    Not(CommitError),
}

/// A batch as it is sent.
pub(crate) struct Plan {
    steps: Vec<Step>,
    /// Its data definitions have to be carried out before what follows is understood.
    defines: bool,
}

struct Step {
    /// As the caller wrote it, for messages.
    sql: &'static str,
    text: Cow<'static, str>,
    values: Vec<Bound>,
}

impl Plan {
    /// The batch with its operation id in front.
    pub(crate) fn of(batch: Batch) -> Result<Self, CommitError> {
        let count = batch.statements.len();
        let taking = Statement::new(base::TAKE_OPERATION, vec![batch.operation.into(), batch.at.into()]);
        let mut steps = Vec::with_capacity(count + 1);
        for (index, statement) in [taking].into_iter().chain(batch.statements).enumerate() {
            let text = arrays(&statement);
            let place = || format!("statement {index} of {count}: {}", statement.sql);
            let text = text.map_err(|e| CommitError::Failed(format!("{e} ({})", place())))?;
            let values = statement.params.into_iter().map(Bound).collect();
            steps.push(Step { sql: statement.sql, text: translated(text), values });
        }
        let defines = steps.iter().any(|step| defines(step.sql));
        Ok(Self { steps, defines })
    }

    /// Whether it may take as long as a table is large.
    pub(crate) fn defines(&self) -> bool {
        self.defines
    }

    fn place(&self, index: usize) -> String {
        format!("statement {index} of {}: {}", self.steps.len() - 1, self.steps[index].sql)
    }
}

/// Tries once, on a connection that was just taken. When the `deadline` passes the outcome is unknown, unless nothing
/// was sent by then.
pub(crate) async fn attempt(lease: Lease, plan: &Plan, prepare: bool, deadline: Instant) -> Outcome {
    let server = lease.connection().server.clone();
    match tried(lease, plan, prepare, deadline).await {
        Outcome::Again(why) => Outcome::Again(format!("PostgreSQL at {server}: {why}")),
        Outcome::Stale(why) => Outcome::Stale(format!("PostgreSQL at {server}: {why}")),
        Outcome::Not(error) => Outcome::Not(faults::at(&server, error)),
        done @ Outcome::Done(_) => done,
    }
}

async fn tried(lease: Lease, plan: &Plan, prepare: bool, deadline: Instant) -> Outcome {
    let client = &lease.connection().client;
    let answered = if prepare && !plan.defines {
        let texts: Vec<&str> = plan.steps.iter().map(|step| &*step.text).collect();
        match timeout_at(deadline, lease.connection().prepared(&texts)).await {
            Err(_) => return Outcome::Not(CommitError::Unavailable("no answer in time".into())),
            Ok(Err((index, error))) => return failed(plan, index, &error, true),
            Ok(Ok(statements)) => timeout_at(deadline, at_once(client, plan, &statements)).await,
        }
    } else {
        timeout_at(deadline, after_begin(client, plan)).await
    };
    let Ok(answers) = answered else {
        return Outcome::Not(CommitError::Unknown("no answer in time".into()));
    };
    let (outcome, settled) = (judge(plan, &answers), answers.settled());
    if settled && !matches!(outcome, Outcome::Stale(_)) {
        lease.settled();
    }
    outcome
}

/// What the server answered, in order.
struct Answers {
    begin: Result<(), Error>,
    steps: Vec<Result<u64, Error>>,
    /// The answer to what ended the transaction, if anything was sent to.
    end: Option<Result<(), Error>>,
    /// Whether COMMIT left this process. Otherwise nothing can have happened.
    committing: bool,
}

impl Answers {
    /// Whether the connection is as it was before.
    fn settled(&self) -> bool {
        match &self.end {
            Some(Ok(())) => true,
            Some(Err(error)) => error.as_db_error().is_some(),
            None => false,
        }
    }
}

/// Sends everything and then waits. Should BEGIN fail, nothing after it can write: the session is read-only.
async fn at_once(client: &Client, plan: &Plan, statements: &[tokio_postgres::Statement]) -> Answers {
    let values: Vec<Vec<&(dyn ToSql + Sync)>> = plan.steps.iter().map(|step| step.values()).collect();
    let mut begin = pipeline::send(client.batch_execute(BEGIN)).await;
    let mut whole = !begin.failed_at_once();
    let mut steps = Vec::with_capacity(plan.steps.len());
    for (statement, values) in statements.iter().zip(&values) {
        let mut step = pipeline::send(client.execute(statement, values)).await;
        whole &= !step.failed_at_once();
        steps.push(step);
    }
    // What was not sent would be missing from the transaction.
    whole &= steps.len() == plan.steps.len();
    let mut end = pipeline::send(client.batch_execute(if whole { "COMMIT" } else { "ROLLBACK" })).await;
    let committing = whole && !end.failed_at_once();
    let begin = begin.answer().await;
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        answers.push(step.answer().await);
    }
    Answers { begin, steps: answers, end: Some(end.answer().await), committing }
}

/// Sends BEGIN, waits, and sends the rest without preparing it: each statement is understood once those before it were
/// carried out, and none can reach a session that is not in the transaction.
async fn after_begin(client: &Client, plan: &Plan) -> Answers {
    let begin = client.batch_execute(&format!("{BEGIN}; {HERE_ONLY}")).await;
    if begin.is_err() {
        return Answers { begin, steps: Vec::new(), end: None, committing: false };
    }
    let values: Vec<Vec<(&(dyn ToSql + Sync), Type)>> = plan.steps.iter().map(|step| step.announced()).collect();
    let (mut steps, mut whole) = (Vec::with_capacity(plan.steps.len()), true);
    for (step, values) in plan.steps.iter().zip(&values) {
        let mut step = pipeline::send(client.execute_typed(&step.text, values)).await;
        whole &= !step.failed_at_once();
        steps.push(step);
    }
    let mut end = pipeline::send(client.batch_execute(if whole { "COMMIT" } else { "ROLLBACK" })).await;
    let committing = whole && !end.failed_at_once();
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        answers.push(step.answer().await);
    }
    Answers { begin, steps: answers, end: Some(end.answer().await), committing }
}

/// The first that failed decides.
fn judge(plan: &Plan, answers: &Answers) -> Outcome {
    let nothing_sent = !answers.committing;
    if let Err(error) = &answers.begin {
        return match error.as_db_error() {
            Some(_) => Outcome::Not(CommitError::Unavailable(format!("{} (BEGIN)", faults::told(error)))),
            None => lost(error, nothing_sent),
        };
    }
    for (index, step) in answers.steps.iter().enumerate() {
        match step {
            Ok(_) => {}
            // Only the key of `operation` is violated here, by the same operation.
            Err(error) if index == 0 && error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                return Outcome::Done(Committed { replayed: true });
            }
            Err(error) => return failed(plan, index, error, nothing_sent),
        }
    }
    match &answers.end {
        Some(Ok(())) if answers.committing => Outcome::Done(Committed { replayed: false }),
        Some(Err(error)) => match error.as_db_error().map(|said| faults::sort(said.code(), said.message())) {
            Some(Verdict::Again) => Outcome::Again(faults::told(error)),
            Some(Verdict::Conflict) => Outcome::Not(faults::refusal(error, "COMMIT")),
            // A server that shuts down may have committed before it said so.
            Some(_) => Outcome::Not(CommitError::Unknown(faults::told(error))),
            None => lost(error, nothing_sent),
        },
        _ => Outcome::Again("it was not sent whole".into()),
    }
}

/// A statement failed. `nothing_sent`: no COMMIT was sent, so that even without an answer nothing happened.
fn failed(plan: &Plan, index: usize, error: &Error, nothing_sent: bool) -> Outcome {
    match error.as_db_error().map(|said| faults::sort(said.code(), said.message())) {
        Some(Verdict::Again) => Outcome::Again(faults::told(error)),
        Some(Verdict::Stale) => Outcome::Stale(faults::refusal(error, &plan.place(index)).to_string()),
        Some(_) => Outcome::Not(faults::refusal(error, &plan.place(index))),
        None if faults::is_ours(error) => Outcome::Not(faults::refusal(error, &plan.place(index))),
        None => lost(error, nothing_sent),
    }
}

/// The connection ended.
fn lost(error: &Error, nothing_sent: bool) -> Outcome {
    match nothing_sent {
        true => Outcome::Again(faults::told(error)),
        false => Outcome::Not(CommitError::Unknown(faults::told(error))),
    }
}

impl Step {
    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
    }

    fn announced(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values.iter().map(|value| (value as &(dyn ToSql + Sync), value.announced())).collect()
    }
}
