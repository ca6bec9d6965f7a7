#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;

fn list(values: &[i64]) -> Value {
    Value::List(values.iter().map(|v| Value::Integer(*v)).collect())
}

fn expanded(sql: &'static str, params: Vec<Value>) -> (String, Vec<Value>) {
    let (text, params) = expand(Statement::new(sql, params)).unwrap();
    (text.into_owned(), params)
}

fn refused(sql: &'static str, params: Vec<Value>) -> ListError {
    expand(Statement::new(sql, params)).unwrap_err()
}

#[test]
fn spreads_a_list_and_renumbers_what_follows() {
    let (text, params) =
        expanded("SELECT 1 WHERE a = $1 AND b IN ($2) AND c = $3", vec![7.into(), list(&[1, 2, 3]), "x".into()]);
    assert_eq!(text, "SELECT 1 WHERE a = $1 AND b IN ($2, $3, $4) AND c = $5");
    assert_eq!(params, [7.into(), 1.into(), 2.into(), 3.into(), "x".into()]);
}

#[test]
fn lists_of_many_lengths_are_few_texts() {
    let spread = |count: usize| expanded("SELECT 1 WHERE a IN ($1)", vec![Value::List(vec![7.into(); count])]);
    let texts: std::collections::BTreeSet<_> = (1..=1_000).map(|count| spread(count).0).collect();
    assert_eq!(texts.len(), 20);
    for count in 1..=5_000 {
        let slots = slots(count);
        assert!(slots >= count && 2 * slots <= 3 * count, "{count}: {slots}");
    }
    assert_eq!(expanded("SELECT 1 WHERE a IN ($1)", vec![list(&[1, 2, 3, 4, 5])]).1[4..], [5.into(), 5.into()]);
}

#[test]
fn an_empty_list_takes_no_parameter() {
    let (text, params) = expanded("SELECT 1 WHERE a in ( $1 ) AND b = $2", vec![list(&[]), 5.into()]);
    assert_eq!(text, "SELECT 1 WHERE a in ( SELECT NULL WHERE 0 ) AND b = $1");
    assert_eq!(params, [5.into()]);
}

#[test]
fn text_in_quotes_and_comments_is_no_parameter() {
    let sql = "SELECT '$9 '' IN ($8)', \"$7\" -- $6 '\n /* $5 -- ' */ WHERE a IN ($1)";
    let (text, params) = expanded(sql, vec![list(&[1, 2])]);
    assert_eq!(text, sql.replace("($1)", "($1, $2)"));
    assert_eq!(params.len(), 2);
}

#[test]
fn a_statement_without_lists_is_left_alone() {
    let sql = "SELECT $2, $1";
    let (text, params) = expand(Statement::new(sql, vec![1.into(), 2.into()])).unwrap();
    assert!(matches!(text, Cow::Borrowed(same) if same == sql));
    assert_eq!(params, [1.into(), 2.into()]);
}

#[test]
fn faults_of_the_caller_are_named() {
    assert_eq!(refused("SELECT $1", vec![list(&[1])]), ListError::Misplaced(1));
    assert_eq!(refused("SELECT min($1)", vec![list(&[1])]), ListError::Misplaced(1));
    assert_eq!(refused("SELECT margin($1)", vec![list(&[1])]), ListError::Misplaced(1));
    assert_eq!(refused("SELECT 1 WHERE a IN ($1, $2)", vec![list(&[1]), 2.into()]), ListError::Misplaced(1));
    assert_eq!(refused("SELECT 1 WHERE a IN ($1)", vec![Value::List(vec![list(&[1])])]), ListError::Nested(1));
    assert_eq!(refused("SELECT 1 WHERE a IN ($2)", vec![list(&[1])]), ListError::Order { expected: 1, found: 2 });
    assert_eq!(
        refused("SELECT 1 WHERE a IN ($1)", vec![list(&[1]), 2.into()]),
        ListError::Count { given: 2, wanted: 1 }
    );
    assert_eq!(refused("SELECT $1, $2", vec![1.into()]), ListError::Count { given: 1, wanted: 2 });
}

#[test]
fn the_limit_of_parameters_is_exact() {
    let sql = "SELECT 1 WHERE a IN ($1) AND b = $2";
    let of = |count: usize| vec![Value::List(vec![Value::Null; count]), Value::Null];
    assert_eq!(expanded(sql, of(SQLITE_PARAMETERS - 1)).1.len(), SQLITE_PARAMETERS);
    assert_eq!(refused(sql, of(SQLITE_PARAMETERS)), ListError::TooMany { count: SQLITE_PARAMETERS + 1 });
}

/// A table of the numbers 0 to 19 and one NULL.
fn numbers() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE n(v BIGINT); INSERT INTO n VALUES (NULL)").unwrap();
    for v in 0..20 {
        connection.execute("INSERT INTO n VALUES ($1)", [v]).unwrap();
    }
    connection
}

fn values(connection: &Connection, sql: &'static str, params: Vec<Value>) -> Vec<Option<i64>> {
    let (text, params) = expand(Statement::new(sql, params)).unwrap();
    let mut prepared = connection.prepare(&text).unwrap();
    prepared.query_map(rusqlite::params_from_iter(&params), |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn an_empty_list_matches_nothing_and_its_opposite_everything() {
    let connection = numbers();
    assert_eq!(values(&connection, "SELECT v FROM n WHERE v IN ($1)", vec![list(&[])]), []);
    assert_eq!(values(&connection, "SELECT v FROM n WHERE v NOT IN ($1)", vec![list(&[])]).len(), 21);
}

proptest! {
    #[test]
    fn selects_what_the_lists_say(
        from in 0i64..20, these in prop::collection::vec(0i64..24, 0..30), those in prop::collection::vec(0i64..24, 0..30), not in 0i64..20,
    ) {
        let sql = "SELECT v FROM n WHERE v >= $1 AND v IN ($2) AND v NOT IN ($3) AND v <> $4 ORDER BY v";
        let found = values(&numbers(), sql, vec![from.into(), list(&these), list(&those), not.into()]);
        let wanted: Vec<_> = (0..20)
            .filter(|v| *v >= from && these.contains(v) && !those.contains(v) && *v != not)
            .map(Some)
            .collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn any_text_is_expanded_or_refused(text in "([$'\"()/*-]|IN |\\$[0-9]{1,3}|\\PC|é){0,40}", count in 0usize..4) {
        let sql: &'static str = Box::leak(text.into_boxed_str());
        let _ = expand(Statement::new(sql, vec![list(&[1, 2]); count]));
    }
}
