//! Every statement of every record on PostgreSQL: understood, of types that values fit, and planned over an index.

use roadstead_metadata::{
    Batch, CommitError, Freshness, QueryError, Sql, Statement, Value, base, migrate, records, schema,
};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::support;

/// Statements over whole tables that hold a handful of rows, or that nobody waits for.
const WHOLE_TABLES: &[&str] = &[
    "FROM location ORDER BY name",
    "SELECT count(*) FROM reap",
    // All that a location has, for the status of a worker.
    "SELECT count(*) FROM placement WHERE location_id",
    "SELECT kind, count(*) FROM damage",
];

/// Tables with a row for each location, each instance or each kind of background work, or for all.
const SMALL: [&str; 6] = [
    "Seq Scan on location",
    "Seq Scan on scrub",
    "Seq Scan on instance",
    "Seq Scan on lease",
    "Seq Scan on access_state",
    "Seq Scan on signing_key",
];

/// Rows enough that a plan over a whole table would be dear. The manifests of one repository stand beside those of many.
const FILL: &str = "
    CREATE FUNCTION id(i INT) RETURNS BYTEA IMMUTABLE LANGUAGE SQL AS $$ SELECT decode(lpad(to_hex(i), 32, '0'), 'hex') $$;
    CREATE FUNCTION dg(i INT) RETURNS BYTEA IMMUTABLE LANGUAGE SQL AS
        $$ SELECT '\\x01'::bytea || sha256(i::text::bytea) $$;
    INSERT INTO namespace SELECT id(i), 'ns' || i, 1, i FROM generate_series(1, 500) i;
    INSERT INTO repository SELECT id(i), id(1 + i % 500), 'ns' || i % 500 || '/r' || i, i FROM generate_series(1, 4000) i;
    INSERT INTO location SELECT id(i), 'l' || i, 0, i FROM generate_series(1, 3) i;
    INSERT INTO blob SELECT dg(i), i, i, CASE WHEN i % 100 = 0 THEN i END FROM generate_series(1, 20000) i;
    INSERT INTO repository_blob SELECT id(1 + i % 4000), dg(i), i, i, CASE WHEN i % 100 = 0 THEN i END
        FROM generate_series(1, 20000) i;
    INSERT INTO repository_blob SELECT id(1), dg(i), i, i, NULL FROM generate_series(1, 8000) i ON CONFLICT DO NOTHING;
    INSERT INTO manifest_content SELECT dg(i), i, 0, '\\x00' FROM generate_series(1, 20000) i;
    INSERT INTO manifest SELECT id(1 + i % 4000), dg(i), 'm', i, dg(i + 1), i, CASE WHEN i % 100 = 0 THEN i END
        FROM generate_series(1, 20000) i;
    INSERT INTO manifest SELECT id(1), dg(i), 'm', i, NULL, i, NULL FROM generate_series(1, 8000) i ON CONFLICT DO NOTHING;
    INSERT INTO manifest_blob SELECT repository_id, digest, digest FROM manifest
        JOIN repository_blob USING (repository_id, digest);
    INSERT INTO manifest_child SELECT repository_id, digest, digest FROM manifest;
    INSERT INTO referrer SELECT repository_id, dg(1 + size::int % 50), digest, 'a' || size % 7, '{}' FROM manifest;
    INSERT INTO tag SELECT repository_id, 't' || size, digest, 1, size FROM manifest;
    INSERT INTO tag_history SELECT repository_id, 't' || size, 1, digest, size FROM manifest;
    INSERT INTO placement SELECT dg(i), id(1 + i % 3), 'k' || i, i, i FROM generate_series(1, 20000) i;
    INSERT INTO owed SELECT id(1 + i % 3), dg(i), 0, i, NULL, 0 FROM generate_series(1, 10000) i;
    INSERT INTO reap SELECT id(1 + i % 3), 'k' || i, 0, i FROM generate_series(1, 10000) i;
    INSERT INTO upload SELECT id(i), 'ns/r', id(1), 1, i, '', '[]', i, i, CASE WHEN i % 2 = 0 THEN i END
        FROM generate_series(1, 10000) i;
    INSERT INTO damage SELECT id(1 + i % 3), 'k' || i, dg(i), i % 6, i FROM generate_series(1, 10000) i;
    INSERT INTO operation SELECT id(i), i FROM generate_series(1, 10000) i;
    UPDATE namespace SET kind = 2 WHERE id >= id(251);
    UPDATE repository SET visibility = 1 WHERE id >= id(3600);
    INSERT INTO account SELECT id(i), 'h', CASE WHEN i = 1 THEN 1 ELSE 0 END, 1, i, i FROM generate_series(1, 250) i;
    INSERT INTO namespace SELECT id(i), 'u' || i, 1, i FROM generate_series(10001, 14000) i;
    INSERT INTO account SELECT id(i), 'h', 0, 1, i, i FROM generate_series(10001, 14000) i;
    INSERT INTO organization_member SELECT id(251 + i % 250), id(10001 + i), i % 20 / 19, i FROM generate_series(0, 3999) i;
    INSERT INTO team SELECT id(20000 + i), id(251 + i % 250), 't' || i, i FROM generate_series(0, 999) i;
    INSERT INTO team_member SELECT id(20000 + i % 250), id(10001 + i), id(251 + i % 250), i FROM generate_series(0, 3999) i;
    INSERT INTO robot SELECT id(30000 + i), id(1 + i % 500), 'b' || i, i FROM generate_series(0, 1999) i;
    INSERT INTO access_token SELECT id(i), id(10001 + i), NULL, 'n', '', NULL, i, NULL, NULL FROM generate_series(0, 3999) i;
    INSERT INTO access_token SELECT id(5000 + i), NULL, id(30000 + i), 'n', '', NULL, i, NULL, NULL
        FROM generate_series(0, 1999) i;
    INSERT INTO repository_grant SELECT id(1 + i % 4000), id(20000 + i % 1000), id(20000 + i % 1000), NULL, NULL, 'r' || i, 2, i
        FROM generate_series(0, 3999) i;
    INSERT INTO repository_grant SELECT id(1 + i % 4000), id(10001 + i), NULL, id(10001 + i), NULL, 'r' || i, 2, i
        FROM generate_series(0, 3999) i;
    INSERT INTO namespace_grant SELECT id(1 + i % 500), id(10001 + i), NULL, id(10001 + i), NULL, 2, i
        FROM generate_series(0, 3999) i;
    INSERT INTO refresh_token SELECT id(i), id(10001 + i % 4000), NULL, NULL, 0, '', 's', '', i, i, NULL
        FROM generate_series(1, 10000) i;
    INSERT INTO setting SELECT 's' || i, 'v', i FROM generate_series(1, 2000) i;
    ANALYZE";

fn all() -> Vec<(&'static str, &'static str)> {
    let mut all = records::all_sql();
    all.push(("TAKE_OPERATION", base::TAKE_OPERATION));
    all.push(("purge_operations", base::purge_operations(0, 0).sql));
    all.push(("old_operations", base::old_operations(0, 0).sql));
    all
}

/// As the engine sends it: what stands alone in `IN ($n)` is a list.
fn sent(sql: &str) -> String {
    (1..=40).fold(sql.to_owned(), |text, n| text.replace(&format!(" IN (${n})"), &format!(" = ANY(${n})")))
}

async fn database() -> Option<(impl Sql, Client)> {
    let options = support::options()?;
    let url = options.url.clone();
    let sql = support::open(options).await;
    migrate(&sql, schema::MIGRATIONS, 0).await.unwrap();
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    Some((sql, client))
}

/// Each is carried out by the engine, with values of the types that the server infers for it.
#[tokio::test]
async fn every_statement_runs() {
    let Some((sql, client)) = database().await else { return };
    let mut faults = Vec::new();
    for (name, text) in all() {
        let prepared = match client.prepare(&sent(text)).await {
            Ok(prepared) => prepared,
            Err(error) => {
                faults.push(format!("{name}: {:?}\n  {text}", error.as_db_error()));
                continue;
            }
        };
        let values: Vec<Value> = prepared.params().iter().map(value).collect();
        let outcome = if text.starts_with("SELECT") {
            sql.query(Freshness::Latest, Statement::new(text, values)).await.map(|_| ()).map_err(|e| e.to_string())
        } else {
            let mut batch = Batch::new(uuid::Uuid::now_v7(), 0);
            batch.push(Statement::new(text, values));
            match sql.commit(batch).await {
                // Nothing refers to anything here.
                Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        };
        faults.extend(outcome.err().map(|error| format!("{name}: {error}")));
        let strange = |ty: &&Type| ![Type::INT8, Type::INT4, Type::TEXT, Type::BYTEA].contains(ty);
        let columns: Vec<&Type> = prepared.columns().iter().map(|column| column.type_()).filter(strange).collect();
        faults.extend(columns.first().map(|ty| format!("{name}: a column is {ty}\n  {text}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn value(ty: &Type) -> Value {
    match *ty {
        Type::INT8 => Value::Integer(1),
        Type::TEXT => "x".into(),
        Type::BYTEA => vec![1; 16].into(),
        Type::TEXT_ARRAY => Value::List(vec!["x".into()]),
        Type::BYTEA_ARRAY => Value::List(vec![vec![1; 16].into(), vec![2; 33].into()]),
        ref other => panic!("a parameter is {other}"),
    }
}

/// The cost of a statement is that of what it touches, never that of the table: in a plan for any values, which is what a
/// prepared statement comes to, and in one for these.
#[tokio::test]
async fn every_statement_is_planned_over_an_index() {
    let Some((_sql, client)) = database().await else { return };
    client.batch_execute(FILL).await.unwrap();
    let mut faults = Vec::new();
    let mut looked = 0;
    for (name, text) in all() {
        if WHOLE_TABLES.iter().any(|known| text.contains(known)) {
            continue;
        }
        let types = client.prepare(&sent(text)).await.unwrap().params().to_vec();
        let literals: Vec<&str> = types.iter().map(literal).collect();
        let arguments = if literals.is_empty() { String::new() } else { format!("({})", literals.join(", ")) };
        for mode in ["force_generic_plan", "force_custom_plan"] {
            let explain = format!(
                "DEALLOCATE ALL; SET plan_cache_mode = {mode}; PREPARE it AS {}; EXPLAIN EXECUTE it{arguments}",
                sent(text)
            );
            let plan = client.simple_query(&explain).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
            let lines = plan.iter().filter_map(|line| match line {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            let plan = lines.collect::<Vec<_>>().join("\n");
            looked += 1;
            let large = SMALL.iter().fold(plan.clone(), |plan, small| plan.replace(small, ""));
            // For any limit a tenth of the table is expected; for those that there are, a few hundred rows, it never
            // comes to that plan.
            let purges = ["purge_operations", "PURGE_REFRESH_TOKENS"].contains(&name);
            let unlimited = purges && mode == "force_generic_plan";
            if large.contains("Seq Scan") && !unlimited {
                faults.push(format!("{name}, {mode}:\n{text}\n{plan}\n"));
            }
        }
    }
    assert!(looked > 100, "only {looked} plans");
    assert!(faults.is_empty(), "{} of {looked}:\n{}", faults.len(), faults.join("\n"));
}

fn literal(ty: &Type) -> &'static str {
    match *ty {
        Type::INT8 => "5",
        Type::TEXT => "'t5'",
        Type::BYTEA => "id(5)",
        Type::TEXT_ARRAY => "ARRAY['k5', 'k6']",
        Type::BYTEA_ARRAY => "ARRAY[dg(5), dg(6), dg(7)]",
        _ => "NULL",
    }
}

/// A batch with a value that does not fit its parameter is not carried out without that statement.
#[tokio::test]
async fn a_value_that_does_not_fit_is_refused_whole() {
    let Some((sql, _)) = database().await else { return };
    let put = "INSERT INTO setting (name, value, updated_at) VALUES ($1, $2, $3)";
    let good = |name: &str| Statement::new(put, vec![name.into(), "v".into(), 1.into()]);
    for wrong in [vec!["b".into(), "v".into(), "now".into()], vec!["b".into(), 5.into(), 1.into()], vec!["b".into()]] {
        let mut batch = Batch::new(uuid::Uuid::now_v7(), 0);
        batch.extend([good("a"), Statement::new(put, wrong), good("c")]);
        let outcome = sql.commit(batch).await;
        assert!(matches!(outcome, Err(CommitError::Failed(_))), "{outcome:?}");
    }
    let asked = Statement::new("SELECT value FROM setting WHERE name = $1", vec![5.into()]);
    let answer = sql.query(Freshness::Latest, asked).await;
    assert!(matches!(answer, Err(QueryError::Failed(_))), "{answer:?}");
    let rows = sql.query(Freshness::Latest, Statement::new("SELECT name FROM setting", vec![])).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");
}
