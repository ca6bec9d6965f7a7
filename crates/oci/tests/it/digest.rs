use proptest::prelude::*;
use roadstead_oci::{Algorithm, Digest, DigestError};

const EMPTY_256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ABC_256: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const ABC_512: &str = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                       2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

fn malformed(text: &str) -> bool {
    matches!(text.parse::<Digest>(), Err(DigestError::Malformed { .. }))
}

#[test]
fn hashes_the_known_vectors() {
    assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY_256);
    assert_eq!(Digest::of(Algorithm::Sha256, b"abc").to_string(), ABC_256);
    assert_eq!(Digest::of(Algorithm::Sha512, b"abc").to_string(), ABC_512);
}

#[test]
fn shows_as_its_text_everywhere() {
    let digest: Digest = ABC_256.parse().unwrap();
    assert_eq!(digest.to_string(), ABC_256);
    assert_eq!(format!("{digest:?}"), ABC_256);
    assert_eq!(digest.hex(), ABC_256["sha256:".len()..]);
    assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{ABC_256}\""));
    assert_eq!(serde_json::from_str::<Digest>(&format!("\"{ABC_256}\"")).unwrap(), digest);
    assert!(serde_json::from_str::<Digest>("\"sha256:abc\"").is_err());
}

#[test]
fn only_the_exact_spelling_is_a_digest() {
    let upper_hex = ABC_256.to_uppercase().replace("SHA256", "sha256");
    for text in [
        "",
        ":",
        "sha256",
        "sha256:",
        "sha256:abc",
        "sha256:baddigeststring",
        &ABC_256.replace("sha256", "SHA256"),
        &ABC_256.replace("sha256", ""),
        &ABC_256.replace("sha256", "sha256+"),
        &ABC_256.replace("sha256", "sha512"),
        &ABC_256.replace("ba78", "ga78"),
        &upper_hex,
        &format!("{ABC_256}0"),
        &ABC_256[..ABC_256.len() - 1],
        &format!(" {ABC_256}"),
        &format!("{ABC_256}\n"),
        &ABC_256.replace("ba78", "ba/8"),
        &ABC_256.replace("ba78", "\u{e9}78"),
        "sha256:sha256:abc",
        "sha384:..",
    ] {
        assert!(malformed(text), "{text:?}");
    }
}

#[test]
fn an_unknown_algorithm_is_not_a_malformed_digest() {
    for text in ["sha384:abcdef", "blake3:00", "a+b.c_d-e:A=_-z"] {
        let error = text.parse::<Digest>().unwrap_err();
        assert!(error.is_unsupported(), "{text}: {error}");
    }
    assert_eq!(
        "md5:00".parse::<Digest>().unwrap_err().to_string(),
        "digest algorithm \"md5\" is not supported; supported are sha256 and sha512"
    );
}

#[test]
fn an_error_does_not_echo_a_flood() {
    let flood = "x".repeat(1 << 20);
    for text in [flood.clone(), format!("{flood}:00"), format!("sha256:{flood}")] {
        assert!(text.parse::<Digest>().unwrap_err().to_string().len() < 400);
    }
}

/// Data outlives code: these bytes are on disk.
#[test]
fn the_stored_form_is_one_algorithm_byte_and_the_hash() {
    let short: Digest = ABC_256.parse().unwrap();
    let long: Digest = ABC_512.parse().unwrap();
    assert_eq!((short.to_vec()[0], short.to_vec().len()), (1, 33));
    assert_eq!((long.to_vec()[0], long.to_vec().len()), (2, 65));
    assert_eq!(short.to_vec()[1..], *short.as_bytes());
    assert_eq!(short.as_bytes()[..2], [0xba, 0x78]);
}

#[test]
fn other_bytes_are_not_a_stored_digest() {
    let stored = Digest::of(Algorithm::Sha256, b"").to_vec();
    let other = |code: u8| [&[code], &stored[1..]].concat();
    for bytes in [vec![], vec![1], stored[..32].to_vec(), [&stored[..], &[0]].concat(), other(0), other(2), other(3)] {
        assert_eq!(Digest::from_slice(&bytes), Err(DigestError::Stored { length: bytes.len() }));
    }
}

#[test]
fn algorithms_parse_from_their_names() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        assert_eq!(Digest::of(algorithm, b"").as_bytes().len(), algorithm.hash_len());
    }
    assert!("sha1".parse::<Algorithm>().unwrap_err().is_unsupported());
    assert!(!"SHA256".parse::<Algorithm>().unwrap_err().is_unsupported());
}

proptest! {
    #[test]
    fn every_digest_survives_its_text_and_its_stored_form(digest in crate::digests()) {
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        prop_assert_eq!(Digest::from_slice(&digest.to_vec()), Ok(digest));
    }

    #[test]
    fn order_is_that_of_the_stored_form(a in crate::digests(), b in crate::digests()) {
        prop_assert_eq!(a.cmp(&b), a.to_vec().cmp(&b.to_vec()));
    }

    #[test]
    fn whatever_parses_is_its_own_text(text in prop_oneof![any::<String>(), crate::scraps(), "sha256:[0-9a-g]{63,65}"]) {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text);
        }
    }

    #[test]
    fn whatever_is_stored_is_its_own_form(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
        if let Ok(digest) = Digest::from_slice(&bytes) {
            prop_assert_eq!(digest.to_vec(), bytes);
        }
    }
}
