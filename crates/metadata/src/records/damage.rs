//! What scrub found wrong with the objects of a location.
//!
//! A damaged object is quarantined: the commit that records it removes its placement, so that it is not served, and it
//! keeps its key and its bytes, so that a person can look at it and a file put back from a backup is taken again. Only
//! when the blob has a whole copy at its location, or is gone, the object goes to the reaper. An orphan is an object that
//! no placement names: noted when it is first seen, and handed to the reaper a grace later. Its row stays for a while after
//! that, so that a push that has not committed yet cannot name what is being deleted.

use super::placement::{self, Placement};
use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement, Value};
use roadstead_oci::Digest;
use uuid::Uuid;

sql! {
    GUARD_PLACED = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM placement WHERE digest = $1 AND location_id = $2 AND object_key = $3)";
    RECORD = "INSERT INTO damage (location_id, object_key, digest, kind, found_at) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (location_id, object_key) DO UPDATE SET digest = excluded.digest, kind = excluded.kind \
        WHERE damage.kind <> 5";
    OWE = "INSERT INTO owed (location_id, digest, attempts, not_before, beat) VALUES ($1, $2, 0, $3, 0) \
        ON CONFLICT (location_id, digest) DO NOTHING";
    UNPLACE = "DELETE FROM placement WHERE digest = $1 AND location_id = $2 AND object_key = $3";
    GUARD_RECORDED = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM damage WHERE location_id = $1 AND object_key = $2 AND kind < 4)";
    GUARD_UNPLACED = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS \
        (SELECT 1 FROM placement WHERE digest = $1 AND location_id = $2)";
    DROP = "DELETE FROM damage WHERE location_id = $1 AND object_key IN ($2) AND kind = $3";
    DROP_ANY = "DELETE FROM damage WHERE location_id = $1 AND object_key = $2 AND kind < 4";
    UNHEALED = "SELECT d.object_key, d.digest, b.size, d.kind FROM damage d JOIN blob b ON b.digest = d.digest \
        WHERE d.location_id = $1 AND d.object_key > $2 AND (d.kind < 3 OR (d.kind = 4 AND d.found_at <= $3)) \
        AND NOT EXISTS (SELECT 1 FROM placement p WHERE p.digest = d.digest AND p.location_id = d.location_id) \
        ORDER BY d.object_key LIMIT $4";
    HEALED = "SELECT d.object_key, p.object_key, p.size, d.digest FROM damage d LEFT JOIN blob b ON b.digest = d.digest \
        LEFT JOIN placement p ON p.digest = d.digest AND p.location_id = d.location_id \
        WHERE d.location_id = $1 AND d.object_key > $2 AND d.kind <= 3 \
        AND (b.digest IS NULL OR p.object_key <> d.object_key) ORDER BY d.object_key LIMIT $3";
    REAP_HEALED = "INSERT INTO reap (location_id, object_key, attempts, not_before) \
        SELECT d.location_id, d.object_key, 0, $1 FROM damage d \
        WHERE d.location_id = $2 AND d.object_key IN ($3) AND d.kind <= 3 \
        AND NOT EXISTS (SELECT 1 FROM placement p WHERE p.location_id = d.location_id AND p.object_key = d.object_key) \
        AND (EXISTS (SELECT 1 FROM placement p WHERE p.digest = d.digest AND p.location_id = d.location_id) \
        OR NOT EXISTS (SELECT 1 FROM blob b WHERE b.digest = d.digest)) \
        ON CONFLICT (location_id, object_key) DO NOTHING";
    DROP_HEALED = "DELETE FROM damage WHERE location_id = $1 AND object_key IN ($2) AND kind <= 3 \
        AND NOT EXISTS (SELECT 1 FROM placement p WHERE p.location_id = damage.location_id AND p.object_key = damage.object_key) \
        AND (EXISTS (SELECT 1 FROM placement p WHERE p.digest = damage.digest AND p.location_id = damage.location_id) \
        OR NOT EXISTS (SELECT 1 FROM blob b WHERE b.digest = damage.digest))";
    KNOWN = "SELECT object_key FROM placement WHERE location_id = $1 AND object_key IN ($2) \
        UNION ALL SELECT object_key FROM reap WHERE location_id = $3 AND object_key IN ($4) \
        UNION ALL SELECT object_key FROM damage \
        WHERE location_id = $5 AND object_key IN ($6) AND (kind <> 4 OR found_at <= $7)";
    NOTE = "INSERT INTO damage (location_id, object_key, digest, kind, found_at) SELECT $1, $2, $3, 4, $4 \
        WHERE NOT EXISTS (SELECT 1 FROM placement WHERE location_id = $5 AND object_key = $6) \
        AND NOT EXISTS (SELECT 1 FROM reap WHERE location_id = $7 AND object_key = $8) \
        ON CONFLICT (location_id, object_key) DO UPDATE SET found_at = excluded.found_at \
        WHERE damage.kind = 4 AND excluded.found_at < damage.found_at";
    OF_KIND = "SELECT object_key FROM damage WHERE location_id = $1 AND kind = $2 AND found_at <= $3 \
        ORDER BY found_at, object_key LIMIT $4";
    DUE = "SELECT d.object_key FROM damage d WHERE d.location_id = $1 AND d.kind = 4 AND d.found_at <= $2 \
        AND d.digest IS NOT NULL AND NOT EXISTS (SELECT 1 FROM owed o WHERE o.location_id = d.location_id AND o.digest = d.digest) \
        ORDER BY d.found_at, d.object_key LIMIT $3";
    REAP_ORPHANS = "INSERT INTO reap (location_id, object_key, attempts, not_before) \
        SELECT d.location_id, d.object_key, 0, $1 FROM damage d \
        WHERE d.location_id = $2 AND d.object_key IN ($3) AND d.kind = 4 AND d.found_at <= $4 \
        AND NOT EXISTS (SELECT 1 FROM placement p WHERE p.location_id = d.location_id AND p.object_key = d.object_key) \
        ON CONFLICT (location_id, object_key) DO NOTHING";
    BURY_ORPHANS = "UPDATE damage SET kind = 5, found_at = $1 \
        WHERE location_id = $2 AND object_key IN ($3) AND kind = 4 AND found_at <= $4 \
        AND NOT EXISTS (SELECT 1 FROM placement p WHERE p.location_id = damage.location_id AND p.object_key = damage.object_key)";
    PUSHED = "SELECT d.object_key FROM damage d WHERE d.location_id = $1 AND d.kind = 4 \
        AND EXISTS (SELECT 1 FROM placement p WHERE p.location_id = d.location_id AND p.object_key = d.object_key) \
        ORDER BY d.found_at, d.object_key LIMIT $2";
    FORGET_UNREADABLE = "DELETE FROM damage WHERE location_id = $1 AND kind = 3";
    FORGET_NAMELESS = "DELETE FROM damage WHERE location_id = $1 AND kind = 4 AND digest IS NULL";
    ORPHANS = "SELECT count(*) FROM damage WHERE location_id = $1 AND kind = 4 AND digest IS NOT NULL";
    COUNTS = "SELECT kind, count(*) FROM damage WHERE location_id = $1 GROUP BY kind";
    PAGE = "SELECT object_key, digest, kind, found_at FROM damage \
        WHERE location_id = $1 AND object_key > $2 AND kind <= 3 ORDER BY object_key LIMIT $3";
}

/// What is wrong with an object. The numbers are part of the stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A placement named it, and it is not there.
    Missing = 0,
    /// It has not the size of its blob.
    WrongSize = 1,
    /// Its bytes are not those of its blob.
    WrongHash = 2,
    /// Its store answers, but not with this object. Its placement stays: nothing is known about the bytes.
    Unreadable = 3,
    /// No placement names it.
    Orphan = 4,
    /// It was an orphan and the reaper has it.
    Reaped = 5,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 6] =
        [Kind::Missing, Kind::WrongSize, Kind::WrongHash, Kind::Unreadable, Kind::Orphan, Kind::Reaped];

    /// Its name in the admin API, metrics and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Missing => "missing",
            Kind::WrongSize => "wrong_size",
            Kind::WrongHash => "wrong_hash",
            Kind::Unreadable => "unreadable",
            Kind::Orphan => "orphan",
            Kind::Reaped => "reaped",
        }
    }

    fn stored(row: &Row, index: usize) -> Result<Self, QueryError> {
        let code = row.integer(index)?;
        let kind = usize::try_from(code).ok().and_then(|code| Self::ALL.get(code).copied());
        kind.ok_or_else(|| QueryError::Failed(format!("kind of damage {code} is not known")))
    }
}

/// Records what is wrong with the object of a placement, which is removed, and marks the debt. Conflicts when the
/// placement is gone or names another object by now.
pub fn quarantine(bad: &Placement, kind: Kind, at: Millis) -> [Statement; 4] {
    let Placement { digest, location, object_key, .. } = bad;
    let key = || Value::from(object_key.as_str());
    [
        Statement::new(GUARD_PLACED, vec![digest.into(), (*location).into(), key()]),
        record(bad, kind, at),
        Statement::new(OWE, vec![(*location).into(), digest.into(), at.into()]),
        Statement::new(UNPLACE, vec![digest.into(), (*location).into(), key()]),
    ]
}

/// Records what is wrong with an object and leaves it where it is.
pub fn record(bad: &Placement, kind: Kind, at: Millis) -> Statement {
    let Placement { digest, location, object_key, .. } = bad;
    let place = vec![(*location).into(), object_key.as_str().into()];
    Statement::new(RECORD, [place, vec![digest.into(), (kind as i64).into(), at.into()]].concat())
}

/// An object in quarantine is what its blob lacks at its location: it is its copy again. Conflicts when
/// there is another one by now, when the blob is gone, and when the object is the reaper's.
pub fn adopt(whole: &Placement, at: Millis) -> Vec<Statement> {
    let Placement { digest, location, object_key, .. } = whole;
    let place = || vec![Value::from(*location), Value::from(object_key.as_str())];
    let mut statements = vec![
        Statement::new(GUARD_RECORDED, place()),
        Statement::new(GUARD_UNPLACED, vec![digest.into(), (*location).into()]),
    ];
    statements.extend(placement::put(whole, at));
    statements.push(Statement::new(DROP_ANY, place()));
    statements
}

/// A new object is the copy that its blob lacks at its location. Conflicts when there is another one by now, and when
/// the blob is gone.
pub fn replace(copy: &Placement, at: Millis) -> Vec<Statement> {
    let Placement { digest, location, .. } = copy;
    let unplaced = Statement::new(GUARD_UNPLACED, vec![digest.into(), (*location).into()]);
    [unplaced].into_iter().chain(placement::put(copy, at)).collect()
}

/// An object to look at again.
#[derive(Debug, Clone)]
pub struct Unhealed {
    /// It, as the copy that it may be.
    pub object: Placement,
    /// What was wrong with it.
    pub kind: Kind,
}

/// Objects, by key after `after`, whose blob has no copy at their location: those in quarantine, and orphans first
/// seen no later than `before`.
pub async fn unhealed(
    sql: &dyn Sql,
    location: Uuid,
    after: &str,
    before: Millis,
    limit: i64,
) -> Result<Vec<Unhealed>, QueryError> {
    let params = vec![location.into(), after.into(), before.into(), limit.into()];
    let rows = sql.query(Freshness::Latest, Statement::new(UNHEALED, params)).await?;
    let unhealed = |row: &Row| {
        let (object_key, digest, size) = (row.text(0)?.to_owned(), row.digest(1)?, row.integer(2)? as u64);
        Ok(Unhealed { object: Placement { digest, location, object_key, size }, kind: Kind::stored(row, 3)? })
    };
    rows.iter().map(unhealed).collect()
}

/// A damaged object whose blob has another copy at its location, or is gone.
#[derive(Debug, Clone)]
pub struct Healed {
    /// The damaged object.
    pub object_key: String,
    /// The copy that takes its place; `None` when the blob is gone.
    pub by: Option<Placement>,
}

/// Damaged objects that are needed no more, by key after `after`.
pub async fn healed(sql: &dyn Sql, location: Uuid, after: &str, limit: i64) -> Result<Vec<Healed>, QueryError> {
    let statement = Statement::new(HEALED, vec![location.into(), after.into(), limit.into()]);
    let rows = sql.query(Freshness::Latest, statement).await?;
    let healed = |row: &Row| {
        let copy = || {
            let (object_key, size, digest) = (row.text(1)?.to_owned(), row.integer(2)? as u64, row.digest(3)?);
            Ok::<_, QueryError>(Placement { digest, location, object_key, size })
        };
        let by = if row.is_null(1) { None } else { Some(copy()?) };
        Ok(Healed { object_key: row.text(0)?.to_owned(), by })
    };
    rows.iter().map(healed).collect()
}

/// Hands damaged objects that are needed no more to the reaper; those that still are stay.
pub fn settle(location: Uuid, keys: &[String], at: Millis) -> [Statement; 2] {
    [
        Statement::new(REAP_HEALED, vec![at.into(), location.into(), list(keys)]),
        Statement::new(DROP_HEALED, vec![location.into(), list(keys)]),
    ]
}

/// Which of `keys` are known: named by a placement, doomed, or recorded here. An orphan that was first seen after `now`,
/// by a clock that has been set back since, is to be noted anew.
pub async fn known(sql: &dyn Sql, location: Uuid, keys: &[String], now: Millis) -> Result<Vec<String>, QueryError> {
    let (place, keys) = (|| Value::from(location), || list(keys));
    let statement = Statement::new(KNOWN, vec![place(), keys(), place(), keys(), place(), keys(), now.into()]);
    let rows = sql.query(Freshness::Latest, statement).await?;
    rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}

/// Notes an orphan that was seen; one that is noted already was first seen at the earlier of both times. `digest`: the blob that its key tells of.
pub fn note(location: Uuid, object_key: &str, digest: Option<&Digest>, at: Millis) -> Statement {
    let place = || vec![Value::from(location), Value::from(object_key)];
    let what = vec![digest.into(), at.into()];
    Statement::new(NOTE, [place(), what, place(), place()].concat())
}

/// Orphans first seen no later than `before` that nobody may still want: their blob is not owed to the location. What
/// tells no digest is not of our making, and stays.
pub async fn due(sql: &dyn Sql, location: Uuid, before: Millis, limit: i64) -> Result<Vec<String>, QueryError> {
    keys(sql, Statement::new(DUE, vec![location.into(), before.into(), limit.into()])).await
}

/// Hands orphans first seen no later than `before` to the reaper, but for those that a push has named since.
pub fn reap_orphans(location: Uuid, keys: &[String], before: Millis, at: Millis) -> [Statement; 2] {
    let params = || vec![at.into(), location.into(), list(keys), before.into()];
    [Statement::new(REAP_ORPHANS, params()), Statement::new(BURY_ORPHANS, params())]
}

/// Orphans that a push has named since they were seen.
pub async fn pushed(sql: &dyn Sql, location: Uuid, limit: i64) -> Result<Vec<String>, QueryError> {
    keys(sql, Statement::new(PUSHED, vec![location.into(), limit.into()])).await
}

/// Objects recorded as `kind` no later than `before`.
pub async fn of_kind(
    sql: &dyn Sql,
    location: Uuid,
    kind: Kind,
    before: Millis,
    limit: i64,
) -> Result<Vec<String>, QueryError> {
    let params = vec![location.into(), (kind as i64).into(), before.into(), limit.into()];
    keys(sql, Statement::new(OF_KIND, params)).await
}

/// Forgets objects that are recorded as `kind`.
pub fn forget(location: Uuid, object_keys: &[String], kind: Kind) -> Statement {
    Statement::new(DROP, vec![location.into(), list(object_keys), (kind as i64).into()])
}

/// Forgets which objects could not be read: they are about to be tried again.
pub fn forget_unreadable(location: Uuid) -> Statement {
    Statement::new(FORGET_UNREADABLE, vec![location.into()])
}

/// Forgets orphans that tell no digest: they stay where they are, and are about to be looked for again.
pub fn forget_nameless(location: Uuid) -> Statement {
    Statement::new(FORGET_NAMELESS, vec![location.into()])
}

/// How many orphans of a location could go to the reaper some time.
pub async fn orphans(sql: &dyn Sql, location: Uuid) -> Result<u64, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(ORPHANS, vec![location.into()])).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.integer(0)? as u64))
}

/// How many objects of a location are recorded, by kind.
pub async fn counts(sql: &dyn Sql, location: Uuid) -> Result<Vec<(Kind, u64)>, QueryError> {
    let rows = sql.query(Freshness::Local, Statement::new(COUNTS, vec![location.into()])).await?;
    rows.iter().map(|row| Ok((Kind::stored(row, 0)?, row.integer(1)? as u64))).collect()
}

/// A damaged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Its key.
    pub object_key: String,
    /// The blob that it should be.
    pub digest: Digest,
    /// What is wrong with it.
    pub kind: Kind,
    /// Since when that is known.
    pub found_at: Millis,
}

/// Damaged objects of a location, by key after `after`. Orphans are none.
pub async fn page(sql: &dyn Sql, location: Uuid, after: &str, limit: i64) -> Result<Vec<Damaged>, QueryError> {
    let statement = Statement::new(PAGE, vec![location.into(), after.into(), limit.into()]);
    let rows = sql.query(Freshness::Latest, statement).await?;
    let damaged = |row: &Row| {
        let (object_key, digest) = (row.text(0)?.to_owned(), row.digest(1)?);
        Ok(Damaged { object_key, digest, kind: Kind::stored(row, 2)?, found_at: row.integer(3)? })
    };
    rows.iter().map(damaged).collect()
}

async fn keys(sql: &dyn Sql, statement: Statement) -> Result<Vec<String>, QueryError> {
    let rows = sql.query(Freshness::Latest, statement).await?;
    rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}

fn list(keys: &[String]) -> Value {
    Value::List(keys.iter().map(|key| key.as_str().into()).collect())
}
