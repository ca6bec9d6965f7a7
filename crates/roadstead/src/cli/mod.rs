//! The command line: one file per verb.
//!
//! Exit codes, for every verb: 0 done; 1 failed, or, of `scrub`, something is damaged; 2 the command line or
//! the configuration is wrong, nothing was started; 3 the data on disk is refused, and a person has to decide; 4 the metadata
//! engine stopped for good while it served, and a new start may recover.

mod admin;
mod administer;
mod audit;
mod config;
mod credentials;
pub(crate) mod descriptors;
mod gc;
mod key;
mod login;
mod org;
mod password;
mod remote;
mod repo;
mod robot;
mod scrub;
mod serve;
mod signals;
mod status;
mod team;
mod token;
mod user;
mod version;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// How a verb ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done,
    /// It could not.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// The data on disk is refused.
    Refused,
    /// The metadata engine stopped for good.
    Metadata,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Metadata => 4,
        })
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; of scrub: something is damaged
  2  the command line or the configuration is wrong; nothing was started
  3  the data on disk is refused; the message says what to do
  4  the metadata engine stopped for good while it served; start again";

/// An OCI registry that does not go down.
#[derive(Debug, Parser)]
#[command(name = "roadstead", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve the registry
    Serve(serve::Arguments),
    /// Collect now what nothing names any more, on the running instance
    Gc(gc::Arguments),
    /// Look for damage now, on the running instance
    Scrub(scrub::Arguments),
    /// Tell which instances run over the same metadata, and what each of them does
    Status(status::Arguments),
    /// Log in to a server, for the commands that follow
    Login(login::Arguments),
    /// Forget a login and end it
    Logout(login::LogoutArguments),
    /// Add, list, change and remove users
    User(user::Arguments),
    /// Add, list and remove organizations and their members
    Org(org::Arguments),
    /// Add, list and remove teams and their members
    Team(team::Arguments),
    /// Add, list and remove robots, the accounts of programs
    Robot(robot::Arguments),
    /// Make, list and revoke access tokens
    Token(token::Arguments),
    /// Rotate the keys that tokens are signed with
    Key(key::Arguments),
    /// Add, list and change repositories, and who has access
    Repo(repo::Arguments),
    /// Tell who did what
    Audit(audit::Arguments),
    /// Check or describe the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print the version
    Version {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Tell everything that is wrong with the configuration: of a file, if one is given, and the environment
    Check {
        /// The file
        #[arg(env = "ROADSTEAD_CONFIG")]
        file: Option<PathBuf>,
    },
    /// Print the reference of all keys, in Markdown
    Reference,
}

/// Reads the command line and carries it out.
pub fn run() -> ExitCode {
    let exit = match Arguments::parse().verb {
        Verb::Serve(arguments) => serve::run(&arguments),
        Verb::Gc(arguments) => gc::run(&arguments),
        Verb::Scrub(arguments) => scrub::run(&arguments),
        Verb::Status(arguments) => status::run(&arguments),
        Verb::Login(arguments) => login::run(&arguments),
        Verb::Logout(arguments) => login::leave(&arguments),
        Verb::User(arguments) => user::run(&arguments),
        Verb::Org(arguments) => org::run(&arguments),
        Verb::Team(arguments) => team::run(&arguments),
        Verb::Robot(arguments) => robot::run(&arguments),
        Verb::Token(arguments) => token::run(&arguments),
        Verb::Key(arguments) => key::run(&arguments),
        Verb::Repo(arguments) => repo::run(&arguments),
        Verb::Audit(arguments) => audit::run(&arguments),
        Verb::Config(ConfigVerb::Check { file }) => config::check(file.as_deref()),
        Verb::Config(ConfigVerb::Reference) => print(&crate::config::reference::page()),
        Verb::Version { json } => version::run(json),
    };
    exit.into()
}

/// Writes to standard output. A reader that went away (`| head`) is no failure.
fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Failed,
        _ => Exit::Done,
    }
}

/// Writes to standard error; when that is closed there is nobody to tell.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
