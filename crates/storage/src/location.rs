//! Locations: the configured, named instances of storage engines.

use std::sync::Arc;

use uuid::Uuid;

use crate::{Engine, Error, ErrorKind};

/// Who can reach a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every instance of the installation.
    Shared,
    /// Only the replica with this id: its own disk.
    Replica(u64),
}

/// A place where blobs are kept.
#[derive(Debug, Clone)]
pub struct Location {
    /// Its name in the configuration and in messages.
    pub name: String,
    /// Its permanent id, as in its `roadstead.json` and in placements.
    pub id: Uuid,
    /// Who can reach it.
    pub scope: Scope,
    /// The engine that stores its bytes.
    pub engine: Arc<dyn Engine>,
}

/// The locations that this instance is configured with, one of them preferred. Never empty. Clones share the set.
#[derive(Debug, Clone)]
pub struct Locations {
    all: Arc<[Location]>,
    preferred: usize,
}

impl Locations {
    /// The set of `all`, of which the one named `preferred` serves first. An error names what is wrong with the set.
    pub fn new(all: Vec<Location>, preferred: &str) -> Result<Self, Error> {
        let wrong = |fault: String| Err(Error::new(ErrorKind::Other, fault));
        for (number, location) in all.iter().enumerate() {
            let others = &all[..number];
            if others.iter().any(|other| other.name == location.name) {
                return wrong(format!("two storage locations are named {:?}", location.name));
            }
            if let Some(other) = others.iter().find(|other| other.id == location.id) {
                let (one, two, id) = (&other.name, &location.name, location.id);
                return wrong(format!("storage locations {one:?} and {two:?} are one store: both have id {id}"));
            }
        }
        match all.iter().position(|location| location.name == preferred) {
            Some(preferred) => Ok(Self { all: all.into(), preferred }),
            None => {
                let names: Vec<&str> = all.iter().map(|location| location.name.as_str()).collect();
                wrong(format!("the preferred storage location {preferred:?} is none of those configured: {names:?}"))
            }
        }
    }

    /// A set of one.
    pub fn single(location: Location) -> Self {
        Self { all: [location].into(), preferred: 0 }
    }

    /// The location that serves first and is written to first.
    pub fn preferred(&self) -> &Location {
        &self.all[self.preferred]
    }

    /// The location with this id. `None` when this instance is not configured with it.
    pub fn by_id(&self, id: Uuid) -> Option<&Location> {
        self.all.iter().find(|location| location.id == id)
    }

    /// The location of this name.
    pub fn by_name(&self, name: &str) -> Option<&Location> {
        self.all.iter().find(|location| location.name == name)
    }

    /// All of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Location> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::Memory;

    fn location(name: &str, id: u128) -> Location {
        let engine = Arc::new(Memory::new());
        Location { name: name.to_owned(), id: Uuid::from_u128(id), scope: Scope::Shared, engine }
    }

    #[test]
    fn locations_are_found_by_id_and_name() {
        let locations = Locations::new(vec![location("eu", 1), location("us", 2)], "us").unwrap();
        assert_eq!(locations.preferred().name, "us");
        assert_eq!(locations.by_id(Uuid::from_u128(1)).unwrap().name, "eu");
        assert_eq!(locations.by_name("us").unwrap().id, Uuid::from_u128(2));
        assert!(locations.by_id(Uuid::from_u128(3)).is_none() && locations.by_name("asia").is_none());
        assert_eq!(locations.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["eu", "us"]);
        assert_eq!(Locations::single(location("one", 1)).preferred().name, "one");
    }

    #[test]
    fn a_set_that_makes_no_sense_is_refused_by_name() {
        for (all, preferred, names) in [
            (vec![], "eu", vec!["\"eu\""]),
            (vec![location("eu", 1)], "us", vec!["\"eu\"", "\"us\""]),
            (vec![location("eu", 1), location("eu", 2)], "eu", vec!["two", "\"eu\""]),
            (vec![location("eu", 1), location("us", 1)], "eu", vec!["\"eu\"", "\"us\"", "one store"]),
        ] {
            let error = Locations::new(all, preferred).unwrap_err().to_string();
            assert!(names.iter().all(|name| error.contains(name)), "{error}");
        }
    }
}
