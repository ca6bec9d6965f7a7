//! Access tokens.

use roadstead_metadata::Millis;
use roadstead_metadata::records::access_token::AccessToken;
use roadstead_registry::Caller;
use roadstead_registry::identities;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::call::{Call, done, made};
use super::pages::Asked;
use super::refusals::{Answer, Refusal};

/// An access token, without what its owner holds.
#[derive(Serialize, JsonSchema)]
pub(super) struct Token {
    /// Its id, by which it is revoked.
    id: Uuid,
    /// What its owner calls it.
    name: String,
    /// Whose it is: `alice`, `acme+ci`.
    #[serde(rename = "for")]
    of: Option<String>,
    /// What it is good for; `null`: all that its owner may.
    scope: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    created_at: Millis,
    /// When it ends by itself.
    expires_at: Option<Millis>,
    /// When somebody ended it.
    revoked_at: Option<Millis>,
    /// The access token with which it was made, and with which it ends; `null`: a password, or an older version made it.
    made_with: Option<Uuid>,
}

impl Token {
    fn of(owner: Option<&str>, token: AccessToken) -> Self {
        let AccessToken { id, name, scope, created_at, expires_at, revoked_at, parent: made_with, .. } = token;
        Self { id, name, of: owner.map(str::to_owned), scope, created_at, expires_at, revoked_at, made_with }
    }
}

/// A token that was made.
#[derive(Serialize, JsonSchema)]
pub(super) struct MadeToken {
    #[serde(flatten)]
    token: Token,
    /// What its owner holds: shown now and never again.
    secret: String,
}

/// A token to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// What its owner calls it: 1 to 128 characters.
    name: String,
    /// For whom: `robot:acme+ci`, `user:alice`, or without the kind; without it for who asks.
    #[serde(default, rename = "for")]
    of: Option<String>,
    /// After so many seconds it ends by itself; without it never.
    #[serde(default)]
    expires_in: Option<u64>,
    /// What it is good for, as in `pull,push:acme/app pull:acme/*`; without it all that its owner may.
    #[serde(default)]
    scope: Option<String>,
}

/// The name of a user or robot, which may have its kind before it.
fn owner(of: Option<&str>) -> Result<Option<&str>, Refusal> {
    let Some(of) = of else { return Ok(None) };
    let (kind, name) = of.split_once(':').unwrap_or(("", of));
    match (kind, name.contains('+')) {
        ("", _) | ("robot", true) | ("user", false) => Ok(Some(name)),
        _ => Err(Refusal::invalid_field("for", format!("{of:?}: name a user as user:alice, a robot as robot:acme+ci"))),
    }
}

/// Whose tokens are meant, by name.
fn named<'a>(call: &'a Call, of: Option<&'a str>) -> Option<&'a str> {
    match &call.caller {
        Caller::Known(identity) => of.or(Some(&identity.name)),
        _ => of,
    }
}

pub(super) async fn list(call: Call) -> Answer {
    let page = Asked::of(&call)?;
    let of = owner(call.query.get("for"))?;
    let found = call.identities().tokens(&call.caller, of, page.id()?, page.limit()).await?;
    page.answer(&call, found, |token| token.id.to_string(), |token| Token::of(named(&call, of), token))
}

pub(super) async fn add(call: Call) -> Answer {
    let NewToken { name, of, expires_in, scope } = call.body()?;
    let of = owner(of.as_deref())?;
    let scope = scope.map(|scope| scope.parse()).transpose();
    let scope =
        scope.map_err(|error: roadstead_registry::ScopeError| Refusal::invalid_field("scope", error.to_string()))?;
    let now = call.identities().now();
    let expires_at = expires_in.map(|seconds| {
        let life = Millis::try_from(seconds).unwrap_or(Millis::MAX).saturating_mul(1_000);
        now.saturating_add(life)
    });
    let new = identities::NewToken { name: &name, of, scope, expires_at };
    let identities::TokenMade { token, secret } = call.identities().create_token(&call.caller, new).await?;
    made(&MadeToken { token: Token::of(named(&call, of), token), secret })
}

pub(super) async fn revoke(call: Call) -> Answer {
    let id = call.named("token");
    let id = Uuid::try_parse(id).map_err(|_| Refusal::invalid(format!("{id:?} is no id of a token")))?;
    call.identities().revoke_token(&call.caller, id).await?;
    done()
}
