//! Digests.

/// A content digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: u8,
    bytes: [u8; 64],
}

impl Digest {
    /// One algorithm byte and the raw hash: the form kept in metadata.
    pub fn to_vec(&self) -> Vec<u8> {
        [&[self.algorithm], &self.bytes[..]].concat()
    }

    /// The inverse of [`Digest::to_vec`].
    pub fn from_slice(_: &[u8]) -> Result<Self, ()> {
        Err(())
    }
}
