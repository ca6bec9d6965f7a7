//! Access control: what an operator may write, and what it comes to.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sources::{self, Htpasswd, Oidc, Sources};
use super::units::Span;

/// Access control.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Auth {
    /// Whether clients are asked who they are. Without a value they are, unless the server listens on a loopback address,
    /// nothing is in `http.proxy_protocol.trusted`, and neither `auth.htpasswd` nor `auth.oidc` names users: then only this
    /// machine reaches it. `false` lets everybody who can
    /// reach the server pull, push and delete.
    pub enabled: Option<bool>,
    /// Whether a push makes a repository that is not there, a private one, for those who may push to the whole namespace.
    pub create_on_push: bool,
    /// Whether public repositories are pulled from by those who do not say who they are.
    pub anonymous_pull: bool,
    /// What this registry is called in its tokens, 1 to 64 characters; the same on every instance. Two registries whose
    /// tokens must not be mixed up have different keys in any case.
    pub service: String,
    /// How long what was known of permissions serves pulls of private repositories while the metadata cannot be asked for
    /// what is newest. Afterwards they are answered 503; public ones are served on. Pushes wait in any case. A process that
    /// is started meanwhile counts from its start.
    pub outage: Span,
    /// The password of the system admin `admin`, who is made at the first start, 8 to 128 characters; not looked at
    /// afterwards. Without it one is made and printed, once. Best given as `ROADSTEAD_ADMIN_PASSWORD`, or by a file as
    /// `ROADSTEAD_ADMIN_PASSWORD_FILE`.
    pub admin_password: Option<String>,
    /// Users of a file.
    pub htpasswd: Htpasswd,
    /// Users of an issuer of ID tokens.
    pub oidc: Oidc,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            enabled: None,
            create_on_push: true,
            anonymous_pull: true,
            service: "roadstead".into(),
            outage: Span::seconds(3_600),
            admin_password: None,
            htpasswd: Htpasswd::default(),
            oidc: Oidc::default(),
        }
    }
}

/// Access control as it is exercised.
#[derive(Clone, PartialEq, Eq)]
pub struct Guarded {
    /// Pushes make repositories.
    pub create_on_push: bool,
    /// Nobody in particular may pull what is public.
    pub anonymous_pull: bool,
    /// The audience of tokens.
    pub service: String,
    /// How long known permissions serve pulls.
    pub outage: Duration,
    /// Of the first admin.
    pub admin_password: Option<String>,
    /// Who else vouches for users.
    pub sources: Sources,
}

/// Without the password.
impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded").field("service", &self.service).finish_non_exhaustive()
    }
}

/// What is exercised; `None`: nothing. `reached` is whether others than this machine may come; `wrong` takes the key below
/// `auth` and what is wrong about it.
pub(super) fn validate(auth: &Auth, reached: bool, wrong: &mut dyn FnMut(&'static str, String)) -> Option<Guarded> {
    let service = &auth.service;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
    if service.is_empty() || service.len() > 64 || !service.chars().all(plain) {
        wrong("service", "must have 1 to 64 letters, digits, and characters of `-._:/`".into());
    }
    if !(Span::seconds(0)..=Span::seconds(7 * 86_400)).contains(&auth.outage) {
        wrong("outage", "must be between 0s and 7d".into());
    }
    let characters = auth.admin_password.as_ref().map(|password| password.chars().count());
    if characters.is_some_and(|count| !(8..=128).contains(&count)) {
        wrong("admin_password", "must have 8 to 128 characters".into());
    }
    let sources = sources::validate(&auth.htpasswd, &auth.oidc, wrong);
    // Who names users means that they are asked.
    let named = !sources.is_empty();
    if named && auth.enabled == Some(false) {
        wrong("enabled", "is false, and auth names users who could come in; remove one of the two".into());
    }
    auth.enabled.unwrap_or(reached || named).then(|| Guarded {
        create_on_push: auth.create_on_push,
        anonymous_pull: auth.anonymous_pull,
        service: service.clone(),
        outage: auth.outage.get(),
        admin_password: auth.admin_password.clone(),
        sources,
    })
}
