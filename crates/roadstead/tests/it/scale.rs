//! What every test here shares: how servers start, and how much is asked of them.

use std::process::Command;
use std::time::Duration;

use roadstead_testkit::{Launch, Seed};

/// Starts the binary under test.
pub(crate) fn launch() -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_roadstead"))
}

/// The binary under test, as an operator types it.
pub(crate) fn program() -> Command {
    roadstead_testkit::program(env!("CARGO_BIN_EXE_roadstead"))
}

/// Whether the acceptance's numbers are asked for, on the release binary.
pub(crate) fn full() -> bool {
    std::env::var_os("ROADSTEAD_TEST_FULL").is_some()
}

/// How often a test kills and starts again: few times, the acceptance's number, or what `cargo xtask soak` asks for.
pub(crate) fn rounds(few: u64, acceptance: u64) -> u64 {
    given("ROADSTEAD_TEST_ROUNDS").unwrap_or(if full() { acceptance } else { few })
}

/// How long a test keeps up its load, chosen in the same way.
pub(crate) fn load(few_seconds: u64, acceptance: u64) -> Duration {
    Duration::from_secs(given("ROADSTEAD_TEST_SECONDS").unwrap_or(if full() { acceptance } else { few_seconds }))
}

fn given(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// The seed of this run, printed so that it can be repeated.
pub(crate) fn seed() -> Seed {
    let seed = Seed::from_environment();
    println!("ROADSTEAD_TEST_SEED={}", seed.0);
    seed
}
