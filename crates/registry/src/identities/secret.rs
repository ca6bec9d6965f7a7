//! What the owner of a token holds: `PREFIX_ID_SECRET`, id and secret in hexadecimal digits. The prefix is there for those who
//! look for secrets in places where they should not be.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Of access tokens: `rsd_[0-9a-f]{32}_[0-9a-f]{64}`.
pub(super) const ACCESS: &str = "rsd";
/// Of refresh tokens.
pub(super) const REFRESH: &str = "rsr";

/// A token's id and secret.
pub(super) struct Secret {
    pub(super) id: Uuid,
    bytes: [u8; 32],
}

impl Secret {
    /// A new one.
    pub(super) fn new(id: Uuid) -> Self {
        Self { id, bytes: rand::random() }
    }

    /// What its owner is shown once.
    pub(super) fn show(&self, prefix: &str) -> String {
        let hex: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{prefix}_{}_{hex}", self.id.simple())
    }

    /// From what its owner shows; `None` when it is none of these.
    pub(super) fn parse(prefix: &str, text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(prefix)?.strip_prefix('_')?.split_once('_')?;
        let digits = |text: &str, count: usize| {
            text.len() == count && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !digits(id, 32) || !digits(secret, 64) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(secret.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self { id: Uuid::try_parse(id).ok()?, bytes })
    }

    /// What is kept of it: a secret of 256 random bits needs no slow hash.
    pub(super) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.bytes).to_vec()
    }

    /// Whether this is what is kept of it. Takes the same time for every answer.
    pub(super) fn is(&self, hash: &[u8]) -> bool {
        self.hash().ct_eq(hash).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        let secret = Secret::new(Uuid::now_v7());
        let shown = secret.show(ACCESS);
        assert_eq!(shown.len(), 4 + 32 + 1 + 64);
        let read = Secret::parse(ACCESS, &shown).unwrap();
        assert!(read.id == secret.id && read.is(&secret.hash()) && !read.is(&[0; 32]) && !read.is(&[]));
        assert!(!Secret::new(secret.id).is(&secret.hash()));
        let other = shown.replace('_', "-");
        for bad in ["", "rsd_", "rsd__", &shown[..100], &format!("{shown}0"), &shown.to_uppercase(), &other] {
            assert!(Secret::parse(ACCESS, bad).is_none(), "{bad}");
        }
        assert!(Secret::parse(REFRESH, &shown).is_none());
    }
}
