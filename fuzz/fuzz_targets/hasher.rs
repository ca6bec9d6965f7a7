//! The saved state of a hash. Input: bytes that are tried as a state, as the body of a sealed state, and as content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_oci::{Algorithm, Digest, Hasher};

fuzz_target!(|input: &[u8]| {
    survives(input);
    // With the right checksum, or nothing random would ever get past it.
    let seal = Digest::of(Algorithm::Sha256, input);
    survives(&[input, &seal.as_bytes()[..8]].concat());
    if let Some((cut, content)) = input.split_first() {
        continues(content, usize::from(*cut).min(content.len()));
    }
});

/// A state that is accepted can be saved and accepted again.
fn survives(state: &[u8]) {
    let Some(hasher) = Hasher::restore(state) else { return };
    let again = Hasher::restore(&hasher.save()).expect("a saved state is restored");
    assert_eq!((again.algorithm(), again.length()), (hasher.algorithm(), hasher.length()));
    assert_eq!(again.save(), hasher.save());
}

fn continues(content: &[u8], cut: usize) {
    for algorithm in Algorithm::ALL {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&content[..cut]);
        let mut hasher = Hasher::restore(&hasher.save()).expect("a saved state is restored");
        hasher.update(&content[cut..]);
        assert_eq!(hasher.length(), content.len() as u64);
        assert_eq!(hasher.finish(), Digest::of(algorithm, content));
    }
}
