//! The API described for programs (OpenAPI 3.1), made of the table of endpoints and of the types of their bodies.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::response::IntoResponse as _;
use http::header::CONTENT_TYPE;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::endpoint::{Endpoint, Who};
use super::endpoints::ENDPOINTS;
use super::paths::{BASE, name_of};
use super::refusals::Answer;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| of(&ENDPOINTS).to_string().into());

/// `GET /api/v1/openapi.json`
pub(super) async fn show(_: Call) -> Answer {
    Ok(([(CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response())
}

/// Why nothing was done.
#[derive(Serialize, JsonSchema)]
#[allow(dead_code, reason = "only described here")]
struct Errors {
    /// One or more, the most important first.
    errors: Vec<Failure>,
}

/// One error.
#[derive(Serialize, JsonSchema)]
#[allow(dead_code, reason = "only described here")]
struct Failure {
    /// What kind: `UNAUTHORIZED`, `DENIED`, `NAME_UNKNOWN`, `CONFLICT`, `INVALID`, `UNAVAILABLE`, ...
    code: String,
    /// A sentence for a person.
    message: String,
    /// What helps a program.
    detail: Option<Value>,
}

/// The document of these endpoints.
pub(super) fn of(endpoints: &[Endpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let errors = generator.subschema_for::<Errors>();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let methods = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        let errors = json!({ "application/json": { "schema": errors } });
        methods[endpoint.method.as_str().to_lowercase()] = operation(endpoint, &mut generator, &errors);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Roadstead",
            "description": "What is administered. Lists come a page at a time; times are milliseconds since the Unix epoch.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{ "url": BASE }],
        "security": [{ "password": [] }, { "token": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "password": { "type": "http", "scheme": "basic" },
                "token": { "type": "http", "scheme": "bearer" },
            },
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator, errors: &Value) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    for name in endpoint.path.split('/').filter_map(name_of) {
        parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    }
    for (name, says) in &endpoint.query {
        let kind = if *name == "n" { "integer" } else { "string" };
        parameters.push(json!({ "name": name, "in": "query", "description": says, "schema": { "type": kind } }));
    }
    let mut responses = Map::new();
    for (status, body) in &endpoint.answers {
        let answer = match body {
            None => json!({ "description": "done" }),
            Some((media_type, shape)) => {
                let content = json!({ *media_type: { "schema": shape(generator) } });
                json!({ "description": if *status == 201 { "made" } else { "what was asked for" }, "content": content })
            }
        };
        responses.insert(status.to_string(), answer);
    }
    let usual =
        [(401, "authentication required"), (403, "who asks may not do this"), (404, "there is none for who asks")];
    let usual = usual.into_iter().filter(|_| endpoint.who != Who::Anybody);
    for (status, why) in usual.chain(endpoint.refuses.iter().copied()) {
        responses.insert(status.to_string(), json!({ "description": why, "content": errors }));
    }
    responses.insert("default".into(), json!({ "description": "why nothing was done", "content": errors }));
    let name = endpoint.path.replace(['{', '}'], "").replace(['/', '.'], "_");
    let mut operation = json!({
        "operationId": format!("{}{name}", endpoint.method.as_str().to_lowercase()),
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(shape) = endpoint.takes {
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": shape(generator) } } });
    }
    if endpoint.who == Who::Anybody {
        operation["security"] = json!([{}]);
    }
    operation
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// All values under a key, anywhere.
    fn collect<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(name, value)| {
                if name == key {
                    found.push(value);
                }
                collect(value, key, found);
            }),
            Value::Array(values) => values.iter().for_each(|value| collect(value, key, found)),
            _ => {}
        }
    }

    #[test]
    fn what_it_refers_to_is_in_it() {
        let document = of(&ENDPOINTS);
        let mut references = Vec::new();
        collect(&document, "$ref", &mut references);
        assert!(references.len() > 20, "{references:?}");
        for reference in references {
            let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).unwrap_or("nowhere");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for kind in document["components"].as_object().into_iter().flatten().flat_map(|(_, of)| of.as_object()) {
            // As the specification wants names to be.
            let good = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            assert!(!kind.is_empty() && kind.keys().all(good), "{kind:?}");
        }
        let (mut ids, mut seen) = (Vec::new(), BTreeSet::new());
        collect(&document, "operationId", &mut ids);
        assert!(ids.iter().all(|id| seen.insert(id.to_string())), "{ids:?}");
        assert_eq!(document["components"]["schemas"]["NewUser"]["additionalProperties"], false);
        assert_eq!(document["components"]["schemas"]["NewUser"]["required"], json!(["name"]));
    }
}
