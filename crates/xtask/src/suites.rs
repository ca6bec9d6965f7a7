//! The stages that compile and run: every test of the workspace, and the binary as it ships.

use std::path::{Path, PathBuf};

use crate::process::{capture, cargo, run, which};
use crate::stage::{Context, Failure, Outcome};
use crate::{grounds, servers};

/// All tests of all members, or those that were asked for; cargo's own closing lines stand in the output. What needs a
/// server that is absent is skipped, and the note says so.
pub(crate) fn test(context: &Context) -> Result<Outcome, Failure> {
    let absent: Vec<_> = grounds::absent().map(|known| known.name).collect();
    servers::list();
    if !absent.is_empty() && context.strict {
        return Ok(Outcome::Absent(absent.join(", ")));
    }
    let mut test = cargo(context, &["test", "--locked"]);
    match context.test.is_empty() {
        true => run(test.args(["--workspace", "--no-fail-fast"]))?,
        false => run(test.args(&context.test))?,
    }
    match absent.is_empty() {
        true => Ok(Outcome::Passed(String::new())),
        false => Ok(Outcome::Passed(format!("without {}: what needs them was skipped", absent.join(", ")))),
    }
}

pub(crate) fn release(context: &Context) -> Result<Outcome, Failure> {
    let size = std::fs::metadata(release_binary(context)?)?.len();
    Ok(Outcome::Passed(format!("{} MB", size / 1_000_000)))
}

/// Kills, corruption, overload and system calls, with the acceptance's numbers, on the release binary. Conformance is a
/// stage of its own.
pub(crate) fn faults(context: &Context) -> Result<Outcome, Failure> {
    if which("strace").is_none() {
        return Ok(Outcome::Absent("strace is not installed".to_owned()));
    }
    let binary = release_binary(context)?;
    // One after the other: each of them means to have the machine for itself.
    let alone = ["--skip", "conformance", "--skip", "failures::", "--test-threads=1", "--nocapture"];
    let alone = cargo_test_release(context, &binary, &alone)?;
    // These mostly wait for health to notice.
    let failures = cargo_test_release(context, &binary, &["failures::", "--test-threads=4", "--nocapture"])?;
    Ok(Outcome::Passed(format!("{} tests", alone + failures)))
}

/// The crash tests, the collector among its clients, a fleet that loses instances and trouble with bucket and database, for
/// as long as one is willing to wait. Not a stage: it takes hours where the gate has minutes.
pub(crate) fn soak(context: &Context, rounds: u64, seconds: u64) -> Result<(), Failure> {
    let binary = release_binary(context)?;
    let mut test = cargo(context, &["test", "--package", "roadstead", "--locked", "--test", "it", "--"]);
    test.args(["crash::", "collecting::", "fleet::", "troubles::", "--test-threads=1", "--nocapture"]);
    test.env("ROADSTEAD_TEST_BINARY", binary).env("ROADSTEAD_TEST_FULL", "1");
    test.env("ROADSTEAD_TEST_ROUNDS", rounds.to_string()).env("ROADSTEAD_TEST_SECONDS", seconds.to_string());
    run(&mut test)
}

/// What is measured and not judged. Not a stage: what a time may be depends on the machine.
pub(crate) fn measure(context: &Context, what: &str, megabytes: u64) -> Result<(), Failure> {
    let binary = release_binary(context)?;
    let mut test = cargo(context, &["test", "--package", "roadstead", "--locked", "--test", "it", "--"]);
    test.args([what, "--ignored", "--test-threads=1", "--nocapture"]);
    test.env("ROADSTEAD_TEST_BINARY", binary).env("ROADSTEAD_MEASURE_MB", megabytes.to_string());
    run(&mut test)
}

/// The release binary, built now if it is not up to date: later stages work on what ships, also when run alone.
pub(crate) fn release_binary(context: &Context) -> Result<PathBuf, Failure> {
    run(&mut cargo(context, &["build", "--release", "--locked", "--package", "roadstead"]))?;
    Ok(context.target.join("release").join("roadstead"))
}

/// The process tests with their full numbers on the release binary; the tests themselves stay a debug build. Answers how
/// many there were: a filter that selects nothing proves nothing.
pub(crate) fn cargo_test_release(context: &Context, binary: &Path, arguments: &[&str]) -> Result<usize, Failure> {
    let test = || cargo(context, &["test", "--package", "roadstead", "--locked", "--test", "it", "--"]);
    run(test().args(arguments).env("ROADSTEAD_TEST_BINARY", binary).env("ROADSTEAD_TEST_FULL", "1"))?;
    let listed = capture(test().arg("--list").args(arguments))?;
    match listed.lines().filter(|line| line.ends_with(": test")).count() {
        0 => Err(Failure::new(format!("no test of the binary matches {}", arguments.join(" ")))),
        tests => Ok(tests),
    }
}
