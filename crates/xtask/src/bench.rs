//! `cargo xtask bench`: the release binary beside Debian's `docker-registry`, on one machine, in one run.
//!
//! Each round starts both servers one after the other on empty directories, in alternating order, and drives the same
//! phases. What is told is the median of the rounds and the quotient of both; the absolute numbers are those of the
//! machine. Rates are also given per CPU-second of the server, which the load generator on the same cores disturbs
//! least. No part of the gate: it needs a quiet machine, and a slow one is no fault of the code.
//!
//! `--on s3` does the same with both over a bucket each of one kind of S3 server, ours with its metadata in PostgreSQL.

mod phases;
mod server;
mod stores;
mod table;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::process::which;
use crate::stage::{Context, Failure};
use crate::suites::release_binary;
use phases::Run;
use server::Kind;

/// Where the servers keep what they are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    /// Both in a directory.
    Disk,
    /// Both in a bucket of MinIO, through which no client is redirected; ours has its metadata in PostgreSQL.
    S3,
}

/// What `cargo xtask bench` may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the servers keep their data.
    #[arg(long, value_enum, default_value_t = On::Disk)]
    on: On,
    /// How often each server is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// How long each phase of requests takes, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Measure this binary in place of the release build.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Keep the data of both servers below this directory while they run, in place of the system's temporary one. The
    /// disk that it is on is what is measured.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only these phases (repeatable), by the beginning of their names.
    #[arg(long = "phase", value_name = "NAME")]
    phases: Vec<String>,
    /// Put the table into docs/benchmarks.md.
    #[arg(long, conflicts_with = "phases")]
    write: bool,
}

/// Measures, and prints the table.
pub(crate) fn run(context: &Context, options: &Options) -> Result<(), Failure> {
    let Some(peer) = which("docker-registry") else {
        return Err(Failure::new("docker-registry is not installed: apt-get install docker-registry"));
    };
    let ours = options.binary.clone().map_or_else(|| release_binary(context), Ok)?;
    let data = options.data.clone().unwrap_or_else(std::env::temp_dir);
    let material = phases::Material::new();
    let mut runs: Vec<(Kind, Run)> = Vec::new();
    for round in 0..options.rounds {
        // Whoever comes second may find the disk busier, or the machine warmer.
        let order = if round % 2 == 0 { [Kind::Peer, Kind::Ours] } else { [Kind::Ours, Kind::Peer] };
        for kind in order {
            let binary = if kind == Kind::Ours { &ours } else { &peer };
            println!("round {} of {}: {}", round + 1, options.rounds, kind.name());
            let mut server = server::start(kind, binary, options.on, &data)?;
            let run = phases::measure(&mut server, &material, options.seconds, &options.phases)?;
            runs.push((kind, run));
        }
    }
    let expected = table::expected(options.on);
    let table = table::markdown(expected, &runs, options.rounds, options.seconds, phases::disk(&data)?);
    println!("{table}");
    if options.write { table::write(&context.root.join("docs/benchmarks.md"), expected, &table) } else { Ok(()) }
}
