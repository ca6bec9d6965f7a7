//! What a stage is, and the table of all of them in the order in which they run.

use std::fmt;
use std::path::PathBuf;

use cargo_metadata::MetadataCommand;

use crate::{clients, conformance, floors, fuzz, lint, mutants, storage, suites, tidy};

/// One stage of the gate.
pub(crate) struct Stage {
    /// Its name: the verb, the argument of `--stage`, the row in the closing table.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) run: fn(&Context) -> Result<Outcome, Failure>,
}

/// Cheap and likely to fail first; what needs the release binary after `release`.
pub(crate) const STAGES: &[Stage] = &[
    Stage { name: "fmt", run: lint::fmt },
    Stage { name: "tidy", run: tidy::run },
    Stage { name: "floors", run: floors::run },
    Stage { name: "deny", run: lint::deny },
    Stage { name: "clippy", run: lint::clippy },
    Stage { name: "doc", run: lint::doc },
    Stage { name: "test", run: suites::test },
    Stage { name: "storage", run: storage::run },
    Stage { name: "release", run: suites::release },
    Stage { name: "conformance", run: conformance::run },
    Stage { name: "clients", run: clients::run },
    Stage { name: "faults", run: suites::faults },
    Stage { name: "fuzz", run: fuzz::run },
    Stage { name: "mutants", run: mutants::run },
];

/// How a stage that did not fail ended.
pub(crate) enum Outcome {
    /// Everything it asserts holds; the note (may be empty) stands in the closing table.
    Passed(String),
    /// A tool or server it needs is absent; names it.
    Absent(String),
}

/// Why a stage failed, in words for the person who reads the closing table.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Where the gate runs.
pub(crate) struct Context {
    /// The workspace's root directory.
    pub(crate) root: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
    /// The members of the workspace and what they depend on.
    pub(crate) metadata: cargo_metadata::Metadata,
    /// `CI=true`: an absent tool is a failure.
    pub(crate) strict: bool,
    /// What the stage `clients` was told.
    pub(crate) clients: clients::Options,
    /// What the stage `test` was told to run; nothing means the whole workspace.
    pub(crate) test: Vec<String>,
    /// The patches that the stage `mutants` was told to apply; none means all.
    pub(crate) mutants: Vec<String>,
    /// How many of them it takes, others for each commit; none means all.
    pub(crate) mutants_taken: Option<usize>,
}

impl Context {
    /// Asks cargo where the workspace is, so that every verb works from any folder inside it.
    pub(crate) fn discover() -> Result<Self, Failure> {
        let metadata =
            MetadataCommand::new().no_deps().exec().map_err(|e| Failure::new(format!("cargo metadata: {e}")))?;
        Ok(Self {
            root: metadata.workspace_root.clone().into_std_path_buf(),
            target: metadata.target_directory.clone().into_std_path_buf(),
            strict: std::env::var("CI").is_ok_and(|v| v == "true"),
            metadata,
            clients: clients::Options::default(),
            test: Vec::new(),
            mutants: Vec::new(),
            mutants_taken: None,
        })
    }
}
