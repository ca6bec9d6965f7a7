use roadstead_metadata::{base, records};

use crate::{ask, database};

/// Statements over whole tables that hold a handful of rows, or that nobody waits for.
const WHOLE_TABLES: &[&str] = &[
    // A location per store that is configured.
    "FROM location ORDER BY name",
    // As many as processes run, and kinds of work.
    "FROM instance ORDER BY id",
    "FROM lease ORDER BY name",
    // One that signs, and those before it whose tokens may still be valid.
    "FROM signing_key ORDER BY id",
    "FROM signing_key WHERE",
    "UPDATE signing_key",
    // What was made with a few tokens, of which an owner has a bounded number.
    "FROM access_token t WHERE t.parent_id IN",
    // For the status of the worker, once per run.
    "SELECT count(*) FROM reap",
];

fn every(check: impl Fn(&str, &str) -> Option<String>) {
    let mut all = records::all_sql();
    all.push(("TAKE_OPERATION", base::TAKE_OPERATION));
    all.push(("purge_operations", base::purge_operations(0, 0).sql));
    all.push(("old_operations", base::old_operations(0, 0).sql));
    assert!(all.len() > 40, "only {} statements: where are the others?", all.len());
    let faults: Vec<String> =
        all.iter().filter_map(|(name, sql)| Some(format!("{name}: {}\n  {sql}", check(name, sql)?))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_statement_prepares() {
    let database = database();
    every(|_, sql| database.prepare(sql).err().map(|e| e.to_string()));
}

/// Engines bind by position, so parameters first appear in order and none twice.
#[test]
fn parameters_appear_once_and_in_order() {
    every(|_, sql| {
        let number = |piece: &str| piece.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<usize>().ok();
        let found: Vec<_> = sql.split('$').skip(1).map(number).collect();
        let due: Vec<_> = (1..=found.len()).map(Some).collect();
        (found != due).then(|| format!("parameters {found:?}"))
    });
}

/// What a replica computes itself differs from what another computes.
#[test]
fn nothing_depends_on_the_replica() {
    every(|_, sql| {
        let lower = sql.to_ascii_lowercase();
        let unordered = lower.contains(" limit ") && !lower.contains(" order by ");
        let own = [
            "random",
            "current_",
            "now(",
            "date(",
            "datetime(",
            "strftime(",
            "julianday(",
            "unixepoch(",
            "rowid",
            "changes(",
        ];
        let own = own.iter().find(|word| lower.contains(**word)).map(|word| format!("uses {word}"));
        own.or_else(|| unordered.then(|| "LIMIT without ORDER BY".to_owned()))
    });
}

/// The cost of a statement is that of what it touches, never that of the table.
#[test]
fn no_statement_reads_a_whole_table() {
    let database = database();
    every(|_, sql| {
        if WHOLE_TABLES.iter().any(|known| sql.contains(known)) {
            return None;
        }
        let plan = ask(&database, &format!("EXPLAIN QUERY PLAN {sql}"));
        // What recursion has found so far is no table, nor is what a limit has let through.
        let cheap = ["SCAN CONSTANT ROW", "SCAN made", "SCAN up", "SCAN living"];
        let slow = |step: &&Vec<String>| step[3].starts_with("SCAN ") && !cheap.contains(&&*step[3]);
        let sorts = |step: &&Vec<String>| step[3].contains("TEMP B-TREE");
        plan.iter().find(|step| slow(step) || sorts(step)).map(|step| step[3].clone())
    });
}

/// Nor is it that of a repository: one that knows its repository knows more than that, too.
#[test]
fn no_statement_reads_a_whole_repository() {
    let database = database();
    every(|_, sql| {
        // A new repository has no rows yet: SQLite plans to look for some that would wait for it.
        // One that goes has lost them.
        if sql.starts_with("INSERT INTO repository ") || sql.starts_with("DELETE FROM repository ") {
            return None;
        }
        let plan = ask(&database, &format!("EXPLAIN QUERY PLAN {sql}"));
        plan.iter().find(|step| step[3].ends_with("(repository_id=?)")).map(|step| step[3].clone())
    });
}

/// Of many referrers, those of a rare type are found without a look at the others.
#[test]
fn referrers_of_a_type_are_found_by_their_type() {
    let database = database();
    let of_type: Vec<_> = records::all_sql().into_iter().filter(|(name, _)| name.ends_with("_OF_TYPE")).collect();
    assert_eq!(of_type.len(), 2);
    for (name, sql) in of_type {
        let plan = ask(&database, &format!("EXPLAIN QUERY PLAN {sql}"));
        assert!(plan.iter().any(|step| step[3].contains("referrer_by_type")), "{name}: {plan:?}");
    }
}
