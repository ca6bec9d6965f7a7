//! The keys there are, read from the parsed types by way of their JSON schema: for the reference page, for the
//! environment, and for finding the key that a misspelt one was meant to be.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::known;
use super::parsed::Parsed;

/// One key that takes a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its full path: `http.addr`.
    pub path: String,
    /// What it takes, in words: `duration`, `size`, `true or false`, `one of text, json`.
    pub kind: String,
    /// Its default as it would be written; `None` when it has none.
    pub default: Option<String>,
    /// What it does.
    pub description: String,
}

impl Key {
    /// The environment variable that sets it: `ROADSTEAD_HTTP__ADDR`.
    pub fn variable(&self) -> String {
        format!("ROADSTEAD_{}", self.path.to_ascii_uppercase().replace('.', "__"))
    }
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Parsed>();
    let mut keys = Vec::new();
    collect(schema.as_value(), "", &default_values(), &mut keys);
    keys
});

/// Every key, in alphabetical order.
pub fn all() -> &'static [Key] {
    &KEYS
}

fn default_values() -> Value {
    serde_json::to_value(Parsed::default()).unwrap_or_default()
}

fn collect(schema: &Value, path: &str, defaults: &Value, keys: &mut Vec<Key>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        keys.push(Key {
            path: path.to_owned(),
            kind: kind(schema),
            default: match defaults {
                Value::Null => None,
                Value::Array(items) if items.is_empty() => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            },
            description: schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        });
        return;
    };
    for (name, property) in properties {
        let path = super::document::join(path, name);
        collect(property, &path, defaults.get(name).unwrap_or(&Value::Null), keys);
    }
}

fn kind(schema: &Value) -> String {
    if let Some(variants) = schema.get("oneOf").and_then(Value::as_array) {
        let names: Vec<_> = variants.iter().filter_map(|v| v.get("const").and_then(Value::as_str)).collect();
        return format!("one of {}", names.join(", "));
    }
    let declared = schema.get("type");
    let first = declared.and_then(|t| t.as_array().and_then(|types| types.first()).or(Some(t))).and_then(Value::as_str);
    match (first, schema.get("format").and_then(Value::as_str)) {
        (_, Some(format @ ("duration" | "size"))) => format.to_owned(),
        (Some("boolean"), _) => "true or false".to_owned(),
        (Some("integer"), _) => "whole number".to_owned(),
        (Some("array"), _) => "list of texts, in a variable with commas between them".to_owned(),
        _ => "text".to_owned(),
    }
}

/// The text for a key that does not exist.
pub(super) fn unknown(path: &str) -> String {
    match nearest(path, all().iter().map(|key| key.path.as_str()).chain(known::paths())) {
        Some(near) => format!("unknown key; did you mean {near}?"),
        None => "unknown key; `roadstead config reference` lists the keys there are".to_owned(),
    }
}

/// The candidate most like `wrong`, if one is alike enough to be meant.
pub(super) fn nearest<'c>(wrong: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let leaf = last(wrong);
    candidates
        .map(|candidate| {
            let whole = strsim::normalized_damerau_levenshtein(wrong, candidate);
            // The right key at the wrong level: `addr` for `http.addr`.
            let misplaced = if last(candidate) == leaf { 0.75 } else { 0.0 };
            (candidate, whole.max(misplaced))
        })
        .filter(|(_, likeness)| *likeness >= 0.6)
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(candidate, _)| candidate)
}
