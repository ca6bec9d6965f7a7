//! The signed name of an upload session.
//!
//! A POST answers a token and writes nothing. The token holds the session's id, which holds the time of its start,
//! and the algorithm its bytes are hashed with; the signature binds it to one repository.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use roadstead_metadata::Millis;
use roadstead_oci::{Algorithm, RepositoryName};
use sha2::Sha256;
use uuid::Uuid;

const VERSION: u8 = 1;
const BODY: usize = 18;
const SIGNATURE: usize = 16;

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    /// The session's id (UUIDv7).
    pub id: Uuid,
    /// The algorithm the running hash uses.
    pub algorithm: Algorithm,
}

impl Token {
    /// The token as text, signed for `repository`: 46 characters, safe in a path.
    pub(crate) fn sign(&self, key: &[u8], repository: &RepositoryName) -> String {
        let mut bytes = self.body();
        bytes.extend_from_slice(&signature(key, &bytes, repository));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token; `None` when it is malformed, of another version, or not signed for `repository`.
    pub(crate) fn open(text: &str, key: &[u8], repository: &RepositoryName) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        if bytes.len() != BODY + SIGNATURE || bytes[0] != VERSION {
            return None;
        }
        let (body, signed) = bytes.split_at(BODY);
        let matches = subtle::ConstantTimeEq::ct_eq(&signature(key, body, repository)[..], signed);
        if !bool::from(matches) {
            return None;
        }
        let algorithm = Algorithm::ALL.iter().copied().find(|a| a.code() == body[1])?;
        Some(Self { id: Uuid::from_slice(&body[2..]).ok()?, algorithm })
    }

    /// When the session was started.
    pub(crate) fn started_at(&self) -> Millis {
        let time = self.id.get_timestamp().map(|t| t.to_unix());
        time.map_or(0, |(seconds, nanos)| seconds as Millis * 1000 + Millis::from(nanos / 1_000_000))
    }

    fn body(&self) -> Vec<u8> {
        [&[VERSION, self.algorithm.code()], &self.id.as_bytes()[..]].concat()
    }
}

fn signature(key: &[u8], body: &[u8], repository: &RepositoryName) -> [u8; SIGNATURE] {
    // An HMAC key may have any length, so this cannot fail; an all-zero signature would match nothing signed.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; SIGNATURE] };
    mac.update(body);
    mac.update(repository.as_str().as_bytes());
    let mut short = [0; SIGNATURE];
    short.copy_from_slice(&mac.finalize().into_bytes()[..SIGNATURE]);
    short
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn opens_only_what_was_signed_for_the_repository(id in any::<u128>(), flip in 0usize..272) {
            let token = Token { id: Uuid::from_u128(id), algorithm: Algorithm::Sha512 };
            let text = token.sign(b"key", &name("a/b"));
            prop_assert_eq!(Token::open(&text, b"key", &name("a/b")), Some(token));
            prop_assert_eq!(Token::open(&text, b"key", &name("a/c")), None);
            prop_assert_eq!(Token::open(&text, b"kez", &name("a/b")), None);
            let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
            bytes[flip / 8] ^= 1 << (flip % 8);
            prop_assert_eq!(Token::open(&URL_SAFE_NO_PAD.encode(bytes), b"key", &name("a/b")), None);
        }

        #[test]
        fn garbage_never_opens(text in ".{0,80}") {
            prop_assert_eq!(Token::open(&text, b"key", &name("a")), None);
        }
    }
}
