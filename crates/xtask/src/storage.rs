//! `docs/storage.md`: which engine keeps which clause of the storage suite, from a run of the suite on each.
//!
//! The stage fails when the page is not what a run makes it; `cargo xtask storage-table` writes it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::grounds::{absent, told};
use crate::process::{capture, cargo};
use crate::stage::{Context, Failure, Outcome};

/// An engine: its column, the package and the arguments of its tests, and what their names begin with.
const ENGINES: [(&str, &str, &str, &str); 4] = [
    ("filesystem", "roadstead-storage", "--lib", "filesystem::tests::"),
    ("memory", "roadstead-storage", "--lib", "memory::tests::"),
    ("s3 (s3s-fs 0.14)", "roadstead-storage-cloud", "--test=it", "conformance::on_s3s_fs::"),
    ("s3 (MinIO)", "roadstead-storage-cloud", "--test=it", "conformance::on_minio::"),
];
/// The one that the notes are about.
const PLAIN: &str = "s3 (s3s-fs 0.14)";

/// Clauses that ask less of a server that does not decide races between writers of one key.
const RACES: [&str; 3] =
    ["one_of_fifty_concurrent_writers_wins", "put_small_has_one_exclusive_winner", "racing_claims_have_one_winner"];
/// Clauses that ask less of a server that keeps objects as files.
const PREFIXES: [&str; 3] =
    ["a_key_below_another_key_works_or_is_refused", "absent_objects_are_not_found", "a_delete_may_be_repeated"];

const HEAD: &str = "\
# Storage engines

This page is generated: `cargo xtask storage-table` runs the storage suite (`crates/storage/src/suite/`) on every engine and
writes down what held; the gate fails when a run says something else. A clause is a test of its name.

";

const NOTES: &str = "
1. This server does not decide between two writers of one key that race: it looks whether a key is taken and writes later.
   The clause then asks that one who was told that it won is what is there, whole, and in the way of any later one. Keys of
   blobs are never used twice, so only two installations that claim one empty bucket in the same moment could meet.
2. This server keeps objects as files: a key that others lie below is a directory to it. The clause leaves those keys out; the
   registry makes none.

An engine that cannot extend a staged object passes the clauses of extending by having none to extend: memory and
filesystem can, S3 cannot, and keeps what comes in steps as one object each.
";

/// Fails when the page is not what a run makes it.
pub(crate) fn run(context: &Context) -> Result<Outcome, Failure> {
    let absent: Vec<_> = absent().filter(|known| ["s3s-fs", "minio"].contains(&known.name)).map(told).collect();
    if !absent.is_empty() {
        return Ok(Outcome::Absent(format!("not installed: {}", absent.join(", "))));
    }
    let page = page(context)?;
    match std::fs::read_to_string(path(context)).is_ok_and(|there| there == page) {
        true => Ok(Outcome::Passed(format!("{} engines", ENGINES.len()))),
        false => Err(Failure::new("docs/storage.md is not what the suite says; run: cargo xtask storage-table")),
    }
}

/// Writes the page.
pub(crate) fn write(context: &Context) -> Result<(), Failure> {
    Ok(std::fs::write(path(context), page(context)?)?)
}

fn path(context: &Context) -> PathBuf {
    context.root.join("docs/storage.md")
}

fn page(context: &Context) -> Result<String, Failure> {
    let clauses = clauses(&std::fs::read_to_string(context.root.join("crates/storage/src/suite.rs"))?);
    let kept = ENGINES.map(|engine| passed(context, engine));
    let kept: Vec<BTreeSet<String>> = kept.into_iter().collect::<Result<_, _>>()?;
    Ok(render(&clauses, &kept))
}

/// Room and name of every clause, in the order of the suite, from its source.
fn clauses(source: &str) -> Vec<(String, String)> {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let lines = source.lines().filter_map(|line| line.trim().split_once("::"));
    let lines = lines.filter(|(room, clause)| word(room) && word(clause));
    lines.map(|(room, clause)| (room.to_owned(), clause.to_owned())).collect()
}

/// The names of the tests that passed. One that fails fails the run.
fn passed(context: &Context, engine: (&str, &str, &str, &str)) -> Result<BTreeSet<String>, Failure> {
    let (_, package, target, prefix) = engine;
    let mut suite = cargo(context, &["test", "--locked", "--package", package, target, "--", prefix]);
    // A server that is absent is a failure and no test that passes.
    let output = capture(suite.env("CI", "true"))?;
    let passed = output.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... ok"));
    Ok(passed.filter_map(|test| test.strip_prefix(prefix)).map(str::to_owned).collect())
}

fn render(clauses: &[(String, String)], kept: &[BTreeSet<String>]) -> String {
    let mut page = HEAD.to_owned();
    let names: Vec<&str> = ENGINES.iter().map(|(name, ..)| *name).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(page, "| Part | Clause | {} |\n|---|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for (room, clause) in clauses {
        let _ = write!(page, "| {room} | {} |", clause.replace('_', " "));
        for ((name, ..), kept) in ENGINES.iter().zip(kept) {
            let note = match *name == PLAIN {
                true if RACES.contains(&clause.as_str()) => " (1)",
                true if PREFIXES.contains(&clause.as_str()) => " (2)",
                _ => "",
            };
            let _ = write!(page, " {}{note} |", if kept.contains(clause) { "yes" } else { "no" });
        }
        page.push('\n');
    }
    page + NOTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_hold_is_told() {
        let source = "macro_rules! x {\n  writing::one_thing\n  reading::another_thing\n}\nuse crate::Engine;\n";
        let clauses = clauses(source);
        assert_eq!(clauses.len(), 2, "{clauses:?}");
        let all: BTreeSet<String> = clauses.iter().map(|(_, clause)| clause.clone()).collect();
        let page = render(&clauses, &[all.clone(), all.clone(), BTreeSet::from(["one_thing".to_owned()]), all]);
        assert!(page.contains("| writing | one thing | yes | yes | yes | yes |"), "{page}");
        assert!(page.contains("| reading | another thing | yes | yes | no | yes |"), "{page}");
    }

    #[test]
    fn the_notes_are_about_clauses_that_there_are() {
        let suite = include_str!("../../storage/src/suite.rs");
        let clauses: Vec<String> = clauses(suite).into_iter().map(|(_, clause)| clause).collect();
        assert!(RACES.iter().chain(&PREFIXES).all(|noted| clauses.iter().any(|clause| clause == noted)));
        let page = include_str!("../../../docs/storage.md");
        for clause in &clauses {
            assert!(
                page.contains(&clause.replace('_', " ")),
                "{clause} is not in docs/storage.md: cargo xtask storage-table"
            );
        }
        assert_eq!(page.matches("| yes").count(), ENGINES.len() * clauses.len(), "docs/storage.md is not current");
    }
}
