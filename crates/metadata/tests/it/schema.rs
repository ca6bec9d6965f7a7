use crate::{ask, database};

fn tables() -> Vec<String> {
    let names = ask(&database(), "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
    names.into_iter().map(|row| row[0].clone()).collect()
}

/// PostgreSQL replicates rows by key, and `rowid` is not portable: every table names its key, of columns that are
/// never NULL.
#[test]
fn every_table_has_a_key_without_null() {
    for table in tables() {
        let columns = ask(&database(), &format!("SELECT name, \"notnull\", pk FROM pragma_table_info('{table}')"));
        assert!(columns.iter().any(|column| column[2] != "0"), "{table} has no primary key");
        for column in columns {
            assert!(column[2] == "0" || column[1] == "1", "{table}.{} is of the key and may be NULL", column[0]);
        }
    }
}

/// Types both engines read alike, and no key that SQLite would turn into its `rowid`.
#[test]
fn columns_are_of_the_three_types() {
    for table in tables() {
        for column in ask(&database(), &format!("SELECT name, type FROM pragma_table_info('{table}')")) {
            assert!(matches!(&*column[1], "BIGINT" | "TEXT" | "BLOB"), "{table}.{} is {}", column[0], column[1]);
        }
    }
}

/// References whose parent goes only by an operator's hand, and not often enough to pay for an index on each write.
const UNINDEXED: &[(&str, &str)] = &[("upload", "location_id")];

/// Deleting a parent looks for its children; without an index on the reference that is a scan of the whole table.
#[test]
fn every_reference_is_indexed() {
    let database = database();
    for table in tables() {
        let indexes: Vec<Vec<String>> = ask(&database, &format!("SELECT name FROM pragma_index_list('{table}')"))
            .iter()
            .map(|index| ask(&database, &format!("SELECT name FROM pragma_index_info('{}') ORDER BY seqno", index[0])))
            .map(|columns| columns.into_iter().map(|column| column[0].clone()).collect())
            .collect();
        let references = ask(&database, &format!("SELECT id, \"from\" FROM pragma_foreign_key_list('{table}')"));
        let mut ids: Vec<_> = references.iter().map(|row| row[0].clone()).collect();
        ids.dedup();
        for id in ids {
            let columns: Vec<_> = references.iter().filter(|row| row[0] == id).map(|row| row[1].clone()).collect();
            let covered = indexes.iter().any(|index| {
                index.len() >= columns.len() && index[..columns.len()].iter().all(|column| columns.contains(column))
            });
            let excused = UNINDEXED.contains(&(table.as_str(), columns.join(", ").as_str()));
            assert!(covered || excused, "{table}({}) is a reference without an index", columns.join(", "));
        }
    }
}
