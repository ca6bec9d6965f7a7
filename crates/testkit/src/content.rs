//! Content made from a seed: the same seed makes the same bytes, in every run and on every machine.

use std::io::{self, Read};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256, Sha512};

/// Where a test's random choices come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed in the variable `ROADSTEAD_TEST_SEED`, or a new one. The test prints it, so that its run can be repeated.
    #[allow(clippy::disallowed_methods, reason = "a new seed is wanted each time")]
    pub fn from_environment() -> Self {
        let given = std::env::var("ROADSTEAD_TEST_SEED").ok().and_then(|text| text.parse().ok());
        Self(
            given.unwrap_or_else(|| {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64)
            }),
        )
    }

    /// Another seed, determined by this one and a number.
    pub fn derive(self, number: u64) -> Self {
        Self(mix(self.0 ^ mix(number.wrapping_add(0x51)).rotate_left(17)))
    }

    /// A number below `bound`.
    pub fn below(self, bound: u64) -> u64 {
        mix(self.0) % bound.max(1)
    }
}

/// SplitMix64's output function.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `length` bytes determined by a seed, as a reader that holds none of them.
#[derive(Debug, Clone)]
pub struct Content {
    seed: u64,
    length: u64,
    at: u64,
}

impl Content {
    /// All `length` bytes, from the first.
    pub fn new(seed: Seed, length: u64) -> Self {
        Self { seed: mix(seed.0), length, at: 0 }
    }

    /// The same bytes without the first `offset`.
    #[must_use]
    pub fn skip_to(mut self, offset: u64) -> Self {
        self.at = offset.min(self.length);
        self
    }

    /// The same bytes up to `end`.
    #[must_use]
    pub fn end_at(mut self, end: u64) -> Self {
        self.length = self.length.min(end);
        self
    }

    /// Everything that is left, in memory.
    pub fn to_vec(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).expect("reading from memory");
        bytes
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.length - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let mut filled = 0;
        while filled < wanted {
            let word = mix(self.seed.wrapping_add(self.at / 8)).to_le_bytes();
            let from = (self.at % 8) as usize;
            let count = (8 - from).min(wanted - filled);
            buffer[filled..filled + count].copy_from_slice(&word[from..from + count]);
            filled += count;
            self.at += count as u64;
        }
        Ok(filled)
    }
}

/// `sha256:...` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    digest_of(bytes).expect("reading from memory").0
}

/// `sha512:...` of bytes.
pub fn digest512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

/// `sha256:...` and the length of everything a reader yields.
pub fn digest_of(mut reader: impl Read) -> io::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut length = 0;
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok((format!("sha256:{}", hex(&hash.finalize())), length));
        }
        hash.update(&buffer[..count]);
        length += count as u64;
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A small image: a config, layers, and the manifest that names them.
#[derive(Debug, Clone)]
pub struct Image {
    /// Config first, then the layers.
    pub blobs: Vec<Vec<u8>>,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
}

impl Image {
    /// The media type of its manifest.
    pub const MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";

    /// An image with layers of the given lengths.
    pub fn generate(seed: Seed, layers: &[u64]) -> Self {
        let config = serde_json::json!({"architecture": "amd64", "os": "linux", "created_by": seed.0.to_string()});
        let mut blobs = vec![config.to_string().into_bytes()];
        blobs.extend((1..).zip(layers).map(|(n, length)| Content::new(seed.derive(n), *length).to_vec()));
        let descriptor = |media_type: &str, bytes: &Vec<u8>| serde_json::json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()});
        let layer = "application/vnd.oci.image.layer.v1.tar";
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": Self::MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &blobs[0]),
            "layers": blobs[1..].iter().map(|bytes| descriptor(layer, bytes)).collect::<Vec<_>>(),
        });
        Self { blobs, manifest: manifest.to_string().into_bytes() }
    }

    /// The digest of its manifest.
    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_however_it_is_read() {
        let whole = Content::new(Seed(7), 1_000).to_vec();
        let mut pieces = Content::new(Seed(7), 1_000).end_at(333).to_vec();
        pieces.extend(Content::new(Seed(7), 1_000).skip_to(333).to_vec());
        assert_eq!(whole, pieces);
        assert_ne!(whole, Content::new(Seed(8), 1_000).to_vec());
        assert_eq!(digest_of(Content::new(Seed(7), 1_000)).unwrap(), (digest(&whole), 1_000));
    }

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(digest(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
