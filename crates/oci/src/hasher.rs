//! Hashing a stream, and carrying a hash that is not finished from one process to another.
//!
//! An upload session may be continued by any instance, so the running hash is part of its state. A saved state that
//! this build cannot read is not an error: the caller reads the staged bytes again.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

use crate::{Algorithm, Digest};

/// The layout of [`Hasher::save`]: this byte, the algorithm's code, the length (8 bytes, big-endian), the state of
/// the `sha2` crate, and a checksum. The state's own form may change with every minor version of that crate: raise this
/// byte when its version is raised, and saved states are rehashed instead of misread.
const FORMAT: u8 = 1;

const HEAD: usize = 10;
const CHECKSUM: usize = 8;

/// A hash of the bytes seen so far.
#[derive(Clone)]
pub struct Hasher {
    state: State,
    length: u64,
}

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// A hash of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { state, length: 0 }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.state {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, content: &[u8]) {
        match &mut self.state {
            State::Sha256(hash) => hash.update(content),
            State::Sha512(hash) => hash.update(content),
        }
        self.length += content.len() as u64;
    }

    /// How many bytes were added so far, those before a restore included.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Sha256(hash) => Digest::sha256(hash.finalize().into()),
            State::Sha512(hash) => Digest::sha512(hash.finalize().into()),
        }
    }

    /// The state as bytes, for [`Hasher::restore`] in this or another process. At most 300 bytes. It holds the last,
    /// incomplete block of the content (up to 127 bytes), so it is as secret as the content.
    pub fn save(&self) -> Vec<u8> {
        let mut saved = vec![FORMAT, self.algorithm().code()];
        saved.extend_from_slice(&self.length.to_be_bytes());
        match &self.state {
            State::Sha256(hash) => saved.extend_from_slice(&hash.serialize()),
            State::Sha512(hash) => saved.extend_from_slice(&hash.serialize()),
        }
        let checksum = checksum(&saved);
        saved.extend_from_slice(&checksum);
        saved
    }

    /// The hasher that was saved. `None` when these bytes are damaged or of a format this build does not know: hash
    /// the content again from its first byte.
    pub fn restore(saved: &[u8]) -> Option<Self> {
        let (body, sum) = saved.split_last_chunk::<CHECKSUM>()?;
        if checksum(body) != *sum {
            return None;
        }
        let (head, state) = body.split_first_chunk::<HEAD>()?;
        let [FORMAT, code, length @ ..] = *head else {
            return None;
        };
        let state = match Algorithm::from_code(code)? {
            Algorithm::Sha256 => State::Sha256(deserialize(state)?),
            Algorithm::Sha512 => State::Sha512(deserialize(state)?),
        };
        Some(Self { state, length: u64::from_be_bytes(length) })
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher")
            .field("algorithm", &self.algorithm())
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

fn deserialize<H: SerializableState>(state: &[u8]) -> Option<H> {
    let state = <&SerializedState<H>>::try_from(state).ok()?;
    H::deserialize(state).ok()
}

/// Against torn or flipped bytes, not against an adversary: a state that was not saved by [`Hasher::save`] may hold
/// counters that overflow.
fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    let hash = Sha256::digest(body);
    std::array::from_fn(|i| hash[i])
}
