//! What every test here shares: how servers start, and how much is asked of them.

use roadstead_testkit::{Launch, Seed};

/// Starts the binary under test.
pub(crate) fn launch() -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_roadstead"))
}

/// Whether the acceptance's numbers are asked for, on the release binary.
pub(crate) fn full() -> bool {
    std::env::var_os("ROADSTEAD_TEST_FULL").is_some()
}

/// The seed of this run, printed so that it can be repeated.
pub(crate) fn seed() -> Seed {
    let seed = Seed::from_environment();
    println!("ROADSTEAD_TEST_SEED={}", seed.0);
    seed
}
