//! The header of a patch: which invariant it breaks, and the test that must notice.

use std::path::{Path, PathBuf};

use crate::stage::Failure;

/// A patch file, its header read.
#[derive(Debug)]
pub(super) struct Patch {
    /// File name without `.patch`.
    pub(super) name: String,
    pub(super) file: PathBuf,
    /// The guarantee it breaks, in words.
    pub(super) invariant: String,
    /// The command that must fail, as written: `cargo test -p CRATE ...`.
    pub(super) test: String,
    /// The first file it changes.
    pub(super) changes: String,
}

impl Patch {
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file)?;
        Self::parse(file, &text).map_err(|why| Failure::new(format!("{}: {why}", file.display())))
    }

    fn parse(file: &Path, text: &str) -> Result<Self, String> {
        let header = |key: &str| {
            let lines = text.lines().take_while(|line| line.starts_with('#'));
            let mut values = lines.filter_map(|line| line.strip_prefix("# ")?.strip_prefix(key)?.strip_prefix(':'));
            let value = values.next().map(str::trim).filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or_else(|| format!("no header line \"# {key}: ...\""))
        };
        let (invariant, test) = (header("invariant")?, header("test")?);
        if !test.starts_with("cargo test -p ") {
            return Err(format!("the test must read \"cargo test -p CRATE ...\", found {test:?}"));
        }
        let changes = text.lines().find_map(|line| line.strip_prefix("--- a/")).ok_or("no diff below the header")?;
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, file: file.to_owned(), invariant, test, changes: changes.to_owned() })
    }

    /// What follows `cargo test` in the test command.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &str> {
        self.test.split_whitespace().skip(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "--- a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n-a\n+b\n";

    fn parse(header: &str) -> Result<Patch, String> {
        Patch::parse(Path::new("mutants/publish-early.patch"), &format!("{header}{DIFF}"))
    }

    #[test]
    fn a_header_is_read() {
        let patch = parse("# invariant: 2, published only whole\n# test: cargo test -p roadstead-storage --test it\n");
        let patch = patch.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(patch.name, "publish-early");
        assert_eq!(patch.invariant, "2, published only whole");
        assert_eq!(patch.changes, "x.rs");
        assert_eq!(patch.arguments().collect::<Vec<_>>(), ["-p", "roadstead-storage", "--test", "it"]);
    }

    #[test]
    fn a_patch_without_its_header_or_diff_is_refused() {
        assert!(parse("# invariant: 2\n").is_err_and(|why| why.contains("# test:")));
        assert!(parse("# test: cargo test -p a\n").is_err_and(|why| why.contains("# invariant:")));
        assert!(parse("# invariant:\n# test: cargo test -p a\n").is_err());
        assert!(Patch::parse(Path::new("a.patch"), "# invariant: 2\n# test: cargo test -p a\n").is_err());
    }

    #[test]
    fn a_test_is_one_crates_tests_and_not_any_command() {
        assert!(parse("# invariant: 2\n# test: rm -r x\n").is_err());
        assert!(parse("# invariant: 2\n# test: cargo test --workspace\n").is_err());
    }

    #[test]
    fn the_diff_is_not_searched_for_headers() {
        assert!(parse("# invariant: 2\n--- text\n# test: cargo test -p a\n").is_err());
    }
}
