//! Where bytes live: the [`Engine`] trait, the light engines and decorators, location identity, the conformance suite.

mod engine;
mod error;
mod faulty;
mod filesystem;
mod identity;
mod key;
mod location;
mod memory;
mod metered;
mod operation;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use engine::{Body, Engine, Extend, Listed, ObjectRead, ObjectStat, Part, Presign, Sweep, Swept, Version, Writer};
pub use error::{Error, ErrorKind};
pub use faulty::{Faults, Faulty, Held};
pub use filesystem::Filesystem;
pub use identity::{IDENTITY_KEY, Identity};
pub use key::ObjectKey;
pub use location::{Location, Locations, Scope};
pub use memory::Memory;
pub use metered::{Metered, Outcome, Recorder};
pub use operation::Operation;
