//! `roadstead org`: organizations and their members.

use serde_json::json;

use super::Exit;
use super::administer::{To, delete, escaped, get, post, put};

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
    /// Add an organization
    Add { name: String },
    /// List organizations
    List,
    /// Show an organization
    Show { name: String },
    /// Remove an organization with its teams, robots, memberships and grants
    Remove { name: String },
    /// The members of an organization
    #[command(subcommand)]
    Member(Member),
}

#[derive(Debug, clap::Subcommand)]
enum Member {
    /// Make a user a member or an owner
    Add {
        organization: String,
        user: String,
        /// What it may
        #[arg(long, value_enum, default_value_t = Role::Member)]
        role: Role,
    },
    /// List members
    List { organization: String },
    /// A user leaves the organization and its teams
    Remove { organization: String, user: String },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Role {
    /// Nothing but what teams and grants allow
    Member,
    /// Everything in the organization
    Owner,
}

/// Does it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { to, verb } = arguments;
    match verb {
        Verb::Add { name } => {
            to.once(Ok(post("/organizations", json!({ "name": name }))), |_| format!("added organization {name}"))
        }
        Verb::List => to.list(Ok("/organizations".into()), &[("NAME", "name"), ("SINCE", "created_at")]),
        Verb::Show { name } => to.once(Ok(get(one(name))), |_| format!("organization {name}")),
        Verb::Remove { name } => to.once(Ok(delete(one(name))), |_| format!("removed organization {name}")),
        Verb::Member(Member::Add { organization, user, role }) => {
            let role = match role {
                Role::Member => "member",
                Role::Owner => "owner",
            };
            let request = put(member(organization, user), json!({ "role": role }));
            to.once(Ok(request), |_| format!("{user} is {role} of {organization}"))
        }
        Verb::Member(Member::List { organization }) => {
            to.list(Ok(format!("{}/members", one(organization))), &[("USER", "user"), ("ROLE", "role")])
        }
        Verb::Member(Member::Remove { organization, user }) => {
            to.once(Ok(delete(member(organization, user))), |_| format!("{user} left {organization}"))
        }
    }
}

fn one(name: &str) -> String {
    format!("/organizations/{}", escaped(name))
}

fn member(organization: &str, user: &str) -> String {
    format!("{}/members/{}", one(organization), escaped(user))
}
