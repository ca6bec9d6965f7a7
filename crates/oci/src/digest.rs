//! Digests: `algorithm:hex`, the name of every blob and manifest.
//!
//! Strict: lower-case hex of exactly the algorithm's length. The spec's grammar allows any algorithm; a digest that
//! is well formed but of an algorithm not known here is told apart from a malformed one, because a client that asks
//! for such content is not mistaken, the content is just not here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Hasher;
use crate::excerpt::excerpt;

/// A hash algorithm that content can be named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, what practically every client uses.
    Sha256,
    /// SHA-512, the other algorithm registered in the image-spec.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, in the order of [`Algorithm::code`].
    pub const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    /// The name in a digest: `sha256`, `sha512`.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// The length of a raw hash in bytes; its hex is twice as long.
    pub fn hash_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// The byte that stands for the algorithm in metadata. Data outlives code: never change or reuse one.
    pub fn code(self) -> u8 {
        match self {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.code() == code)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match Self::from_name(text) {
            Some(algorithm) => Ok(algorithm),
            None if is_algorithm(text) => Err(DigestError::Unsupported { algorithm: excerpt(text) }),
            None => Err(DigestError::malformed(text, "the algorithm is not lower-case letters and digits")),
        }
    }
}

/// Why a text or a stored value is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not `algorithm:hex`, or the hex is not what the algorithm demands.
    #[error("{text} is not a digest: {reason}; a digest looks like sha256: and 64 lower-case hex characters")]
    Malformed {
        /// An excerpt of the text, quoted.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Well formed, of an algorithm that this registry does not know.
    #[error("digest algorithm {algorithm} is not supported; supported are sha256 and sha512")]
    Unsupported {
        /// An excerpt of the algorithm's name, quoted.
        algorithm: String,
    },
    /// A stored value is not what [`Digest::to_vec`] makes.
    #[error("{length} stored bytes are not a digest (one algorithm byte and the raw hash)")]
    Stored {
        /// How many bytes it had.
        length: usize,
    },
}

impl DigestError {
    fn malformed(text: &str, reason: &'static str) -> Self {
        DigestError::Malformed { text: excerpt(text), reason }
    }

    /// Whether the text was well formed and only its algorithm is unknown here.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, DigestError::Unsupported { .. })
    }
}

/// A content digest. Ordered by algorithm, then by hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    /// The raw hash, then zeros: so that the derived comparisons compare hashes.
    bytes: [u8; 64],
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// The digest with this raw SHA-256 hash.
    pub fn sha256(hash: [u8; 32]) -> Self {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&hash);
        Self { algorithm: Algorithm::Sha256, bytes }
    }

    /// The digest with this raw SHA-512 hash.
    pub fn sha512(hash: [u8; 64]) -> Self {
        Self { algorithm: Algorithm::Sha512, bytes: hash }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw hash, [`Algorithm::hash_len`] bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.hash_len()]
    }

    /// The hash in lower-case hex.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
        self.as_bytes().iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
    }

    /// One algorithm byte and the raw hash: the form kept in metadata.
    pub fn to_vec(&self) -> Vec<u8> {
        [&[self.algorithm.code()], self.as_bytes()].concat()
    }

    /// The inverse of [`Digest::to_vec`].
    pub fn from_slice(stored: &[u8]) -> Result<Self, DigestError> {
        let error = DigestError::Stored { length: stored.len() };
        let (code, hash) = stored.split_first().ok_or(error.clone())?;
        let digest = match Algorithm::from_code(*code) {
            Some(Algorithm::Sha256) => hash.try_into().map(Self::sha256),
            Some(Algorithm::Sha512) => hash.try_into().map(Self::sha512),
            None => return Err(error),
        };
        digest.map_err(|_| error)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = |reason| DigestError::malformed(text, reason);
        let (name, encoded) = text.split_once(':').ok_or_else(|| malformed("there is no colon"))?;
        let Some(algorithm) = Algorithm::from_name(name) else {
            return Err(if is_algorithm(name) && is_encoded(encoded) {
                DigestError::Unsupported { algorithm: excerpt(name) }
            } else {
                malformed("it is not an algorithm, a colon, and a hash")
            });
        };
        if encoded.len() != 2 * algorithm.hash_len() {
            return Err(malformed("the hash has not the length of its algorithm"));
        }
        let mut bytes = [0; 64];
        for (byte, pair) in bytes.iter_mut().zip(encoded.as_bytes().chunks_exact(2)) {
            let nibble = |c: u8| nibble(c).ok_or_else(|| malformed("the hash is not lower-case hex"));
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self { algorithm, bytes })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

/// image-spec, descriptor: components of `[a-z0-9]+` joined by one of `+ . _ -`.
fn is_algorithm(text: &str) -> bool {
    text.split(['+', '.', '_', '-']).all(|component| {
        !component.is_empty() && component.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

/// image-spec, descriptor: `[a-zA-Z0-9=_-]+`, before the algorithm's own rule.
fn is_encoded(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
}
