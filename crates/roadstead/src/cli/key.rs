//! `roadstead key`: the keys that tokens are signed with.

use serde_json::json;

use super::Exit;
use super::administer::{To, cell, post};

/// What the command line asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    to: To,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Sign with a new key from now on; tokens of the old ones stay good until they end
    Rotate {
        /// Refuse the other keys and all tokens that they signed at once, because somebody may have stolen them
        #[arg(long)]
        now: bool,
    },
}

/// Does it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { to, verb: Verb::Rotate { now } } = arguments;
    to.once(Ok(post("/keys/rotate", json!({ "now": now }))), |key| {
        let id = cell("id", &key["id"]);
        match now {
            true => format!("tokens are signed with key {id}; those of all others are refused within a second"),
            false => format!("tokens are signed with key {id} within a minute"),
        }
    })
}
