//! Where bytes live: the [`Engine`] trait, the light engines and decorators, location identity, the conformance suite.

mod engine;
mod error;
mod key;

pub use engine::{Body, Engine, Extend, Listed, ObjectRead, ObjectStat, Part, Writer};
pub use error::{Error, ErrorKind};
pub use key::ObjectKey;
