//! The suites of the distribution specification's own project: pinned, built by Go, run on a fresh server each.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use roadstead_testkit::Launch;

use crate::process::{last_lines, output};
use crate::stage::Failure;

const MODULE: &str = "github.com/opencontainers/distribution-spec/conformance";

/// One way to run one suite.
pub(super) struct Suite {
    pub(super) name: &'static str,
    kind: Kind,
    /// A commit of the suite's repository.
    commit: &'static str,
    environment: &'static [(&'static str, &'static str)],
    /// Passed, failed, skipped, disabled: exactly.
    expected: [usize; 4],
}

impl Suite {
    /// What it finds, for the closing table.
    pub(super) fn counts(&self) -> String {
        let [passed, failed, skipped, _] = self.expected;
        format!("{}: {passed} passed, {failed} failed, {skipped} skipped", self.name)
    }
}

/// What kind of thing the module is.
#[derive(Clone, Copy)]
enum Kind {
    /// A program; writes `junit.xml` into `OCI_RESULTS_DIR`.
    Program,
    /// A Go test (Ginkgo); prints its counts.
    GoTest,
}

const NEWEST: &str = "967efdc079b91785ad18c77cc4f8991a47feefbf";
const RELEASED: &str = "a139cc423184af6078077b9b7ee336eddbd03f8f";

pub(super) const SUITES: &[Suite] = &[
    Suite {
        name: "newest-all-switches",
        kind: Kind::Program,
        commit: NEWEST,
        environment: &[
            ("OCI_VERSION", "dev"),
            ("OCI_API_BLOBS_DIGEST_HEADER", "true"),
            ("OCI_API_MANIFESTS_DIGEST_HEADER", "true"),
            ("OCI_API_BLOBS_UPLOAD_CANCEL", "true"),
            ("OCI_API_MANIFESTS_TAG_PARAM", "true"),
            ("OCI_DATA_SPARSE", "true"),
        ],
        expected: [1030, 0, 2, 0],
    },
    Suite {
        name: "newest-default",
        kind: Kind::Program,
        commit: NEWEST,
        environment: &[("OCI_VERSION", "1.1")],
        expected: [858, 0, 2, 2],
    },
    Suite {
        name: "released-v1.1.1",
        kind: Kind::GoTest,
        commit: RELEASED,
        environment: &[
            ("OCI_TEST_PULL", "1"),
            ("OCI_TEST_PUSH", "1"),
            ("OCI_TEST_CONTENT_DISCOVERY", "1"),
            ("OCI_TEST_CONTENT_MANAGEMENT", "1"),
            ("OCI_HIDE_SKIPPED_WORKFLOWS", "0"),
        ],
        expected: [74, 0, 5, 0],
    },
];

/// What came of building a suite.
pub(super) enum Built {
    Program(PathBuf),
    /// The module proxy's own words.
    Refused(String),
}

/// Builds a suite through the module proxy, into `folder`.
pub(super) fn build(suite: &Suite, folder: &Path) -> Result<Built, Failure> {
    let module = format!("{MODULE}@{}", suite.commit);
    let built = match suite.kind {
        Kind::Program => go(folder, &["install", &module])?,
        Kind::GoTest => {
            // A scratch module that requires it, because a test cannot be installed.
            std::fs::write(folder.join("go.mod"), "module scratch\n\ngo 1.24\n")?;
            let required = go(folder, &["get", &module])?;
            if required.status.success() { go(folder, &["test", "-c", "-o", "conformance", MODULE])? } else { required }
        }
    };
    if built.status.success() {
        return Ok(Built::Program(folder.join("conformance")));
    }
    let said = String::from_utf8_lossy(&built.stderr);
    // An answer that the proxy will give again tomorrow. A time-out, or a pin that nobody knows, is our own failure.
    let unserved = ["403 Forbidden", "410 Gone"];
    match unserved.iter().any(|words| said.contains(words)) {
        true => Ok(Built::Refused(last_lines(&said, 4))),
        false => Err(Failure::new(format!("{}: {}", suite.name, last_lines(&said, 8)))),
    }
}

fn go(folder: &Path, arguments: &[&str]) -> Result<Output, Failure> {
    output(Command::new("go").current_dir(folder).env("GOBIN", folder).env("GOFLAGS", "-mod=mod").args(arguments))
}

/// Runs a suite against a server of its own and asserts its counts.
pub(super) fn judge(suite: &Suite, program: &Path, launch: &Launch, folder: &Path) -> Result<(), Failure> {
    let report = folder.join("junit.xml");
    if report.exists() {
        // The last run's, which must not judge this one.
        std::fs::remove_file(&report)?;
    }
    let server = launch.start();
    let host = server.addr().to_string();
    let mut command = Command::new(program);
    command.current_dir(folder).envs(suite.environment.iter().copied());
    command.env("OCI_REGISTRY", &host).env("OCI_TLS", "disabled").env("OCI_RESULTS_DIR", folder);
    command.env("OCI_REPO1", "conformance/first").env("OCI_REPO2", "conformance/second");
    command.env("OCI_ROOT_URL", format!("http://{host}")).env("OCI_NAMESPACE", "conformance/first");
    command.env("OCI_CROSSMOUNT_NAMESPACE", "conformance/second");
    let ran = output(&mut command)?;
    let found = match suite.kind {
        Kind::Program => junit_counts(&std::fs::read_to_string(&report)?),
        Kind::GoTest => ginkgo_counts(&String::from_utf8_lossy(&ran.stdout)),
    };
    if found == Some(suite.expected) && ran.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}: expected passed, failed, skipped, disabled {:?}, found {found:?}, ended with {}; the report is in {}",
        suite.name,
        suite.expected,
        ran.status,
        folder.display()
    )))
}

/// Passed, failed, skipped, disabled, of the root element of a JUnit report.
fn junit_counts(report: &str) -> Option<[usize; 4]> {
    let root = report.split_once("<testsuites")?.1.split('>').next()?;
    let attribute =
        |name: &str| -> Option<usize> { root.split_once(&format!(" {name}=\""))?.1.split('"').next()?.parse().ok() };
    let tests = attribute("tests")?;
    let failed = attribute("failures")? + attribute("errors").unwrap_or(0);
    let (skipped, disabled) = (attribute("skipped").unwrap_or(0), attribute("disabled").unwrap_or(0));
    Some([tests.checked_sub(failed + skipped + disabled)?, failed, skipped, disabled])
}

/// The same of Ginkgo's closing line, `SUCCESS! -- 74 Passed | 0 Failed | 0 Pending | 5 Skipped`.
fn ginkgo_counts(said: &str) -> Option<[usize; 4]> {
    let line = said.lines().rev().find(|line| line.contains(" Passed") && line.contains(" Skipped"))?;
    let plain: String = line.split('\u{1b}').map(|part| part.split_once('m').map_or(part, |(_, rest)| rest)).collect();
    let counts = plain.rsplit("-- ").next()?;
    let count = |word: &str| counts.split('|').find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok());
    Some([count("Passed")?, count("Failed")?, count("Skipped")?, count("Pending")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_a_junit_report() {
        let report = r#"<?xml version="1.0"?><testsuites tests="862" failures="0" skipped="2" disabled="2"><testsuite tests="9">"#;
        assert_eq!(junit_counts(report), Some([858, 0, 2, 2]));
        assert_eq!(junit_counts(r#"<testsuites tests="3" failures="1" errors="1">"#), Some([1, 2, 0, 0]));
        assert_eq!(junit_counts("<html>"), None);
    }

    #[test]
    fn counts_are_read_from_the_closing_line_with_and_without_colours() {
        let plain =
            "Ran 74 of 79 Specs in 0.9 seconds\nSUCCESS! -- 74 Passed | 0 Failed | 0 Pending | 5 Skipped\nPASS\n";
        assert_eq!(ginkgo_counts(plain), Some([74, 0, 5, 0]));
        let coloured = "SUCCESS! -- \u{1b}[32m73 Passed\u{1b}[0m | \u{1b}[31m1 Failed\u{1b}[0m | 0 Pending | 5 Skipped";
        assert_eq!(ginkgo_counts(coloured), Some([73, 1, 5, 0]));
    }

    #[test]
    fn every_switch_is_on_in_the_first_suite() {
        assert_eq!(SUITES[0].environment.iter().filter(|(_, value)| *value == "true").count(), 5);
    }
}
