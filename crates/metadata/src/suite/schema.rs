//! Clauses on the schema: migrations through the engine's own commits.

use std::sync::Arc;

use super::{AT, TABLES, number};
use crate::schema::MIGRATIONS;
use crate::{MigrateError, Migration, Sql, migrate};

const VERSIONS: &str = "SELECT count(*) FROM schema_version";

/// Instances that start at the same moment apply each migration once; a program that knows less is refused.
pub async fn migrations_apply_once(sql: Arc<dyn Sql>) {
    let starts = (0..4).map(|_| {
        let sql = sql.clone();
        tokio::spawn(async move { migrate(&*sql, TABLES, AT).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    assert_eq!(number(&*sql, VERSIONS, []).await, TABLES.len() as i64);
    let refused = migrate(&*sql, &[], AT).await;
    assert!(matches!(refused, Err(MigrateError::Newer { found: 1, known: 0 })), "{refused:?}");
}

/// Beside a schema that a newer program only extended an older one goes on; beside any other it is refused.
pub async fn an_older_program_runs_beside_what_only_adds(sql: Arc<dyn Sql>) {
    const MORE: Migration = Migration::new(2, "more", &["CREATE TABLE more (k BIGINT NOT NULL PRIMARY KEY)"]).beside(1);
    const LESS: Migration = Migration::new(3, "less", &["DROP TABLE job"]);
    let [one] = TABLES else { panic!("one migration") };
    migrate(&*sql, &[*one, MORE], AT).await.unwrap();
    migrate(&*sql, &[*one], AT).await.unwrap();
    assert_eq!(number(&*sql, VERSIONS, []).await, 2);
    migrate(&*sql, &[*one, MORE, LESS], AT).await.unwrap();
    let refused = migrate(&*sql, &[*one, MORE], AT).await;
    assert!(matches!(refused, Err(MigrateError::Newer { found: 3, known: 2 })), "{refused:?}");
}

/// The product's own schema applies, and applying it again changes nothing.
pub async fn the_schema_applies_twice(sql: Arc<dyn Sql>) {
    migrate(&*sql, MIGRATIONS, AT).await.unwrap();
    migrate(&*sql, MIGRATIONS, AT).await.unwrap();
    assert_eq!(number(&*sql, VERSIONS, []).await, MIGRATIONS.len() as i64);
}
