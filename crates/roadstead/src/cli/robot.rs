//! `roadstead robot`: accounts of programs, named as in `acme+ci`.

use serde_json::json;

use super::Exit;
use super::admin::Refused;
use super::administer::{To, delete, escaped, pair, post};

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
    /// Add a robot, as in acme+ci
    Add { robot: String },
    /// List the robots of a user or an organization
    List { namespace: String },
    /// Remove a robot with its tokens and grants
    Remove { robot: String },
}

/// Does it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { to, verb } = arguments;
    match verb {
        Verb::Add { robot } => {
            let add = |(namespace, name)| post(all(namespace), json!({ "name": name }));
            to.once(named(robot).map(add), |_| format!("added robot {robot}"))
        }
        Verb::List { namespace } => to.list(Ok(all(namespace)), &[("NAME", "name"), ("SINCE", "created_at")]),
        Verb::Remove { robot } => {
            let remove = |(namespace, name)| delete(format!("{}/{}", all(namespace), escaped(name)));
            to.once(named(robot).map(remove), |_| format!("removed robot {robot}"))
        }
    }
}

fn named(robot: &str) -> Result<(&str, &str), Refused> {
    pair(robot, '+', "NAMESPACE+ROBOT")
}

fn all(namespace: &str) -> String {
    format!("/namespaces/{}/robots", escaped(namespace))
}
