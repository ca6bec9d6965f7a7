//! What of the shared SQL text is said differently here: data definition, which is SQLite's.
//!
//! `BLOB` is `BYTEA`; `TEXT` sorts by its bytes, as keys and pages do everywhere, only with `COLLATE "C"`; tables are
//! never `WITHOUT ROWID`. Types are written in capitals, so that a column may be called `blob`. Everything else is the same
//! on both, or belongs into a text of its own ([`roadstead_metadata::Migration`]). Lists: [`roadstead_metadata::lists`].

use std::borrow::Cow;

/// Whether the text defines data: it cannot be prepared before those before it were carried out.
pub(crate) fn defines(sql: &str) -> bool {
    ["CREATE ", "ALTER ", "DROP "].iter().any(|verb| sql.starts_with(verb))
}

/// The text on PostgreSQL.
pub(crate) fn translated(sql: Cow<'_, str>) -> Cow<'_, str> {
    if !defines(&sql) {
        return sql;
    }
    let sql = sql.trim_end().strip_suffix("WITHOUT ROWID").unwrap_or(&sql);
    let mut text = String::with_capacity(sql.len() + 64);
    let (mut rest, mut quoted) = (sql, false);
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = match is_word(first) {
            true => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, after) = rest.split_at(length);
        quoted ^= first == '\'';
        text.push_str(match word {
            "BLOB" if !quoted => "BYTEA",
            "TEXT" if !quoted => "TEXT COLLATE \"C\"",
            word => word,
        });
        rest = after;
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> String {
        translated(sql.into()).into_owned()
    }

    #[test]
    fn types_are_translated_and_names_are_not() {
        assert_eq!(
            of("CREATE TABLE blob (blob BLOB NOT NULL PRIMARY KEY, text TEXT, n BIGINT DEFAULT 0) WITHOUT ROWID"),
            "CREATE TABLE blob (blob BYTEA NOT NULL PRIMARY KEY, text TEXT COLLATE \"C\", n BIGINT DEFAULT 0) "
        );
        assert_eq!(of("ALTER TABLE t ADD COLUMN a TEXT"), "ALTER TABLE t ADD COLUMN a TEXT COLLATE \"C\"");
        assert_eq!(
            of("CREATE TABLE t (a TEXT DEFAULT 'TEXT or BLOB')"),
            "CREATE TABLE t (a TEXT COLLATE \"C\" DEFAULT 'TEXT or BLOB')"
        );
    }

    #[test]
    fn what_defines_nothing_is_left_as_it_is() {
        let sql = "INSERT INTO t(a) SELECT 'TEXT' WHERE BLOB";
        assert_eq!(of(sql), sql);
    }
}
