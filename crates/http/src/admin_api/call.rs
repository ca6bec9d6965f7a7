//! What a handler gets of a request, and what it answers with.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::response::IntoResponse as _;
use http::StatusCode;
use roadstead_oci::{Query, RepositoryName};
use roadstead_registry::Caller;
use roadstead_registry::identities::Identities;
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::AdminApi;
use super::paths::Parameters;
use super::refusals::{Answer, Refusal};
use crate::small_body::{self, NoBody};

/// The longest body there is.
const LONGEST: usize = 64 << 10;
/// In which of so many fields an error is, is looked for.
const LOOKED_AT: usize = 16;

/// One request of a known endpoint.
pub(super) struct Call {
    pub(super) api: AdminApi,
    /// Whoever asks: what it may is for the use case to say.
    pub(super) caller: Caller,
    /// The path as it was sent.
    pub(super) path: String,
    pub(super) parameters: Parameters,
    pub(super) query: Query,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn identities(&self) -> &Identities {
        &self.api.identities
    }

    /// A parameter of the path.
    pub(super) fn named(&self, name: &str) -> &str {
        self.parameters.iter().find(|(one, _)| *one == name).map_or("", |(_, value)| value)
    }

    /// The repository that the path names.
    pub(super) fn repository(&self) -> Result<RepositoryName, Refusal> {
        repository(self.named("repository"))
    }

    /// What the body asks for; none is an empty object.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        if self.body.is_empty() {
            return typed(Map::new());
        }
        // An object first: a list would do for its fields in order.
        typed(serde_json::from_slice(&self.body).map_err(|error| {
            Refusal::malformed(match error.is_data() {
                true => "the body has to be a JSON object".to_owned(),
                false => format!("the body is no JSON: {error}"),
            })
        })?)
    }
}

/// The name of a repository.
pub(super) fn repository(text: &str) -> Result<RepositoryName, Refusal> {
    text.parse().map_err(|error| Refusal::invalid_field("name", format!("repository {text:?}: {error}")))
}

/// What an object says. What is wrong is told by the name of the field and never by its value, which may be a password.
fn typed<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, Refusal> {
    // As in paths and queries: no name has one, and not every metadata engine takes such a text.
    let has_nul = |value: &Value| value.as_str().is_some_and(|text| text.contains('\0'));
    if let Some((field, _)) = object.iter().find(|(_, value)| has_nul(value)) {
        return Err(Refusal::invalid_field(field, format!("{field}: a text without NUL is expected")));
    }
    let error = match serde_json::from_value(Value::Object(object.clone())) {
        Ok(value) => return Ok(value),
        Err(error) => error.to_string(),
    };
    let Some((_, expected)) = error.split_once(", expected ").filter(|_| error.starts_with("invalid ")) else {
        return Err(Refusal::invalid(error));
    };
    let without = |field: &str| {
        let rest = object.iter().filter(|(name, _)| *name != field);
        let rest: Map<_, _> = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
        serde_json::from_value::<T>(Value::Object(rest)).err().map(|error| error.to_string())
    };
    let wrong = object.keys().take(LOOKED_AT).find(|field| without(field).as_ref() != Some(&error));
    Err(match wrong {
        Some(field) => Refusal::invalid_field(field, format!("{field}: expected {expected}")),
        None => Refusal::invalid(format!("a field is of the wrong type: expected {expected}")),
    })
}

/// All of a request's body.
pub(super) async fn read(body: Body) -> Result<Bytes, Refusal> {
    small_body::read(body, LONGEST).await.map_err(|none| match none {
        NoBody::TooLarge => Refusal::too_large(LONGEST),
        NoBody::NotWhole => Refusal::no_body(),
    })
}

/// A text that is shown nowhere.
#[derive(Clone, JsonSchema)]
#[schemars(with = "String")]
pub(super) struct Password(pub(super) String);

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("password: expected a string")),
        }
    }
}

/// 200 with what was asked for.
pub(super) fn shown(body: &impl Serialize) -> Answer {
    with(StatusCode::OK, body)
}

/// 201 with what was made.
pub(super) fn made(body: &impl Serialize) -> Answer {
    with(StatusCode::CREATED, body)
}

/// 204.
pub(super) fn done() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What was asked for, with this status.
pub(super) fn with(status: StatusCode, body: &impl Serialize) -> Answer {
    Ok((status, Json(body)).into_response())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read")]
    struct Wish {
        name: String,
        #[serde(default)]
        admin: bool,
        #[serde(default)]
        password: Option<Password>,
    }

    #[test]
    fn what_is_wrong_is_named_and_never_shown() {
        for (body, told) in [
            (r#"{"admin": true}"#, "missing field `name`"),
            (r#"{"name": "a", "pasword": "hunter22"}"#, "unknown field `pasword`, expected one of"),
            (r#"{"name": "a", "admin": "hunter22"}"#, "admin: expected a boolean"),
            (r#"{"name": 12345678}"#, "name: expected a string"),
            (r#"{"name": "a", "password": 12345678}"#, "password: expected a string"),
            (r#"{"name": "a", "password": ["hunter22"]}"#, "password: expected a string"),
            (r#"{"name": "a", "password": "hunter22\u0000"}"#, "password: a text without NUL is expected"),
            (r#"{"name": "hunter22\u0000"}"#, "name: a text without NUL is expected"),
        ] {
            let error = format!("{:?}", typed::<Wish>(serde_json::from_str(body).unwrap()).err().unwrap());
            assert!(error.contains(told), "{body}: {error}");
            assert!(!error.contains("hunter22") && !error.contains("12345678"), "{error}");
        }
        assert!(typed::<Wish>(serde_json::from_str(r#"{"name": "a", "password": null}"#).unwrap()).is_ok());
    }
}
