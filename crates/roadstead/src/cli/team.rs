//! `roadstead team`: teams of organizations, named as in `acme/dev`.

use serde_json::json;

use super::Exit;
use super::admin::Refused;
use super::administer::{To, delete, escaped, pair, post, put};

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
    /// Add a team, as in acme/dev
    Add { team: String },
    /// List the teams of an organization
    List { organization: String },
    /// Remove a team with what was granted to it
    Remove { team: String },
    /// The members of a team
    #[command(subcommand)]
    Member(Member),
}

#[derive(Debug, clap::Subcommand)]
enum Member {
    /// Make a user a member of the team, and of its organization
    Add { team: String, user: String },
    /// List members
    List { team: String },
    /// A user leaves the team
    Remove { team: String, user: String },
}

/// Does it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { to, verb } = arguments;
    match verb {
        Verb::Add { team } => {
            let add = |(organization, name)| post(all(organization), json!({ "name": name }));
            to.once(named(team).map(add), |_| format!("added team {team}"))
        }
        Verb::List { organization } => to.list(Ok(all(organization)), &[("NAME", "name"), ("SINCE", "created_at")]),
        Verb::Remove { team } => to.once(one(team).map(delete), |_| format!("removed team {team}")),
        Verb::Member(Member::Add { team, user }) => {
            let request = member(team, user).map(|path| put(path, json!({})));
            to.once(request, |_| format!("{user} is in team {team}"))
        }
        Verb::Member(Member::List { team }) => {
            to.list(one(team).map(|path| format!("{path}/members")), &[("USER", "user")])
        }
        Verb::Member(Member::Remove { team, user }) => {
            to.once(member(team, user).map(delete), |_| format!("{user} left team {team}"))
        }
    }
}

fn named(team: &str) -> Result<(&str, &str), Refused> {
    pair(team, '/', "ORGANIZATION/TEAM")
}

fn all(organization: &str) -> String {
    format!("/organizations/{}/teams", escaped(organization))
}

fn one(team: &str) -> Result<String, Refused> {
    let (organization, name) = named(team)?;
    Ok(format!("{}/{}", all(organization), escaped(name)))
}

fn member(team: &str, user: &str) -> Result<String, Refused> {
    Ok(format!("{}/members/{}", one(team)?, escaped(user)))
}
