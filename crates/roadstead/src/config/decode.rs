//! Gives a [`Node`] tree its types, and goes on after a mistake, so that all of them are told at once.
//!
//! Serde stops at the first error. Here a failing key is reported, left out, and the tree is read again without
//! it: every field of the parsed type has a default, so each round ends with one mistake less. Keys that the
//! type does not have are reported on the way with the nearest one it has. Lists are of
//! texts, and a variable writes one with commas. Absent: free-form maps, which no key of ours takes.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::value::{SeqDeserializer, StrDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::document::{Content, Node, join};
use super::keys;
use super::report::{Origin, Report};

/// Reads `node` as a `T`, with defaults in place of what is wrong.
pub(super) fn decode<T: DeserializeOwned + Default>(node: &Node, report: &mut Report) -> T {
    let left_out = RefCell::new(HashSet::new());
    loop {
        let unknown = RefCell::new(Vec::new());
        let decoder = Decoder { node, path: String::new(), left_out: &left_out, unknown: &unknown };
        let outcome = T::deserialize(decoder);
        let failure = match outcome {
            Ok(value) => {
                for (path, origin) in unknown.into_inner() {
                    report.error(&origin, &path, keys::unknown(&path));
                }
                return value;
            }
            Err(failure) => failure,
        };
        let origin = node.get(&failure.path).unwrap_or(node).origin.clone();
        report.error(&origin, &failure.path, failure.text);
        // What names no new key would fail in the same way for ever. No type has it: every value stands under a key.
        if failure.path.is_empty() || !left_out.borrow_mut().insert(failure.path) {
            return T::default();
        }
    }
}

/// A value that does not fit, with the path of the innermost key it stands under.
#[derive(Debug)]
struct Failure {
    path: String,
    text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self { path: String::new(), text: text.to_string() }
    }
}

struct Decoder<'de> {
    node: &'de Node,
    path: String,
    left_out: &'de RefCell<HashSet<String>>,
    unknown: &'de RefCell<Vec<(String, Origin)>>,
}

impl<'de> Decoder<'de> {
    fn text(&self, wanted: &str) -> Result<&'de str, Failure> {
        match &self.node.content {
            Content::Scalar(text) => Ok(text),
            Content::Null => Err(de::Error::custom(format!("is empty; {wanted} is expected"))),
            Content::List(_) => Err(de::Error::custom(format!("is a list; {wanted} is expected"))),
            Content::Map(_) => Err(de::Error::custom(format!("is a mapping of keys; {wanted} is expected"))),
        }
    }

    /// A list of texts.
    fn texts(&self) -> Result<Vec<String>, Failure> {
        match &self.node.content {
            Content::List(items) => items
                .iter()
                .map(|item| match &item.content {
                    Content::Scalar(text) => Ok(text.clone()),
                    _ => Err(de::Error::custom("holds something else than texts")),
                })
                .collect(),
            Content::Scalar(text) => {
                Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
            }
            Content::Null => Err(de::Error::custom("is empty; a list is expected")),
            Content::Map(_) => Err(de::Error::custom("is a mapping of keys; a list is expected")),
        }
    }

    fn entries(self, fields: &'static [&'static str]) -> Result<Entries<'de>, Failure> {
        let entries = match &self.node.content {
            Content::Map(entries) => entries.as_slice(),
            Content::Null => &[],
            _ => return Err(de::Error::custom("is a single value; a mapping of keys is expected")),
        };
        let mut wanted = Vec::new();
        for (key, value) in entries {
            let path = join(&self.path, key);
            if self.left_out.borrow().contains(&path) {
                continue;
            }
            if fields.contains(&key.as_str()) {
                let decoder = Decoder { node: value, path, left_out: self.left_out, unknown: self.unknown };
                wanted.push((key.as_str(), decoder));
            } else {
                self.unknown.borrow_mut().push((path, value.origin.clone()));
            }
        }
        wanted.reverse();
        Ok(Entries { left: wanted, value: None })
    }
}

macro_rules! number {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            let text = self.text("a whole number")?;
            let number = text.parse::<$type>().map_err(|_| {
                Failure { path: String::new(), text: format!("`{text}` is not a whole number between {} and {}", <$type>::MIN, <$type>::MAX) }
            })?;
            visitor.$visit(number)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Decoder<'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.content {
            Content::Null => visitor.visit_unit(),
            Content::Scalar(text) => visitor.visit_str(text),
            Content::List(_) => Err(de::Error::custom("is a list; a single value is expected")),
            Content::Map(_) => Err(de::Error::custom("is a mapping of keys; a single value is expected")),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.text("true or false")? {
            "true" | "True" | "TRUE" => visitor.visit_bool(true),
            "false" | "False" | "FALSE" => visitor.visit_bool(false),
            other => Err(de::Error::custom(format!("`{other}` is neither true nor false"))),
        }
    }

    number!(deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64);

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_str(self.text("a text")?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.content {
            Content::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(SeqDeserializer::new(self.texts()?.into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_map(self.entries(fields)?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let text = self.text(&format!("one of {}", variants.join(", ")))?.to_ascii_lowercase();
        if !variants.contains(&text.as_str()) {
            return Err(de::Error::custom(format!("`{text}` is not one of {}", variants.join(", "))));
        }
        let name: StringDeserializer<Failure> = text.into_deserializer();
        visitor.visit_enum(name)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct map identifier ignored_any
    }
}

struct Entries<'de> {
    left: Vec<(&'de str, Decoder<'de>)>,
    value: Option<Decoder<'de>>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some((key, value)) = self.left.pop() else { return Ok(None) };
        self.value = Some(value);
        let key: StrDeserializer<'_, Failure> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let decoder = self.value.take().ok_or_else(|| <Failure as de::Error>::custom("a value without its key"))?;
        let path = decoder.path.clone();
        seed.deserialize(decoder).map_err(|mut failure| {
            if failure.path.is_empty() {
                failure.path = path;
            }
            failure
        })
    }
}
