//! `roadstead user`: users.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Exit;
use super::admin::Refused;
use super::administer::{Request, To, cell, delete, escaped, get, patch, post, put};
use super::password::{PasswordSource, from_file};

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
    /// Add a user
    Add {
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        /// Who vouches for it in place of a password: htpasswd, or the URL of the issuer
        #[arg(long, value_name = "SOURCE", conflicts_with = "password_stdin")]
        source: Option<String>,
        /// Make it a system admin
        #[arg(long)]
        admin: bool,
    },
    /// List users
    List,
    /// Show a user; without a name, who asks
    Show { name: Option<String> },
    /// Change a user
    Set {
        name: String,
        /// Whether it is a system admin
        #[arg(long, value_name = "BOOL")]
        admin: Option<bool>,
        /// Whether it may do anything at all
        #[arg(long, value_name = "BOOL")]
        active: Option<bool>,
    },
    /// Give a user a new password
    Password {
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        /// Read the present password from a file: an access token or a login does not change that of its owner without it
        #[arg(long, value_name = "FILE")]
        present_password_file: Option<PathBuf>,
    },
    /// Let who logs in next by the name of a user of an issuer be that user
    Relink { name: String },
    /// Remove a user with its tokens, robots, memberships and grants
    Remove { name: String },
}

/// Does it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { to, verb } = arguments;
    match verb {
        Verb::Add { name, password, source, admin } => {
            to.once(add(name, password, source.as_deref(), *admin), |_| format!("added user {name}"))
        }
        Verb::List => to.list(Ok("/users".into()), &COLUMNS),
        Verb::Show { name: Some(name) } => to.once(Ok(get(one(name))), shown),
        Verb::Show { name: None } => to.once(Ok(get("/user")), |asking| match asking["name"].as_str() {
            Some(name) => {
                format!("{name}, {}{}", word(&asking["kind"]), if asking["admin"] == true { ", admin" } else { "" })
            }
            None => "the operator on the socket".to_owned(),
        }),
        Verb::Set { name, admin, active } => to.once(Ok(patch(one(name), given(*admin, *active))), shown),
        Verb::Password { name, password, present_password_file } => to
            .once(new_password(name, password, present_password_file.as_deref()), |_| {
                format!("user {name} has a new password")
            }),
        Verb::Relink { name } => to.once(Ok(patch(one(name), json!({ "relink": true }))), |_| {
            format!("who logs in next as {name} is user {name}")
        }),
        Verb::Remove { name } => to.once(Ok(delete(one(name))), |_| format!("removed user {name}")),
    }
}

/// What a list shows.
const COLUMNS: [(&str, &str); 4] = [("NAME", "name"), ("ADMIN", "admin"), ("ACTIVE", "active"), ("SOURCE", "source")];

fn one(name: &str) -> String {
    format!("/users/{}", escaped(name))
}

fn add(name: &str, password: &PasswordSource, source: Option<&str>, admin: bool) -> Result<Request, Refused> {
    let mut user = json!({ "name": name, "password": password.read()?, "admin": admin });
    // Servers from before know no such field.
    if let Some(source) = source {
        user["source"] = source.into();
    }
    Ok(post("/users", user))
}

fn new_password(name: &str, password: &PasswordSource, present: Option<&Path>) -> Result<Request, Refused> {
    let mut new = json!({ "password": password.required()? });
    if let Some(file) = present {
        new["present"] = from_file(file)?.into();
    }
    Ok(put(format!("{}/password", one(name)), new))
}

fn given(admin: Option<bool>, active: Option<bool>) -> Value {
    json!({ "admin": admin, "active": active })
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn shown(user: &Value) -> String {
    let name = cell("name", &user["name"]);
    let (admin, active) = (user["admin"] == true, user["active"] == true);
    let source = user["source"].as_str().map_or(String::new(), |source| format!(", of {source}"));
    format!("{name}{}{}{source}", if admin { ", admin" } else { "" }, if active { "" } else { ", not active" })
}
