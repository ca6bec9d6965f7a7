//! `roadstead login` and `roadstead logout`: an access token for the commands that follow, in exchange for a password.

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::admin::{Refused, block_on, exit, told};
use super::credentials::{Login, Logins, basic, bearer};
use super::password::PasswordSource;
use super::remote::{Server, Trust};
use super::{Exit, complain, print};
use crate::config::units::Span;

/// What the command line of `login` asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The server, https://HOST:PORT
    url: String,
    /// Who logs in
    #[arg(short, long, value_name = "NAME")]
    username: String,
    #[command(flatten)]
    password: PasswordSource,
    /// How long it lasts
    #[arg(long, value_name = "DURATION", default_value = "90d")]
    expires: Span,
    #[command(flatten)]
    trust: Trust,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// What the command line of `logout` asked for.
#[derive(Debug, clap::Args)]
pub(super) struct LogoutArguments {
    /// The server, as given to `login`
    url: String,
    #[command(flatten)]
    trust: Trust,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// See the admin API's `POST /api/v1/tokens`.
#[derive(Deserialize)]
struct Made {
    id: String,
    secret: String,
}

/// Logs in.
pub(super) fn run(arguments: &Arguments) -> Exit {
    exit(block_on(login(arguments)), arguments.json)
}

/// Ends a login.
pub(super) fn leave(arguments: &LogoutArguments) -> Exit {
    exit(block_on(logout(arguments)), arguments.json)
}

async fn login(arguments: &Arguments) -> Result<Exit, Refused> {
    let Arguments { url, username: name, password, expires, json, .. } = arguments;
    let (server, trust) = (Server::parse(url)?, arguments.trust.or(None));
    let ca = trust.ca.as_ref().map(std::path::absolute).transpose().map_err(told)?;
    if name.contains(':') {
        return Err(Refused::Usage(format!("{name} is no name: it has a colon")));
    }
    let secret = basic(name, &password.required()?);
    // What is kept has to be readable before anything is made.
    let mut logins = Logins::read()?;
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let wish = json!({ "name": format!("roadstead login on {machine}"), "expires_in": expires.get().as_secs() });
    let made = server.ask(&trust, Some(&secret), Method::POST, "/api/v1/tokens", Some(wish)).await;
    let Made { id, secret: token } = match made {
        Ok(answer) => answer.whole().await?,
        Err(Refused::Unauthorized(_)) => return Err(told(format!("{server}: the name or the password is wrong"))),
        Err(other) => return Err(other),
    };
    let login = Login { name: name.clone(), id, token, ca };
    let before = logins.servers.insert(server.to_string(), login.clone());
    if let Err(error) = logins.write() {
        // A token that nobody has is of no use to its owner.
        let _ = end(&server, &trust, &login).await;
        return Err(error);
    }
    if let Some(before) = before {
        // It may have ended by itself.
        let _ = end(&server, &trust, &before).await;
    }
    Ok(print(&match json {
        true => format!("{}\n", json!({ "server": server.to_string(), "name": name, "token": login.id })),
        false => format!("logged in to {server} as {name}\n"),
    }))
}

async fn logout(arguments: &LogoutArguments) -> Result<Exit, Refused> {
    let server = Server::parse(&arguments.url)?;
    let mut logins = Logins::read()?;
    let Some(login) = logins.servers.remove(&server.to_string()) else {
        return Err(told(format!("nobody is logged in to {server}")));
    };
    logins.write()?;
    let trust = arguments.trust.or(login.ca.clone());
    let ended = end(&server, &trust, &login).await;
    if let Err(Refused::Told(why)) = &ended {
        let id = &login.id;
        complain(&format!("warning: the access token {id} is forgotten here, but may still be good: {why}\n"));
    }
    Ok(print(&match arguments.json {
        true => format!("{}\n", json!({ "server": server.to_string(), "name": login.name, "revoked": ended.is_ok() })),
        false => format!("logged out of {server}\n"),
    }))
}

/// Revokes the token of a login; one that is not good any more is.
async fn end(server: &Server, trust: &Trust, login: &Login) -> Result<(), Refused> {
    let path = format!("/api/v1/tokens/{}", login.id);
    match server.ask(trust, Some(&bearer(&login.token)), Method::DELETE, &path, None).await {
        Ok(answer) => answer.whole::<Value>().await.map(drop),
        Err(Refused::Unauthorized(_)) => Ok(()),
        Err(other) => Err(other),
    }
}
