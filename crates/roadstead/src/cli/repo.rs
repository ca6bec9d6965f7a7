//! `roadstead repo`: repositories, how they are set, and what is granted on them and on whole namespaces.

use serde_json::{Map, Value, json};

use super::Exit;
use super::admin::Refused;
use super::administer::{To, cell, delete, escaped, get, patch, post, put};

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
    /// Add a repository
    Add {
        name: String,
        /// Who may pull from it
        #[arg(long, value_enum, default_value_t = Visibility::Private)]
        visibility: Visibility,
        /// Let tags that are there neither move nor go
        #[arg(long)]
        immutable_tags: bool,
    },
    /// List the repositories that one may pull from
    List,
    /// Show a repository
    Show { name: String },
    /// Change how a repository is set
    Set {
        name: String,
        /// Who may pull from it
        #[arg(long, value_enum)]
        visibility: Option<Visibility>,
        /// Whether tags that are there neither move nor go
        #[arg(long, value_name = "BOOL")]
        immutable_tags: Option<bool>,
    },
    /// Remove a repository with all that is in it
    Remove { name: String },
    /// Grant access, in place of what the same was granted there before
    Grant {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        whom: Whom,
        /// What it may
        #[arg(long, value_enum)]
        access: Access,
    },
    /// Take back what was granted
    Revoke {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        whom: Whom,
    },
    /// List what is granted
    Grants {
        #[command(flatten)]
        on: On,
    },
}

/// On what access is granted.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct On {
    /// The repository
    name: Option<String>,
    /// All that is and will be in this namespace, in place of one repository
    #[arg(long)]
    namespace: Option<String>,
}

/// To whom access is granted.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// A team, as in acme/dev
    #[arg(long)]
    team: Option<String>,
    /// A user
    #[arg(long)]
    user: Option<String>,
    /// A robot, as in acme+ci
    #[arg(long)]
    robot: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Visibility {
    /// Everybody
    Public,
    /// Those with access
    Private,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Access {
    /// View and pull
    ReadOnly,
    /// Push, too, and delete tags and manifests
    ReadWrite,
    /// Also change settings and grant access
    Admin,
}

impl Visibility {
    fn word(self) -> &'static str {
        match self {
            Visibility::Public => "public",
            Visibility::Private => "private",
        }
    }
}

impl Access {
    fn word(self) -> &'static str {
        match self {
            Access::ReadOnly => "read-only",
            Access::ReadWrite => "read-write",
            Access::Admin => "admin",
        }
    }
}

impl On {
    fn path(&self) -> String {
        match (&self.name, &self.namespace) {
            (Some(name), _) => format!("{}/grants", one(name)),
            (None, namespace) => format!("/namespaces/{}/grants", escaped(namespace.as_deref().unwrap_or_default())),
        }
    }

    fn told(&self) -> String {
        match (&self.name, &self.namespace) {
            (Some(name), _) => name.clone(),
            (None, namespace) => format!("{}/*", namespace.as_deref().unwrap_or_default()),
        }
    }
}

impl Whom {
    /// The kind and the name; the command line has exactly one.
    fn given(&self) -> (&'static str, &str) {
        let all = [("team", &self.team), ("user", &self.user), ("robot", &self.robot)];
        let given = all.into_iter().find_map(|(kind, name)| Some((kind, name.as_deref()?)));
        given.unwrap_or(("user", ""))
    }
}

/// Does it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { to, verb } = arguments;
    match verb {
        Verb::Add { name, visibility, immutable_tags } => {
            let new = json!({ "name": name, "visibility": visibility.word(), "immutable_tags": immutable_tags });
            to.once(Ok(post("/repositories", new)), |_| format!("added repository {name}"))
        }
        Verb::List => {
            let columns = [("NAME", "name"), ("VISIBILITY", "visibility"), ("IMMUTABLE TAGS", "immutable_tags")];
            to.list(Ok("/repositories".into()), &columns)
        }
        Verb::Show { name } => to.once(Ok(get(one(name))), shown),
        Verb::Set { name, visibility, immutable_tags } => {
            to.once(changes(*visibility, *immutable_tags).map(|body| patch(one(name), body)), shown)
        }
        Verb::Remove { name } => to.once(Ok(delete(one(name))), |_| format!("removed repository {name}")),
        Verb::Grant { on, whom, access } => {
            let (kind, name) = whom.given();
            let grant = Map::from_iter([(kind.to_owned(), json!(name)), ("access".to_owned(), json!(access.word()))]);
            let sentence = |_: &Value| format!("{kind} {name} has {} access to {}", access.word(), on.told());
            to.once(Ok(put(on.path(), grant.into())), sentence)
        }
        Verb::Revoke { on, whom } => {
            let (kind, name) = whom.given();
            let path = format!("{}?{kind}={}", on.path(), escaped(name));
            to.once(Ok(delete(path)), |_| format!("{kind} {name} is granted nothing on {}", on.told()))
        }
        Verb::Grants { on } => {
            let columns = [("TEAM", "team"), ("USER", "user"), ("ROBOT", "robot"), ("ACCESS", "access")];
            to.list(Ok(on.path()), &columns)
        }
    }
}

/// The path of a repository. One whose last component would be taken for what is below it is written as one segment.
fn one(name: &str) -> String {
    let components: Vec<String> = name.split('/').map(escaped).collect();
    let between = if components.last().is_some_and(|last| last == "grants") { "%2F" } else { "/" };
    format!("/repositories/{}", components.join(between))
}

fn changes(visibility: Option<Visibility>, immutable_tags: Option<bool>) -> Result<Value, Refused> {
    match (visibility, immutable_tags) {
        (None, None) => Err(Refused::Usage("say what to change: --visibility or --immutable-tags".into())),
        (visibility, tags) => Ok(json!({ "visibility": visibility.map(Visibility::word), "immutable_tags": tags })),
    }
}

fn shown(repository: &Value) -> String {
    let tags = if repository["immutable_tags"] == true { ", immutable tags" } else { "" };
    format!("{}, {}{tags}", cell("name", &repository["name"]), cell("visibility", &repository["visibility"]))
}

#[cfg(test)]
mod tests {
    use super::one;

    #[test]
    fn a_repository_is_not_taken_for_the_grants_of_another() {
        assert_eq!(one("acme/app"), "/repositories/acme/app");
        assert_eq!(one("acme/grants"), "/repositories/acme%2Fgrants");
        assert_eq!(one("grants/a"), "/repositories/grants/a");
        assert_eq!(one("a?b/c#d"), "/repositories/a%3Fb/c%23d");
    }
}
