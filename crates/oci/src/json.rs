//! Reading JSON objects field by field, so that an error names the field and nothing unknown costs memory.
//!
//! A field is kept as a slice of the original text until it is asked for. Fields that are not known are skipped
//! without being stored, duplicates of those that are known are refused: readers disagree on which one counts, and two
//! readers of one digest must see the same manifest. For the same reason [`Object::refuse_lookalikes`] refuses names
//! that differ from a known one only in case, which Go's JSON reader takes for it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::ManifestError;
use crate::excerpt::excerpt;

/// The known fields of one JSON object.
pub(crate) struct Object<'a> {
    path: String,
    fields: Vec<(&'static str, &'a RawValue)>,
    lookalike: Option<(String, &'static str)>,
}

impl<'a> Object<'a> {
    /// Reads an object. `path` is where it stands, empty for the whole document.
    pub(crate) fn read(path: &str, text: &'a str, known: &'static [&'static str]) -> Result<Self, ManifestError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let found = Fields { known }.deserialize(&mut json).and_then(|found| json.end().map(|()| found));
        let found = found.map_err(|error| {
            // What serde_json says of another value repeats all of it.
            let problem = if error.is_data() { format!("it is {}", excerpt(text.trim())) } else { error.to_string() };
            ManifestError::new(path, format!("is not a JSON object: {problem}"))
        })?;
        match found.duplicate {
            Some(name) => Err(ManifestError::new(join(path, name), "occurs twice")),
            None => Ok(Self { path: path.to_owned(), fields: found.fields, lookalike: found.lookalike }),
        }
    }

    /// Refuses a field whose name is that of a known one but for case.
    pub(crate) fn refuse_lookalikes(&self) -> Result<(), ManifestError> {
        match &self.lookalike {
            Some((name, known)) => {
                Err(ManifestError::new(join(&self.path, name), format!("differs from {known} only in case")))
            }
            None => Ok(()),
        }
    }

    /// The path of a field.
    pub(crate) fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Whether the field occurs, be it null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(n, _)| *n == name)
    }

    /// The JSON text of a field; null is none.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, raw)| raw.get()).filter(|text| *text != "null")
    }

    fn value<T: Deserialize<'a>>(&self, name: &str, expected: &str) -> Result<Option<T>, ManifestError> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        match serde_json::from_str(raw) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(ManifestError::new(self.path(name), format!("is {}, not {expected}", excerpt(raw)))),
        }
    }

    /// A text; an empty one is none, as in Go's `omitempty`.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, ManifestError> {
        Ok(self.value::<String>(name, "a string")?.filter(|text| !text.is_empty()))
    }

    /// A whole number from 0 to `i64::MAX`, the largest that other implementations hold.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ManifestError> {
        let expected = "a whole number from 0 to 9223372036854775807";
        let number: Option<i64> = self.value(name, expected)?;
        let Some(number) = number else {
            return Ok(None);
        };
        match u64::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(ManifestError::new(self.path(name), format!("is {number}, not {expected}"))),
        }
    }

    /// A list of texts; none when absent.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, ManifestError> {
        Ok(self.value(name, "a list of strings")?.unwrap_or_default())
    }

    /// A map of texts; empty when absent. A key may not occur twice.
    pub(crate) fn map(&self, name: &str) -> Result<BTreeMap<String, String>, ManifestError> {
        let map: Option<UniqueMap> = self.value(name, "an object of strings in which no key occurs twice")?;
        Ok(map.map(|UniqueMap(map)| map).unwrap_or_default())
    }

    /// The JSON texts of the elements of a list. `None` when the field does not occur, empty when it is null, as Go
    /// writes an empty slice. At most `most` elements.
    pub(crate) fn list(&self, name: &str, most: usize) -> Result<Option<Vec<&'a str>>, ManifestError> {
        if !self.has(name) {
            return Ok(None);
        }
        let Some(raw) = self.raw(name) else {
            return Ok(Some(Vec::new()));
        };
        let list = Elements { most }.deserialize(&mut serde_json::Deserializer::from_str(raw));
        match list {
            Ok(Some(list)) => Ok(Some(list)),
            Ok(None) => Err(ManifestError::new(self.path(name), format!("has more than {most} elements"))),
            Err(_) => Err(ManifestError::new(self.path(name), format!("is {}, not a list", excerpt(raw)))),
        }
    }
}

/// `layers[2]` and `digest` make `layers[2].digest`.
fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Whether values nest at most `most` deep. Neither recursive nor a judgement of the syntax otherwise.
pub(crate) fn nests_at_most(text: &str, most: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return false;
        }
    }
    true
}

/// Reads the known fields of an object.
struct Fields {
    known: &'static [&'static str],
}

#[derive(Default)]
struct Found<'a> {
    fields: Vec<(&'static str, &'a RawValue)>,
    duplicate: Option<&'static str>,
    lookalike: Option<(String, &'static str)>,
}

impl<'a> DeserializeSeed<'a> for Fields {
    type Value = Found<'a>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Found<'a>, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Fields {
    type Value = Found<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Found<'a>, M::Error> {
        let mut found = Found::default();
        while let Some(key) = map.next_key::<Cow<'a, str>>()? {
            let Some(name) = self.known.iter().find(|name| **name == key) else {
                if found.lookalike.is_none() {
                    let twin = self.known.iter().find(|name| fold(name).eq(fold(&key)));
                    found.lookalike = twin.map(|name| (key.into_owned(), *name));
                }
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw = map.next_value::<&'a RawValue>()?;
            if found.fields.iter().any(|(n, _)| n == name) {
                found.duplicate = Some(name);
            }
            found.fields.push((name, raw));
        }
        Ok(found)
    }
}

/// What Go's JSON reader compares: without case, the long s and the Kelvin sign included.
fn fold(name: &str) -> impl Iterator<Item = char> {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Reads the elements of a list, `None` when there are more than `most`.
struct Elements {
    most: usize,
}

impl<'a> DeserializeSeed<'a> for Elements {
    type Value = Option<Vec<&'a str>>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for Elements {
    type Value = Option<Vec<&'a str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let mut list = Vec::new();
        while let Some(raw) = seq.next_element::<&'a RawValue>()? {
            if list.len() == self.most {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            list.push(raw.get());
        }
        Ok(Some(list))
    }
}

/// A map in which no key occurs twice.
struct UniqueMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for UniqueMap {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = UniqueMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<UniqueMap, M::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if entries.insert(key, value).is_some() {
                        return Err(serde::de::Error::custom("a key occurs twice"));
                    }
                }
                Ok(UniqueMap(entries))
            }
        }
        json.deserialize_map(Entries)
    }
}
