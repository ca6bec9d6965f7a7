//! Whom a command speaks as to a server: by the access token in `ROADSTEAD_TOKEN`, or as somebody who logged in there.
//!
//! Logins are kept in `$XDG_CONFIG_HOME/roadstead/logins.json`, which nobody else may read: of each server the access token
//! that was made for it, never a password.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::admin::{Refused, told, variable};
use super::remote::Server;

/// What is kept of a login.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Login {
    /// Whose it is.
    pub(super) name: String,
    /// The id of the token.
    pub(super) id: String,
    /// The token.
    pub(super) token: String,
    /// The authorities that vouch for the server.
    pub(super) ca: Option<PathBuf>,
}

/// All that is kept.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Logins {
    /// By the URLs of their servers.
    pub(super) servers: BTreeMap<String, Login>,
}

/// What a request to a server needs.
pub(super) struct Known {
    /// The header `Authorization`.
    pub(super) authorization: Option<String>,
    pub(super) ca: Option<PathBuf>,
}

/// What is known for a server. What the environment says counts before a login.
pub(super) fn of(server: &Server) -> Result<Known, Refused> {
    // Who is told everything by the environment needs no directory of its own.
    let login = match (variable("ROADSTEAD_TOKEN"), file()) {
        (Some(_), Err(_)) | (None, Err(_)) => None,
        (_, Ok(_)) => Logins::read()?.servers.remove(&server.to_string()),
    };
    let token = variable("ROADSTEAD_TOKEN").or_else(|| login.as_ref().map(|login| login.token.clone()));
    Ok(Known { authorization: token.as_deref().map(bearer), ca: login.and_then(|login| login.ca) })
}

/// The header for an access token.
pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {}", token.trim())
}

/// The header for a name and a password.
pub(super) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

impl Logins {
    pub(super) fn read() -> Result<Self, Refused> {
        let file = file()?;
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(&file, &error)),
        };
        // The text of the error may have a piece of the file in it.
        serde_json::from_str(&text).map_err(|_| {
            told(format!("{} is not what `roadstead login` wrote; remove it and log in again", file.display()))
        })
    }

    /// In place of what was kept, all or nothing.
    #[allow(clippy::disallowed_methods, reason = "a file of the person at the command line, no data of the registry")]
    pub(super) fn write(&self) -> Result<(), Refused> {
        let file = file()?;
        let directory = file.parent().unwrap_or(Path::new("."));
        let put = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            let new = file.with_extension(format!("new-{}", std::process::id()));
            let mut written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            written.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
            written.sync_all()?;
            fs::rename(&new, &file)
        };
        put().map_err(|error: io::Error| failed(&file, &error))
    }
}

fn failed(file: &Path, error: &io::Error) -> Refused {
    told(format!("{}: {error}", file.display()))
}

fn file() -> Result<PathBuf, Refused> {
    let configured = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = configured.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")));
    let directory = directory.ok_or_else(|| told("neither XDG_CONFIG_HOME nor HOME says where logins are kept"))?;
    Ok(directory.join("roadstead/logins.json"))
}
