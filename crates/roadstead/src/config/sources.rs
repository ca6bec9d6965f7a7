//! Who else vouches for users: what an operator may write, and what it comes to.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::host_of;

/// Users of a htpasswd file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Htpasswd {
    /// The file whose users come in with the passwords they have there, beside those that are kept here: lines as
    /// `htpasswd -B` writes them, hashed with bcrypt. It is looked at every second; a changed one is taken over when every
    /// line of it can be used, otherwise what was read before goes on. Turns `auth.enabled` on.
    pub path: Option<String>,
    /// Has no effect, and is known because files written for distribution have it.
    pub realm: Option<String>,
}

/// Users of an OpenID Connect issuer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Oidc {
    /// The URL of the issuer whose ID tokens are taken in place of passwords, exactly as its tokens have it under `iss`.
    /// `https`; `http` for an issuer on this machine only. What it says of itself is asked for at
    /// `/.well-known/openid-configuration` below it. Turns `auth.enabled` on.
    pub issuer: Option<String>,
    /// Whom the tokens have to be for (`aud`): the client id of this registry at the issuer, or what CI jobs ask for.
    pub audience: Option<String>,
    /// The claim of a token that has the user's name. It must be one that users do not choose themselves: whoever comes
    /// first by a name has it here.
    pub username_claim: String,
    /// What stands before it in the name here, so that it is nobody else's: `sso-`. Required beside `auth.htpasswd`, whose
    /// file may then have no name that begins so.
    pub username_prefix: String,
    /// The claim of a token that says who the user is, whatever its name is. It is kept at the first login, and somebody
    /// else who comes by the same name later is refused. Not `sub` where that differs from job to job: `repository_id` or
    /// `actor_id` of GitHub, `project_id` or `user_id` of GitLab.
    pub subject_claim: String,
    /// What else a token has to state, `NAME=VALUE`: all of them. Of a claim that is a list one entry has to be the value.
    /// An issuer that serves everybody, as those of public CI systems do, makes users of everybody without.
    pub required_claims: Vec<String>,
    /// Whether everybody whose token is right gets an account; `false`: only those whom `roadstead user add NAME --source
    /// ISSUER` added.
    pub create_accounts: bool,
    /// A PEM file with the certificate authorities of the issuer, in place of those of the system.
    pub ca: Option<String>,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            username_claim: "preferred_username".into(),
            username_prefix: String::new(),
            subject_claim: "sub".into(),
            required_claims: Vec::new(),
            create_accounts: true,
            ca: None,
        }
    }
}

/// An issuer whose tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its URL.
    pub issuer: String,
    /// Whom its tokens are for.
    pub audience: String,
    /// The claim with the name.
    pub username_claim: String,
    /// What stands before it.
    pub username_prefix: String,
    /// The claim that says who it is.
    pub subject_claim: String,
    /// What else has to be stated.
    pub required_claims: Vec<(String, String)>,
    /// Whether everybody gets an account.
    pub create_accounts: bool,
    /// Who vouches for the issuer; those of the system without it.
    pub ca: Option<PathBuf>,
}

/// Who else vouches for users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// A htpasswd file.
    pub htpasswd: Option<PathBuf>,
    /// An issuer.
    pub oidc: Option<Issuer>,
}

impl Sources {
    /// Whether nobody does.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How names begin that are no file's.
    pub fn foreign(&self) -> Option<&str> {
        self.oidc.as_ref().map(|issuer| issuer.username_prefix.as_str()).filter(|prefix| !prefix.is_empty())
    }
}

/// Who wrote this believes that a file protects the registry.
pub(super) const WITHOUT_PATH: &str = "names no file: set auth.htpasswd.path, or remove the key";
/// Or an issuer.
pub(super) const WITHOUT_ISSUER: &str = "names no issuer: set auth.oidc.issuer, or remove the key";
/// Or two of them, of whose users it could not be told who is who.
const WITHOUT_PREFIX: &str = "is missing: with auth.htpasswd, too, users of the issuer need names that the file does not have, as `sso-` gives them";

/// Who vouches; `wrong` takes the key below `auth` and what is wrong about it.
pub(super) fn validate(htpasswd: &Htpasswd, oidc: &Oidc, wrong: &mut dyn FnMut(&'static str, String)) -> Sources {
    if htpasswd.path.as_ref().is_some_and(String::is_empty) {
        wrong("htpasswd.path", "is empty; a file is expected".into());
    }
    if htpasswd.path.is_none() && htpasswd.realm.is_some() {
        wrong("htpasswd", WITHOUT_PATH.into());
    }
    let sources = Sources { htpasswd: htpasswd.path.as_ref().map(PathBuf::from), oidc: issuer(oidc, wrong) };
    if sources.htpasswd.is_some() && sources.oidc.as_ref().is_some_and(|issuer| issuer.username_prefix.is_empty()) {
        wrong("oidc.username_prefix", WITHOUT_PREFIX.into());
    }
    sources
}

fn issuer(oidc: &Oidc, wrong: &mut dyn FnMut(&'static str, String)) -> Option<Issuer> {
    let Some(issuer) = oidc.issuer.clone() else {
        if *oidc != Oidc::default() {
            wrong("oidc", WITHOUT_ISSUER.into());
        }
        return None;
    };
    if !is_safe(&issuer) {
        wrong("oidc.issuer", format!("`{issuer}` is no https URL; http is for an issuer on this machine only"));
    }
    let audience = oidc.audience.clone().unwrap_or_default();
    if audience.is_empty() {
        wrong("oidc.audience", "is missing: without it tokens made for others would be good here".into());
    }
    if oidc.username_claim.is_empty() {
        wrong("oidc.username_claim", "is empty; leave it out for preferred_username".into());
    }
    if oidc.subject_claim.is_empty() {
        wrong("oidc.subject_claim", "is empty; leave it out for sub".into());
    }
    let mut required_claims = Vec::new();
    for text in &oidc.required_claims {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                required_claims.push((name.to_owned(), value.to_owned()));
            }
            _ => wrong("oidc.required_claims", format!("`{text}` is no NAME=VALUE, as repository_owner=acme")),
        }
    }
    let prefix = &oidc.username_prefix;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    if prefix.len() > 32 || !prefix.chars().all(plain) || prefix.starts_with(['-', '.', '_']) {
        let text = "must have at most 32 lower-case letters, digits, and after the first `-`, `.` and `_`";
        wrong("oidc.username_prefix", text.into());
    }
    if oidc.ca.as_ref().is_some_and(String::is_empty) {
        wrong("oidc.ca", "is empty; a file is expected".into());
    }
    Some(Issuer {
        issuer,
        audience,
        username_claim: oidc.username_claim.clone(),
        username_prefix: prefix.clone(),
        subject_claim: oidc.subject_claim.clone(),
        required_claims,
        create_accounts: oidc.create_accounts,
        ca: oidc.ca.as_ref().map(PathBuf::from),
    })
}

/// Whether nobody between can say what an issuer of this URL says.
fn is_safe(url: &str) -> bool {
    if url.contains(['?', '#', '@']) || url.contains(char::is_whitespace) {
        return false;
    }
    let host = url.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        host_of(&format!("{scheme}://{authority}")).map(str::to_owned)
    });
    let Some(host) = host.filter(|host| !host.is_empty()) else { return false };
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    url.starts_with("https://") || (url.starts_with("http://") && loopback)
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
