//! Runs of scrub: one row for each location, so that a run goes on where it stood whatever happens to the process.
//!
//! That a run is wanted and that it is under way are one thing: the row says so from the moment it is asked for.

use super::{damage, sql};
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement, Value};
use uuid::Uuid;

sql! {
    GET = "SELECT l.created_at, s.run, s.step, s.deep, s.rate, s.phase, s.after, s.hashing_key, s.hashing_again, \
        s.hashing_state, s.started_at, s.updated_at, s.ended_at, s.stopped, s.objects, s.bytes, s.missing, \
        s.wrong_size, s.wrong_hash, s.unreadable, s.orphans, s.repaired, s.by_hand \
        FROM location l LEFT JOIN scrub s ON s.location_id = l.id WHERE l.id = $1";
    GUARD_NOT_RUNNING = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS \
        (SELECT 1 FROM scrub WHERE location_id = $1 AND ended_at IS NULL)";
    BEGIN = "INSERT INTO scrub (location_id, run, step, deep, rate, phase, after, hashing_again, started_at, \
        updated_at, stopped, objects, bytes, missing, wrong_size, wrong_hash, unreadable, orphans, repaired, by_hand) \
        VALUES ($1, $2, 0, $3, $4, 0, '', 0, $5, $6, 0, 0, 0, 0, 0, 0, 0, 0, 0, $7) \
        ON CONFLICT (location_id) DO UPDATE SET run = excluded.run, step = 0, deep = excluded.deep, rate = excluded.rate, \
        phase = 0, after = '', hashing_key = NULL, hashing_again = 0, hashing_state = NULL, \
        started_at = excluded.started_at, updated_at = excluded.updated_at, ended_at = NULL, stopped = 0, objects = 0, \
        bytes = 0, missing = 0, wrong_size = 0, wrong_hash = 0, unreadable = 0, orphans = 0, repaired = 0, \
        by_hand = excluded.by_hand";
    GUARD_STEP = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM scrub WHERE location_id = $1 AND run = $2 AND step = $3 AND ended_at IS NULL)";
    SAVE = "UPDATE scrub SET step = step + 1, phase = $1, after = $2, hashing_key = $3, hashing_again = $4, \
        hashing_state = $5, updated_at = $6, ended_at = $7, objects = $8, bytes = $9, missing = $10, wrong_size = $11, \
        wrong_hash = $12, unreadable = $13, orphans = $14, repaired = $15 WHERE location_id = $16";
    STOP = "UPDATE scrub SET step = step + 1, updated_at = $1, ended_at = $2, stopped = 1 \
        WHERE location_id = $3 AND ended_at IS NULL";
}

/// What a run is looking at. The numbers are part of the stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Objects known to be damaged: some may be whole again.
    Damage = 0,
    /// The object of each placement.
    Placements = 1,
    /// The placement of each object.
    Objects = 2,
}

impl Phase {
    /// Its name in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Damage => "damage",
            Phase::Placements => "placements",
            Phase::Objects => "objects",
        }
    }
}

/// An object that is read in several steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashing {
    /// Its key.
    pub object_key: String,
    /// Whether it was read to its end before and found wrong.
    pub again: bool,
    /// The hash over what was read, as its owner saves it.
    pub state: Vec<u8>,
}

/// What a run came upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Objects of placements looked at.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Objects that were not there.
    pub missing: u64,
    /// Objects of another size.
    pub wrong_size: u64,
    /// Objects of another digest.
    pub wrong_hash: u64,
    /// Objects that could not be read.
    pub unreadable: u64,
    /// Objects that no placement names, seen for the first time.
    pub orphans: u64,
    /// Objects in quarantine that were found whole and are copies again.
    pub repaired: u64,
}

/// The last run of a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which run; the same for all locations that it covers.
    pub run: Uuid,
    /// How often it was saved.
    pub step: i64,
    /// Whether it reads and hashes what it looks at.
    pub deep: bool,
    /// Bytes per second, when not as configured.
    pub rate: Option<u64>,
    /// Whether somebody asked for it; else it began because it was due.
    pub by_hand: bool,
    /// What it is at.
    pub phase: Phase,
    /// The last key there that was settled.
    pub after: String,
    /// The object after that, when it was read in part.
    pub hashing: Option<Hashing>,
    /// When it was asked for.
    pub started_at: Millis,
    /// When it was last saved.
    pub updated_at: Millis,
    /// When it ended; `None` while it runs.
    pub ended_at: Option<Millis>,
    /// Whether it ended because somebody stopped it.
    pub stopped: bool,
    /// What it came upon so far.
    pub counts: Counts,
}

/// What is known about the runs of a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// When the location was made known.
    pub since: Millis,
    /// Its last run.
    pub last: Option<Run>,
}

impl History {
    /// The run under way.
    pub fn running(&self) -> Option<&Run> {
        self.last.as_ref().filter(|run| run.ended_at.is_none())
    }
}

/// What is known about the runs of a location; `None` when the location is not known.
pub async fn get(sql: &dyn Sql, location: Uuid) -> Result<Option<History>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(GET, vec![location.into()])).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let last = if row.is_null(1) { None } else { Some(run(row)?) };
    Ok(Some(History { since: row.integer(0)?, last }))
}

fn run(row: &Row) -> Result<Run, QueryError> {
    let count = |index| row.integer(index).map(|count| count as u64);
    let optional = |index| row.given(index, Row::integer);
    let phase = match row.integer(5)? {
        0 => Phase::Damage,
        1 => Phase::Placements,
        2 => Phase::Objects,
        other => return Err(QueryError::Failed(format!("phase of scrub {other} is not known"))),
    };
    let hashing = match row.is_null(7) || row.is_null(9) {
        true => None,
        false => Some(Hashing {
            object_key: row.text(7)?.to_owned(),
            again: row.integer(8)? != 0,
            state: row.blob(9)?.to_vec(),
        }),
    };
    Ok(Run {
        run: row.id(1)?,
        step: row.integer(2)?,
        deep: row.integer(3)? != 0,
        rate: optional(4)?.map(|rate| rate as u64),
        by_hand: row.integer(22)? != 0,
        phase,
        after: row.text(6)?.to_owned(),
        hashing,
        started_at: row.integer(10)?,
        updated_at: row.integer(11)?,
        ended_at: optional(12)?,
        stopped: row.integer(13)? != 0,
        counts: Counts {
            objects: count(14)?,
            bytes: count(15)?,
            missing: count(16)?,
            wrong_size: count(17)?,
            wrong_hash: count(18)?,
            unreadable: count(19)?,
            orphans: count(20)?,
            repaired: count(21)?,
        },
    })
}

/// Begins a run of a location, `by_hand` when somebody asked for it; conflicts while one is under way.
pub fn begin(location: Uuid, run: Uuid, deep: bool, rate: Option<u64>, by_hand: bool, at: Millis) -> Vec<Statement> {
    let rate = rate.map(|rate| i64::try_from(rate).unwrap_or(i64::MAX));
    let params = vec![location.into(), run.into(), deep.into(), rate.into(), at.into(), at.into(), by_hand.into()];
    let mut statements = vec![Statement::new(GUARD_NOT_RUNNING, vec![location.into()]), Statement::new(BEGIN, params)];
    // A look without reading does not say whether they can be read by now.
    statements.extend(deep.then(|| damage::forget_unreadable(location)));
    statements
}

/// Saves how far a run has come since it was read; conflicts when it was saved or stopped by somebody else.
pub fn save(location: Uuid, run: &Run, at: Millis) -> [Statement; 2] {
    let Counts { objects, bytes, missing, wrong_size, wrong_hash, unreadable, orphans, repaired } = run.counts;
    let hashing = run.hashing.as_ref();
    let mut params: Vec<Value> = vec![
        (run.phase as i64).into(),
        run.after.as_str().into(),
        hashing.map(|hashing| hashing.object_key.as_str()).into(),
        hashing.is_some_and(|hashing| hashing.again).into(),
        hashing.map(|hashing| hashing.state.clone()).into(),
        at.into(),
        run.ended_at.into(),
    ];
    let counts = [objects, bytes, missing, wrong_size, wrong_hash, unreadable, orphans, repaired];
    params.extend(counts.map(|count| Value::from(count as i64)));
    params.push(location.into());
    [Statement::new(GUARD_STEP, vec![location.into(), run.run.into(), run.step.into()]), Statement::new(SAVE, params)]
}

/// Stops the run of a location, if one is under way.
pub fn stop(location: Uuid, at: Millis) -> Statement {
    Statement::new(STOP, vec![at.into(), at.into(), location.into()])
}
