//! Migrations of a fleet that is running.

use roadstead_metadata::{Freshness, Migration, Sql, Statement, migrate};

use crate::support;

/// What translation cannot say is said in PostgreSQL's own words.
#[tokio::test]
async fn a_migration_may_have_a_text_of_its_own() {
    let Some(sql) = support::engine().await else { return };
    let own = Migration::new(1, "own", &["NOT SQL"]).on_postgres(&["CREATE TABLE own (k BIGINT PRIMARY KEY, j JSONB)"]);
    migrate(&sql, &[own], 0).await.unwrap();
    let asked = Statement::new("SELECT count(*) FROM own", vec![]);
    assert_eq!(sql.query(Freshness::Latest, asked).await.unwrap()[0].integer(0).unwrap(), 0);
}

/// A running instance goes on while a newer one extends the schema under its prepared statements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_instance_goes_on_while_the_schema_is_extended() {
    const FIRST: Migration = Migration::new(1, "first", &["CREATE TABLE t (k BIGINT NOT NULL PRIMARY KEY)"]);
    const SECOND: Migration =
        Migration::new(2, "second", &["ALTER TABLE t ADD COLUMN v TEXT NOT NULL DEFAULT ''"]).beside(1);
    let Some(options) = support::options() else { return };
    let (older, newer) = (support::open(options.clone()).await, support::open(options).await);
    migrate(&older, &[FIRST], 0).await.unwrap();
    let ask = async || {
        let asked = Statement::new("SELECT count(*) FROM t", vec![]);
        older.query(Freshness::Latest, asked).await.unwrap()[0].integer(0).unwrap()
    };
    for k in 0..20i64 {
        if k == 10 {
            migrate(&newer, &[FIRST, SECOND], 0).await.unwrap();
        }
        let mut batch = roadstead_metadata::Batch::new(uuid::Uuid::now_v7(), 0);
        batch.push(Statement::new("INSERT INTO t (k) VALUES ($1)", vec![k.into()]));
        older.commit(batch).await.unwrap();
        assert_eq!(ask().await, k + 1);
    }
    migrate(&older, &[FIRST], 0).await.unwrap();
}
