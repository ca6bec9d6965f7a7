//! The stages that compile and run: every test of the workspace, and the binary as it ships.

use std::path::PathBuf;

use crate::process::{cargo, run};
use crate::stage::{Context, Failure, Outcome};

/// All tests of all members; cargo's own closing lines stand in the output.
pub(crate) fn test(context: &Context) -> Result<Outcome, Failure> {
    run(&mut cargo(context, &["test", "--workspace", "--locked", "--no-fail-fast"]))?;
    Ok(Outcome::Passed(String::new()))
}

pub(crate) fn release(context: &Context) -> Result<Outcome, Failure> {
    let binary = release_binary(context)?;
    let size = std::fs::metadata(&binary)?.len();
    Ok(Outcome::Passed(format!("{} MB", size / 1_000_000)))
}

/// The release binary, built now if it is not up to date: later stages work on what ships, also when run alone.
pub(crate) fn release_binary(context: &Context) -> Result<PathBuf, Failure> {
    run(&mut cargo(context, &["build", "--release", "--locked", "--package", "roadstead"]))?;
    Ok(context.target.join("release").join("roadstead"))
}
