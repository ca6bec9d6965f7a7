//! `roadstead version`.

use super::{Exit, print};

/// Prints the version, as text or as `{"version":"..."}`.
pub(super) fn run(json: bool) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        print(&format!("{}\n", serde_json::json!({ "version": version })))
    } else {
        print(&format!("roadstead {version}\n"))
    }
}
