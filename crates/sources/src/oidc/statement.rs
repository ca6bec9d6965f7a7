//! ID tokens: what one states of a user, if it is right (OpenID Connect Core, section 3.1.3.7).
//!
//! Three algorithms are taken, each with keys of its own kind, so that no key is used for another one: neither `none` nor
//! anything symmetric, for which a public key would be a password that everybody knows.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use roadstead_registry::identities::not_a_user;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// By so much, seconds, the issuer's clock may be ahead of ours. A token ends when it says.
const AHEAD: i64 = 60;
/// No token is good for longer, seconds.
const LIFE: i64 = 24 * 3_600;
/// No name that an issuer has for a user is longer, in bytes.
const SUBJECT: usize = 255;
/// No token is longer, in bytes.
const LONGEST: usize = 32 << 10;

/// A public key of the issuer.
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    verifies: DecodingKey,
    mark: u64,
}

/// Which key a token says it is signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    id: Option<String>,
    algorithm: Algorithm,
}

/// What a token has to say to be for this registry, and whom it then names.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) claim: String,
    pub(super) prefix: String,
    pub(super) subject_claim: String,
    pub(super) required: Vec<(String, String)>,
}

/// Whose token it is, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) name: String,
    /// Who that is, whatever its name.
    pub(super) subject: String,
    /// Milliseconds since the Unix epoch.
    pub(super) until: i64,
    /// Of the key that it is signed with.
    pub(super) mark: u64,
}

/// Why a token is not taken: for the log, without anything of the token.
pub(super) type Why = &'static str;

/// Who issued a text that looks like a token, as it says itself.
pub(super) fn issuer_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    let mut parts = text.split('.').filter(|_| text.len() <= LONGEST);
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<Issuer>(&payload).ok().map(|found| found.iss)
}

impl Key {
    /// From an entry of a JWK set (RFC 7517); `None` for one that signs no ID tokens that are taken here.
    pub(super) fn read(entry: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(entry).ok()?;
        let (algorithm, called) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let fits = jwk.common.key_algorithm.as_ref().is_none_or(|named| *named == called);
        let verifies = DecodingKey::from_jwk(&jwk).ok().filter(|_| signs && fits)?;
        let hash = Sha256::digest(serde_json::to_vec(&jwk.algorithm).ok()?);
        let mark = hash.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte));
        Some(Self { id: jwk.common.key_id, algorithm, verifies, mark })
    }

    /// Stands for the key, whatever id it has.
    pub(super) fn mark(&self) -> u64 {
        self.mark
    }
}

impl Wanted {
    /// What the head of a token says.
    pub(super) fn read(token: &str) -> Result<Self, Why> {
        let header = decode_header(token).map_err(|_| "its head is none, or names no algorithm that there is")?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
            return Err("it is signed by another algorithm than RS256, ES256 or EdDSA");
        }
        if header.typ.as_ref().is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err("its head says that it is another kind of token (typ)");
        }
        // What must be understood and is not.
        if header.crit.is_some() {
            return Err("its head has an extension that must be understood");
        }
        Ok(Self { id: header.kid, algorithm: header.alg })
    }

    /// The key among these. Without an id it is the only one of its kind.
    pub(super) fn find<'a>(&self, keys: &'a [Key]) -> Option<&'a Key> {
        let mut fitting = keys.iter().filter(|key| key.algorithm == self.algorithm);
        match &self.id {
            Some(id) => fitting.find(|key| key.id.as_ref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }
}

impl Expected {
    /// What a token states that is signed with this key, and whose it is. `now` is in milliseconds.
    pub(super) fn read(&self, token: &str, key: &Key, now: i64) -> Result<Statement, Why> {
        let mut validation = Validation::new(key.algorithm);
        // By our clock and in our words, below.
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        validation.required_spec_claims.clear();
        let claims = decode::<Map<String, Value>>(token, &key.verifies, &validation);
        let claims = claims.map_err(|_| "its signature is not that of the issuer's key")?.claims;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(&self.issuer) {
            return Err("another issuer made it");
        }
        let ours = |value: &Value| match value {
            Value::String(one) => *one == self.audience,
            Value::Array(some) => some.iter().any(|one| one.as_str() == Some(&self.audience)),
            _ => false,
        };
        if !claims.get("aud").is_some_and(ours) {
            return Err("it is for another audience than auth.oidc.audience");
        }
        // Of all that an issuer signs an ID token alone says who somebody is, and it says so to whom it was made for.
        if claims.get("azp").is_some_and(|azp| azp.as_str() != Some(&self.audience)) {
            return Err("it was made for another client than auth.oidc.audience (azp)");
        }
        if claims.get("typ").is_some_and(|typ| typ.as_str() != Some("ID")) {
            return Err("it says that it is another kind of token (typ)");
        }
        let time = |name: &str| claims.get(name).map(|value| seconds(value).ok_or("a time in it is no number"));
        let ends = time("exp").ok_or("it says no end (exp)")??;
        let issued = time("iat").ok_or("it does not say when it was issued (iat)")??;
        let from = time("nbf").transpose()?.unwrap_or(issued);
        let soon = now.div_euclid(1000) + AHEAD;
        if issued > soon || from > soon {
            return Err("it is from times to come; are both clocks right?");
        }
        if ends.saturating_sub(issued) > LIFE {
            return Err("it is good for more than 24 hours (exp - iat)");
        }
        let until = ends.saturating_mul(1000);
        if until <= now {
            return Err("it has expired");
        }
        let holds = |(name, value): &(String, String)| claims.get(name).is_some_and(|found| states(found, value));
        if !self.required.iter().all(holds) {
            return Err("a claim in it is not as auth.oidc.required_claims has it");
        }
        let subject = claims.get(&self.subject_claim).and_then(plain).filter(|text| may_be_kept(text));
        let subject = subject.ok_or("it has no plain text of at most 255 bytes under auth.oidc.subject_claim")?;
        let claimed = text(&self.claim).ok_or("it has no text under auth.oidc.username_claim")?;
        let name = format!("{}{claimed}", self.prefix);
        match not_a_user(&name) {
            None => Ok(Statement { name, subject, until, mark: key.mark() }),
            Some(_) => Err("no user can have the name under auth.oidc.username_claim"),
        }
    }
}

/// What a claim says, if that is one thing.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Whether this can be kept of a user: not every metadata engine takes a NUL, and the log and the audit show it.
fn may_be_kept(subject: &str) -> bool {
    (1..=SUBJECT).contains(&subject.len()) && !subject.chars().any(char::is_control)
}

/// Whether a claim is this, or has it among others.
fn states(found: &Value, wanted: &str) -> bool {
    match found {
        Value::Array(some) => some.iter().any(|one| plain(one).as_deref() == Some(wanted)),
        one => plain(one).as_deref() == Some(wanted),
    }
}

/// A `NumericDate` (RFC 7519, section 2), which may have a fraction.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64))
}
