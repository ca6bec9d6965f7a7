use proptest::prelude::*;
use roadstead_oci::{Algorithm, Digest, Hasher};

/// 300 bytes: more than two blocks of SHA-512, more than four of SHA-256.
fn content() -> Vec<u8> {
    (0..300u32).map(|i| (i * 7 % 251) as u8).collect()
}

#[test]
fn a_hash_continues_from_every_offset() {
    let content = content();
    for algorithm in Algorithm::ALL {
        for offset in 0..=content.len() {
            let mut first = Hasher::new(algorithm);
            first.update(&content[..offset]);
            let mut second = Hasher::restore(&first.save()).unwrap();
            assert_eq!((second.algorithm(), second.length()), (algorithm, offset as u64));
            second.update(&content[offset..]);
            assert_eq!(second.length(), 300);
            assert_eq!(second.finish(), Digest::of(algorithm, &content), "{algorithm} from {offset}");
        }
    }
}

#[test]
fn a_clone_goes_its_own_way() {
    let mut one = Hasher::new(Algorithm::Sha256);
    one.update(b"a");
    let mut other = one.clone();
    other.update(b"b");
    assert_eq!(one.finish(), Digest::of(Algorithm::Sha256, b"a"));
    assert_eq!(other.finish(), Digest::of(Algorithm::Sha256, b"ab"));
}

#[test]
fn a_damaged_state_is_not_restored() {
    for algorithm in Algorithm::ALL {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&content());
        let saved = hasher.save();
        assert!(saved.len() <= 300);
        for bit in 0..saved.len() * 8 {
            let mut damaged = saved.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Hasher::restore(&damaged).is_none(), "bit {bit}");
        }
        for length in 0..saved.len() {
            assert!(Hasher::restore(&saved[..length]).is_none(), "{length} bytes");
        }
        assert!(Hasher::restore(&[&saved[..], &[0]].concat()).is_none());
    }
}

/// Another format with a right checksum, as a newer build may leave behind.
#[test]
fn an_unknown_format_is_not_restored() {
    let saved = Hasher::new(Algorithm::Sha256).save();
    let sealed = |index: usize, byte: u8| {
        let mut body = saved[..saved.len() - 8].to_vec();
        body[index] = byte;
        let sum = Digest::of(Algorithm::Sha256, &body);
        [&body[..], &sum.as_bytes()[..8]].concat()
    };
    assert!(Hasher::restore(&sealed(0, 1)).is_some(), "the seal of this test is the seal of the format");
    assert!(Hasher::restore(&sealed(0, 2)).is_none(), "format");
    assert!(Hasher::restore(&sealed(1, 2)).is_none(), "algorithm of another state");
    assert!(Hasher::restore(&sealed(1, 9)).is_none(), "unknown algorithm");
}

/// States on disk outlive a release: this one was saved by format 1 after `abc`.
#[test]
fn format_1_is_what_it_was() {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(b"abc");
    let saved = hasher.save();
    assert_eq!(saved.len(), 122);
    assert_eq!(saved[..10], [1, 1, 0, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(
        Digest::of(Algorithm::Sha256, &saved).hex(),
        "b8887ea99ecf935b581ca364355bca0da80078e2c5ab41947c48cfd23d14cab6"
    );
}

#[test]
fn debug_shows_no_content() {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(b"secret");
    assert_eq!(format!("{hasher:?}"), "Hasher { algorithm: Sha256, length: 6, .. }");
}

proptest! {
    #[test]
    fn pieces_do_not_matter(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
        for algorithm in Algorithm::ALL {
            let mut hasher = Hasher::new(algorithm);
            for piece in &pieces {
                hasher.update(piece);
                hasher = Hasher::restore(&hasher.save()).unwrap();
            }
            prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &pieces.concat()));
        }
    }

    #[test]
    fn restoring_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Hasher::restore(&bytes).is_none());
    }
}
