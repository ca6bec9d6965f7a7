//! The project's own tasks: `cargo xtask ci` and its stages, each of them also a verb of its own.
//!
//! `ci` runs every stage in order and goes on after a failure, so that one run tells everything that is wrong. A stage
//! answers *passed*, *failed*, or *absent* (a tool or server it needs is not on this machine): absent is a skip by name
//! on a developer's machine and a failure where `CI=true`, because a gate that skips silently proves nothing.
//!
//! Deliberately absent: installing anything. That is `.ci/run`'s work; nothing here changes the machine.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command-line tool for developers: it prints, reads and writes the tree it is run in"
)]

mod bench;
mod ci;
mod clients;
mod conformance;
mod floors;
mod fuzz;
mod grounds;
mod lint;
mod mutants;
mod powerloss;
mod process;
mod servers;
mod stage;
mod storage;
mod suites;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::stage::{Context, Failure, STAGES};

/// Tasks of the Roadstead workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run every stage, or those named, and print a closing table.
    Ci {
        /// Run only this stage (repeatable).
        #[arg(long = "stage", value_name = "NAME")]
        stages: Vec<String>,
    },
    /// Push and pull with real clients.
    Clients(clients::Options),
    /// Run the tests of the workspace with what servers this machine has.
    Test {
        /// What `cargo test` is told, in place of `--workspace`: `-p roadstead-storage-cloud -- opening`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The servers that tests start, for people.
    #[command(subcommand)]
    Servers(servers::Servers),
    /// Apply each patch of mutants/, or those named, and expect its test to go red.
    Mutants {
        /// Names of patches, without `.patch`.
        names: Vec<String>,
    },
    /// Measure the release binary beside docker-registry; no part of `ci`.
    Bench(bench::Options),
    /// Kill, collect and verify for hours on the release binary; no part of `ci`.
    Soak {
        /// How often each test kills the server, or makes bucket and database fail.
        #[arg(long, default_value_t = 100)]
        rounds: u64,
        /// How long clients and collector work against each other, in seconds.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// Cut the power of a machine that runs the server, and verify; needs qemu; no part of `ci`.
    Powerloss {
        /// How often.
        #[arg(long, default_value_t = 20)]
        rounds: u64,
    },
    /// Measure lists, starts and commits at scale, and what logins cost, on the release binary, and print the numbers; no
    /// part of `ci`.
    Measure {
        /// Only what has this in its name: `page`, `started`, `snapshot`, `bearer`, `flood`.
        what: Option<String>,
        /// How large the database is made whose snapshot is taken, in MB.
        #[arg(long, default_value_t = 3000)]
        megabytes: u64,
    },
    /// Run the storage suite on every engine and write docs/storage.md.
    StorageTable,
    /// Run one stage: fmt, clippy, doc, floors, tidy, deny, release, ...
    #[command(external_subcommand)]
    Stage(Vec<String>),
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything passed.
fn carry_out(verb: Verb) -> Result<bool, Failure> {
    let mut context = Context::discover()?;
    if matches!(verb, Verb::Ci { .. }) {
        context.mutants_taken = Some(mutants::TAKEN_BY_THE_GATE);
    }
    let names = match verb {
        Verb::Ci { stages } if stages.is_empty() => STAGES.iter().map(|s| s.name.to_owned()).collect(),
        Verb::Ci { stages } => stages,
        Verb::Clients(told) => {
            context.clients = told;
            vec!["clients".to_owned()]
        }
        Verb::Test { arguments } => {
            context.test = arguments;
            vec!["test".to_owned()]
        }
        Verb::Servers(what) => return servers::run(&context, &what).map(|()| true),
        Verb::Mutants { names } => {
            context.mutants = names;
            vec!["mutants".to_owned()]
        }
        Verb::Bench(options) => return bench::run(&context, &options).map(|()| true),
        Verb::Soak { rounds, seconds } => return suites::soak(&context, rounds, seconds).map(|()| true),
        Verb::Powerloss { rounds } => return powerloss::powerloss(&context, rounds).map(|()| true),
        Verb::Measure { what, megabytes } => {
            return suites::measure(&context, what.as_deref().unwrap_or("measure::"), megabytes).map(|()| true);
        }
        Verb::StorageTable => return storage::write(&context).map(|()| true),
        Verb::Stage(words) => words,
    };
    ci::run(&context, &names)
}
