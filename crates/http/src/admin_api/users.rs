//! Users, and who it is that asks.

use roadstead_metadata::Millis;
use roadstead_metadata::records::access::Subject;
use roadstead_metadata::records::account::Account;
use roadstead_registry::Caller;
use roadstead_registry::identities::{self, IdentityError, UserChange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::call::{Call, Password, done, made, shown};
use super::pages::Asked;
use super::refusals::{Answer, Refusal};

/// A user.
#[derive(Serialize, JsonSchema)]
pub(super) struct User {
    /// Its name, and that of its namespace.
    name: String,
    /// Whether it is a system admin.
    admin: bool,
    /// Whether it may do anything at all.
    active: bool,
    /// Who vouches for it in place of a password that is kept here: `htpasswd`, or the URL of an issuer.
    source: Option<String>,
    /// Since when it is there, in milliseconds since the Unix epoch.
    created_at: Millis,
}

impl From<Account> for User {
    fn from(account: Account) -> Self {
        let Account { name, admin, active, created_at, source, .. } = account;
        Self { name, admin, active, source, created_at }
    }
}

/// A user to add.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    /// Its name, and that of its namespace.
    name: String,
    /// Its password, of 8 to 128 characters; without one it logs in by access tokens only.
    #[serde(default)]
    password: Option<Password>,
    /// Who vouches for it in place of a password.
    #[serde(default)]
    source: Option<String>,
    /// Whether it is a system admin.
    #[serde(default)]
    admin: bool,
}

/// What changes of a user; what is not given stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedUser {
    /// Whether it is a system admin.
    #[serde(default)]
    admin: Option<bool>,
    /// Whether it may do anything at all.
    #[serde(default)]
    active: Option<bool>,
    /// Forgets whom its source means by its name: who logs in by it next is it. Goes alone.
    #[serde(default)]
    relink: bool,
}

/// A new password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// It has 8 to 128 characters.
    password: Password,
    /// The one so far: needed by who comes with an access token of the user itself.
    #[serde(default)]
    present: Option<Password>,
}

/// Who asks.
#[derive(Serialize, JsonSchema)]
pub(super) struct Asking {
    /// `alice` or `acme+ci`; `null` for the operator on the socket.
    name: Option<String>,
    /// What it is.
    kind: Kind,
    /// Whether it is a system admin.
    admin: bool,
    /// The access token it came with.
    token: Option<Uuid>,
    /// What that is good for; `null`: for all that its owner may.
    scope: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Operator,
    User,
    Robot,
}

pub(super) async fn who(call: Call) -> Answer {
    let admin = call.identities().is_admin(&call.caller).await?;
    let asking = match &call.caller {
        Caller::Known(identity) => Asking {
            name: Some(identity.name.clone()),
            kind: match identity.subject {
                Subject::User(_) => Kind::User,
                Subject::Robot(_) => Kind::Robot,
            },
            admin,
            token: identity.token,
            scope: identity.scope.as_ref().map(ToString::to_string),
        },
        _ => Asking { name: None, kind: Kind::Operator, admin, token: None, scope: None },
    };
    shown(&asking)
}

pub(super) async fn list(call: Call) -> Answer {
    let page = Asked::of(&call)?;
    let found = call.identities().users(&call.caller, page.name(), page.limit()).await?;
    page.answer(&call, found, |user| user.name.clone(), User::from)
}

pub(super) async fn add(call: Call) -> Answer {
    let NewUser { name, password, source, admin } = call.body()?;
    if let Some(source) = source {
        if password.is_some() {
            return Err(IdentityError::Invalid("a user of a source has no password here; leave it out".into()).into());
        }
        return made(&User::from(call.identities().create_user_of(&call.caller, &name, &source, admin).await?));
    }
    let new = identities::NewUser { name: &name, password: password.as_ref().map(|text| text.0.as_str()), admin };
    made(&User::from(call.identities().create_user(&call.caller, &new).await?))
}

pub(super) async fn show(call: Call) -> Answer {
    shown(&User::from(call.identities().user(&call.caller, call.named("user")).await?))
}

pub(super) async fn change(call: Call) -> Answer {
    let ChangedUser { admin, active, relink } = call.body()?;
    if relink {
        // Each is a commit of its own, of which one could fail.
        if admin.is_some() || active.is_some() {
            let error = "relink goes alone: ask for admin and active in another request";
            return Err(Refusal::invalid_field("relink", error));
        }
        return shown(&User::from(call.identities().relink_user(&call.caller, call.named("user")).await?));
    }
    let change = UserChange { admin, active };
    shown(&User::from(call.identities().change_user(&call.caller, call.named("user"), change).await?))
}

pub(super) async fn remove(call: Call) -> Answer {
    call.identities().remove_user(&call.caller, call.named("user")).await?;
    done()
}

pub(super) async fn set_password(call: Call) -> Answer {
    let NewPassword { password, present } = call.body()?;
    let name = call.named("user");
    let new = identities::NewPassword { password: &password.0, present: present.as_ref().map(|text| text.0.as_str()) };
    call.identities().set_password(&call.caller, name, new).await?;
    done()
}
