//! Clauses on values: what is put in comes back, of the same kind.

use std::sync::Arc;

use super::{ask, commit, say};
use crate::{Sql, Value};

const PUT: &str = "INSERT INTO content(k, bytes, words) VALUES ($1, $2, $3)";
const GET: &str = "SELECT k, bytes, words FROM content WHERE k = $1";

/// Puts a row and expects the same row back.
async fn round_trip(sql: &dyn Sql, k: i64, bytes: Value, words: Value) {
    commit(sql, [say(PUT, [k.into(), bytes.clone(), words.clone()])]).await;
    let rows = ask(sql, GET, [k.into()]).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].0, [k.into(), bytes, words]);
}

/// Bytes of every value and length come back, and are found again by value.
pub async fn blobs_come_back(sql: Arc<dyn Sql>) {
    let every: Vec<u8> = (0..=255).collect();
    let all = [every.clone(), vec![], vec![0], vec![0; 1000], b"text".to_vec(), b"\xff\xfe\0\x01".to_vec()];
    for (k, bytes) in (0..).zip(all) {
        round_trip(&*sql, k, Value::Blob(bytes), Value::Null).await;
    }
    let found = ask(&*sql, "SELECT k FROM content WHERE bytes = $1", [Value::Blob(every)]).await;
    assert_eq!(found[0].integer(0).unwrap(), 0);
}

/// Integers come back over the whole range.
pub async fn integers_come_back(sql: Arc<dyn Sql>) {
    for k in [0, 1, -1, i64::MAX, i64::MIN, i64::MAX - 1, 1 << 53, (1 << 53) + 1, i64::from(i32::MAX) + 1] {
        round_trip(&*sql, k, Value::Null, Value::Null).await;
    }
    let ordered = ask(&*sql, "SELECT k FROM content ORDER BY k", []).await;
    assert_eq!(ordered[0].integer(0).unwrap(), i64::MIN);
    assert_eq!(ordered.last().unwrap().integer(0).unwrap(), i64::MAX);
}

/// Text comes back as it was: every plane of Unicode, no normalization, no trimming, no interpretation.
pub async fn text_comes_back(sql: Arc<dyn Sql>) {
    let planes: String = (0..=16u32).filter_map(|plane| char::from_u32(plane * 0x1_0000 + 0x0101)).collect();
    let texts = [
        &planes,
        "e\u{301} \u{e9}",
        "\u{feff}bom",
        "  spaces\t\r\n ",
        "it's \"quoted\" \\ %_ $1 ?1",
        "123",
        "1e5",
        "NULL",
        "{\"json\": [1, 2.0]}",
    ];
    for (k, text) in (0..).zip(texts) {
        round_trip(&*sql, k, Value::Null, text.into()).await;
    }
    let text = "SELECT count(*) FROM content WHERE words = $1";
    assert_eq!(ask(&*sql, text, ["\u{e9} \u{e9}".into()]).await[0].integer(0).unwrap(), 0);
    assert_eq!(ask(&*sql, text, [planes.into()]).await[0].integer(0).unwrap(), 1);
}

/// Nothing, no bytes and no text are three things.
pub async fn empty_is_not_null(sql: Arc<dyn Sql>) {
    round_trip(&*sql, 1, Value::Null, Value::Null).await;
    round_trip(&*sql, 2, Value::Blob(vec![]), Value::Text(String::new())).await;
    let nulls = ask(&*sql, "SELECT k FROM content WHERE bytes IS NULL AND words IS NULL", []).await;
    assert_eq!(super::integers(&nulls), [1]);
    assert!(nulls[0].is_null(1) && ask(&*sql, GET, [1.into()]).await[0].is_null(2));
}
