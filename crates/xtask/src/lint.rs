//! The stages that only read: formatting, clippy, rustdoc, cargo-deny.

use crate::process::{cargo, run, which};
use crate::stage::{Context, Failure, Outcome};

pub(crate) fn fmt(context: &Context) -> Result<Outcome, Failure> {
    run(&mut cargo(context, &["fmt", "--all", "--check"]))?;
    // The fuzz targets are a workspace of their own.
    run(&mut cargo(context, &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    Ok(Outcome::Passed(String::new()))
}

pub(crate) fn clippy(context: &Context) -> Result<Outcome, Failure> {
    run(&mut cargo(context, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    Ok(Outcome::Passed(String::new()))
}

pub(crate) fn doc(context: &Context) -> Result<Outcome, Failure> {
    // Private items too: the module heads of a binary are read by the next engineer, and their links must hold.
    let arguments = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    run(cargo(context, &arguments).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Passed(String::new()))
}

/// Licences, banned crates and sources. Advisories are left out: they change without the tree changing, and need a
/// database that a build machine may not reach.
pub(crate) fn deny(context: &Context) -> Result<Outcome, Failure> {
    if which("cargo-deny").is_none() {
        return Ok(Outcome::Absent("cargo-deny is not installed".to_owned()));
    }
    run(&mut cargo(context, &["deny", "--locked", "check", "bans", "licenses", "sources"]))?;
    Ok(Outcome::Passed(String::new()))
}
