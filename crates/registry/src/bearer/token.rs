//! Tokens: issued and verified.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use quick_cache::sync::Cache;
use roadstead_metadata::Millis;
use roadstead_metadata::records::access::Subject;
use roadstead_oci::RepositoryName;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::keyring::Keyring;
use super::wish::{Wishes, asked_for};
use crate::{Action, Caller, Clock, Error, Identity, Registry, Result, Scope, Vouched};

/// How long a token is good, in milliseconds.
pub(super) const LIFE: Millis = 300_000;
/// By so much it may have been issued in the future: clocks of instances differ.
const AHEAD: Millis = 60_000;
/// Who issues.
const ISSUER: &str = "roadstead";
/// Tokens that were verified and are remembered, if they are no longer than this: some kilobytes each.
const REMEMBERED: usize = 2_000;
const SHORT: usize = 2 << 10;
/// Repositories that nobody in particular is given a token for at once.
const MOST_OF_NOBODY: usize = 8;
/// No token is longer.
const LONGEST: usize = 64 << 10;

/// Issues and verifies tokens for one service.
#[derive(Debug)]
pub struct Issuer {
    keys: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    service: String,
    validation: Validation,
    /// By the hash of what was shown.
    verified: Cache<[u8; 32], Arc<Bearer>>,
}

/// A token that was issued.
#[derive(Clone)]
pub struct Issued {
    /// What its owner shows.
    pub token: String,
    /// How long it is good.
    pub life: Duration,
    /// When it was issued.
    pub at: Millis,
    /// What it is good for, as `repository:acme/app:pull` with spaces between: not more than was asked for.
    pub scope: String,
}

/// Without the token.
impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// A token that was shown and is good.
#[derive(Debug)]
pub struct Bearer {
    /// Who shows it, with all that what it logged in with is good for.
    owner: Caller,
    /// The same for what the token is good for, and nothing else; `None`: for no repository.
    narrowed: Option<Caller>,
    granted: Option<Scope>,
    asked: Option<Scope>,
    catalog: bool,
    /// By which it was signed.
    key: Uuid,
    from: Millis,
    until: Millis,
}

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotGood {
    /// It is none of ours, or was changed.
    #[error("the token is none of this registry's")]
    Foreign,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: Millis,
    nbf: Millis,
    iat: Millis,
    jti: Uuid,
    /// What it is good for, as Docker's specification has it.
    access: Vec<Granted>,
    /// Ours: what was asked for, so that who was refused is told why and not to ask again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<String>,
    /// Ours: who its owner is, and what that came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Granted {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Owner {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    robot: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<Millis>,
    /// Of the access token that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// Who said that it is its owner, if not we, and of which password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vouched: Option<(String, u64)>,
}

impl Issuer {
    /// For `service`, which is the audience of its tokens.
    pub fn new(keys: Arc<Keyring>, clock: Arc<dyn Clock>, service: &str) -> Self {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[service]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["aud", "iss", "sub"]);
        // By our clock, below.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        Self { keys, clock, service: service.to_owned(), validation, verified: Cache::new(REMEMBERED) }
    }

    /// The service it issues for.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The keys.
    pub fn keys(&self) -> &Arc<Keyring> {
        &self.keys
    }

    /// A token for `caller`, good for what it wishes and may do; [`Error::Unauthorized`] when the caller is not who it was.
    pub async fn issue(&self, registry: &Registry, caller: &Caller, wishes: &Wishes) -> Result<Issued> {
        if !matches!(caller, Caller::Anonymous) {
            registry.recognize(caller).await?;
        }
        let mut granted = Vec::new();
        // Nobody in particular may pull at most, and shall not make us ask for more than a client needs.
        let nobody = matches!(caller, Caller::Anonymous);
        let most = if nobody { MOST_OF_NOBODY } else { wishes.repositories.len() };
        for (name, actions) in wishes.repositories.iter().take(most) {
            let mut allowed = Vec::new();
            for action in actions.iter().filter(|action| !nobody || **action == Action::Pull) {
                if registry.may(caller, *action, name).await {
                    allowed.push(*action);
                }
            }
            granted.push((name.clone(), allowed));
        }
        let catalog = wishes.catalog && registry.recognize(caller).await.is_ok();
        self.keys.refresh().await;
        self.sign(caller, &granted, catalog, wishes)
    }

    fn sign(
        &self,
        caller: &Caller,
        granted: &[(RepositoryName, Vec<Action>)],
        catalog: bool,
        wishes: &Wishes,
    ) -> Result<Issued> {
        let key = self.keys.signing().ok_or_else(|| Error::Internal("there is no key to sign with".to_owned()))?;
        let at = self.clock.now();
        let access = accesses(granted, catalog);
        let scope = access.iter().map(|one| format!("{}:{}:{}", one.kind, one.name, one.actions.join(",")));
        let scope = scope.collect::<Vec<_>>().join(" ");
        let (sub, owner) = match caller {
            Caller::Anonymous | Caller::Operator => (String::new(), None),
            Caller::Known(identity) => (identity.name.clone(), Some(Owner::of(identity))),
        };
        // What somebody else says for a time is no longer good for what is made of it.
        let end = at.saturating_add(LIFE).min(vouched_until(caller).unwrap_or(Millis::MAX));
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub,
            aud: self.service.clone(),
            exp: end / 1000,
            nbf: at / 1000,
            iat: at / 1000,
            jti: Uuid::new_v4(),
            access,
            asked: wishes.scope().map(|scope| scope.to_string()),
            owner,
        };
        let header = Header { kid: Some(key.id.to_string()), ..Header::new(Algorithm::ES256) };
        let token = encode(&header, &claims, &key.signs)
            .map_err(|error| Error::Internal(format!("a token cannot be signed: {error}")))?;
        let life = Duration::from_millis(end.saturating_sub(at).max(0) as u64);
        Ok(Issued { token, life, at, scope })
    }

    /// What a token that is shown says, if it is good.
    pub async fn verify(&self, token: &str) -> std::result::Result<Arc<Bearer>, NotGood> {
        if token.len() > LONGEST {
            return Err(NotGood::Foreign);
        }
        self.keys.refresh().await;
        let hash: [u8; 32] = Sha256::digest(token).into();
        let bearer = match self.verified.get(&hash) {
            Some(bearer) => bearer,
            None => {
                let bearer = Arc::new(self.read(token).await?);
                if token.len() <= SHORT {
                    self.verified.insert(hash, bearer.clone());
                }
                bearer
            }
        };
        // What was verified once may be of a key that was ended since.
        if !self.keys.knows(bearer.key) {
            return Err(NotGood::Foreign);
        }
        let now = self.clock.now();
        if now >= bearer.until || now.saturating_add(AHEAD) < bearer.from {
            return Err(NotGood::Expired);
        }
        Ok(bearer)
    }

    async fn read(&self, token: &str) -> std::result::Result<Bearer, NotGood> {
        let foreign = |_| NotGood::Foreign;
        let header = decode_header(token).map_err(foreign)?;
        let id = header.kid.and_then(|id| Uuid::parse_str(&id).ok()).ok_or(NotGood::Foreign)?;
        if header.alg != Algorithm::ES256 {
            return Err(NotGood::Foreign);
        }
        let key = self.keys.verifying(id).await.ok_or(NotGood::Foreign)?;
        let claims = decode::<Claims>(token, &key.verifies, &self.validation).map_err(foreign)?.claims;
        Bearer::of(claims, id).ok_or(NotGood::Foreign)
    }
}

impl Bearer {
    fn of(claims: Claims, key: Uuid) -> Option<Self> {
        let mut granted = Vec::new();
        for one in claims.access.iter().filter(|one| one.kind == "repository") {
            granted.push((one.name.parse().ok()?, one.actions.iter().filter_map(|word| asked_for(word)).collect()));
        }
        let granted = Scope::of(granted);
        let asked = claims.asked.as_deref().map(str::parse).transpose().ok()?;
        let owner = match claims.owner {
            Some(owner) => Some(owner.into_identity(claims.sub)?),
            None => None,
        };
        let narrowed = granted.clone().map(|granted| match &owner {
            Some(owner) => Identity { scope: Some(granted), ..owner.clone() }.into(),
            None => Caller::Anonymous,
        });
        Some(Self {
            owner: owner.map_or(Caller::Anonymous, Caller::from),
            narrowed,
            granted,
            asked,
            catalog: claims.access.iter().any(|one| one.kind == "registry" && one.name == "catalog"),
            key,
            from: claims.nbf.saturating_mul(1000),
            // Whatever it says: none is good for longer.
            until: claims.exp.min(claims.iat.saturating_add(LIFE / 1000)).saturating_mul(1000),
        })
    }

    /// Who shows it, for questions that concern no repository.
    pub fn owner(&self) -> &Caller {
        &self.owner
    }

    /// Who shows it, for what it is good for; `None` when this is not among it.
    pub fn caller_for(&self, repository: &RepositoryName, action: Action) -> Option<&Caller> {
        let name = crate::registry::canonical(repository);
        self.granted.as_ref().filter(|granted| granted.allows(&name, action)).and(self.narrowed.as_ref())
    }

    /// Whether it was asked to be good for this.
    pub fn was_asked(&self, repository: &RepositoryName, action: Action) -> bool {
        let name = crate::registry::canonical(repository);
        self.asked.as_ref().is_some_and(|asked| asked.allows(&name, action))
    }

    /// Who shows it, for the catalog; `None` when it is not good for that.
    pub fn caller_for_catalog(&self) -> Option<&Caller> {
        self.catalog.then_some(&self.owner)
    }
}

impl Owner {
    fn of(identity: &Identity) -> Self {
        let (user, robot) = match identity.subject {
            Subject::User(id) => (Some(id), None),
            Subject::Robot(id) => (None, Some(id)),
        };
        let scope = identity.scope.as_ref().map(ToString::to_string);
        let vouched = identity.vouched.as_ref().map(|vouched| (vouched.source.clone(), vouched.mark));
        Self { user, robot, token: identity.token, epoch: identity.epoch, scope, vouched }
    }

    fn into_identity(self, name: String) -> Option<Identity> {
        let subject = match (self.user, self.robot) {
            (Some(id), None) => Subject::User(id),
            (None, Some(id)) => Subject::Robot(id),
            _ => return None,
        };
        let scope = self.scope.as_deref().map(str::parse).transpose().ok()?;
        // The token itself ends by then.
        let vouched = self.vouched.map(|(source, mark)| Arc::new(Vouched { source, mark, until: None }));
        Some(Identity { subject, name, token: self.token, epoch: self.epoch, scope, vouched })
    }
}

/// When ends what somebody else says of who the caller is.
fn vouched_until(caller: &Caller) -> Option<Millis> {
    match caller {
        Caller::Known(identity) => identity.vouched.as_ref()?.until,
        Caller::Anonymous | Caller::Operator => None,
    }
}

fn accesses(granted: &[(RepositoryName, Vec<Action>)], catalog: bool) -> Vec<Granted> {
    let repositories = granted.iter().filter(|(_, actions)| !actions.is_empty()).map(|(name, actions)| Granted {
        kind: "repository".to_owned(),
        name: name.to_string(),
        actions: actions.iter().map(|action| action.word().to_owned()).collect(),
    });
    let catalog = catalog.then(|| Granted {
        kind: "registry".to_owned(),
        name: "catalog".to_owned(),
        actions: vec!["*".to_owned()],
    });
    repositories.chain(catalog).collect()
}
