//! Operation ids: kept for a day, so that a retried commit happens once. Written by the engines themselves.

use super::sql;
use crate::{Millis, Statement};

sql! {
    PURGE = "DELETE FROM operation WHERE id IN (SELECT id FROM operation WHERE at < $1 ORDER BY at LIMIT $2)";
}

/// Forgets operations that began before `before`, the oldest `limit` of them.
pub fn purge(before: Millis, limit: i64) -> Statement {
    Statement::new(PURGE, vec![before.into(), limit.into()])
}
