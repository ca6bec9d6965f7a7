//! `roadstead token`: access tokens.

use serde_json::{Value, json};

use super::admin::{Refused, block_on, exit};
use super::administer::{To, delete, escaped, post};
use super::{Exit, complain, print};
use crate::config::units::Span;

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
    /// Make a token and print its secret, which is shown this once
    Add {
        /// What to call it
        #[arg(long)]
        name: String,
        /// For whom, robot:acme+ci or user:alice, in place of who asks
        #[arg(long = "for", value_name = "WHO")]
        of: Option<String>,
        /// After how long it ends by itself, as in 30d
        #[arg(long, value_name = "DURATION")]
        expires: Option<Span>,
        /// What it is good for, as in pull,push:acme/app or pull:acme/*; may be given several times
        #[arg(long)]
        scope: Vec<String>,
    },
    /// List tokens
    List {
        /// Whose, robot:acme+ci or user:alice, in place of who asks
        #[arg(long = "for", value_name = "WHO")]
        of: Option<String>,
    },
    /// Revoke a token
    Revoke { id: String },
}

/// Does it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { to, verb } = arguments;
    match verb {
        Verb::Add { name, of, expires, scope } => {
            let scope = (!scope.is_empty()).then(|| scope.join(" "));
            let expires = expires.map(|expires| expires.get().as_secs());
            let wish = json!({ "name": name, "for": of, "expires_in": expires, "scope": scope });
            exit(block_on(add(to, wish)), to.json())
        }
        Verb::List { of } => {
            let query = of.as_ref().map_or_else(String::new, |of| format!("?for={}", escaped(of)));
            let columns = [
                ("ID", "id"),
                ("NAME", "name"),
                ("SCOPE", "scope"),
                ("SINCE", "created_at"),
                ("EXPIRES", "expires_at"),
                ("REVOKED", "revoked_at"),
            ];
            to.list(Ok(format!("/tokens{query}")), &columns)
        }
        Verb::Revoke { id } => {
            to.once(Ok(delete(format!("/tokens/{}", escaped(id)))), |_| format!("revoked token {id}"))
        }
    }
}

/// The secret alone goes to standard output, so that a script can take it.
async fn add(to: &To, wish: Value) -> Result<Exit, Refused> {
    let made = to.ask(post("/tokens", wish)).await?;
    if to.json() {
        return Ok(print(&format!("{made}\n")));
    }
    let word = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
    complain(&format!("token {} for {}; its secret is shown this once:\n", word("id"), word("for")));
    Ok(print(&format!("{}\n", word("secret"))))
}
