//! Repository names, tags, references.

use proptest::prelude::*;
use roadstead_oci::{Digest, Reference, ReferenceError, RepositoryName, Tag};

fn is_name(text: &str) -> bool {
    text.parse::<RepositoryName>().is_ok()
}

#[test]
fn names_of_the_grammar_are_names() {
    let longest = format!("{}/{}", "a".repeat(127), "b".repeat(127));
    for name in
        ["a", "0", "library/ubuntu", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c/d/e", "blobs/uploads", &longest]
    {
        assert!(is_name(name), "{name:?}");
        assert_eq!(name.parse::<RepositoryName>().unwrap().as_str(), name);
    }
}

#[test]
fn everything_else_is_not_a_name() {
    let too_long = format!("{}/{}", "a".repeat(128), "b".repeat(127));
    for name in [
        "", "/", "a/", "/a", "a//b", "A", "a/B", ".", "..", "a/..", "../a", "a/../b", ".a", "a.", "-a", "a-", "_a",
        "a_", "a..b", "a___b", "a._b", "a-_b", "a.-b", "a b", "a\0", "a\n", "a%2fb", "a\\b", "a:b", "a@b", "a+b",
        "\u{e9}", "\u{ff41}", "_catalog", &too_long,
    ] {
        assert!(!is_name(name), "{name:?}");
    }
}

#[test]
fn the_namespace_is_the_first_of_several_components() {
    let namespace = |name: &str| name.parse::<RepositoryName>().unwrap().namespace().map(str::to_owned);
    assert_eq!(namespace("ubuntu"), None);
    assert_eq!(namespace("library/ubuntu"), Some("library".to_owned()));
    assert_eq!(namespace("a/b/c"), Some("a".to_owned()));
}

#[test]
fn the_error_says_what_is_wrong() {
    let error = "Library/ubuntu".parse::<RepositoryName>().unwrap_err().to_string();
    let expected =
        "\"Library/ubuntu\" is not a repository name: only lower-case letters, digits, and . _ - / are allowed";
    assert_eq!(error, expected);
    assert!("a/".repeat(100_000).parse::<RepositoryName>().unwrap_err().to_string().len() < 300);
}

#[test]
fn names_and_tags_are_strings_in_json_and_judged_there_too() {
    assert_eq!(serde_json::from_str::<RepositoryName>("\"a/b\"").unwrap().to_string(), "a/b");
    assert!(serde_json::from_str::<RepositoryName>("\"a/../b\"").is_err());
    assert_eq!(serde_json::to_string(&"v1".parse::<Tag>().unwrap()).unwrap(), "\"v1\"");
    assert!(serde_json::from_str::<Tag>("\"a/b\"").is_err());
}

#[test]
fn tags_are_judged_by_their_grammar() {
    for tag in ["latest", "_", "0", "V1.0-rc_1", "a..b", &"x".repeat(128)] {
        assert_eq!(tag.parse::<Tag>().unwrap().as_str(), tag);
    }
    for tag in ["", ".INVALID", "-a", ".", "..", "a/b", "a:b", "a b", "a+b", "\u{e9}", "a\0", &"x".repeat(129)] {
        assert!(tag.parse::<Tag>().is_err(), "{tag:?}");
    }
}

#[test]
fn a_colon_makes_a_digest() {
    let digest = Digest::of(roadstead_oci::Algorithm::Sha512, b"");
    assert_eq!(digest.to_string().parse(), Ok(Reference::Digest(digest)));
    assert_eq!("sha256".parse(), Ok(Reference::Tag("sha256".parse().unwrap())));
    assert!(matches!("sha256:".parse::<Reference>(), Err(ReferenceError::Digest(_))));
    assert!(matches!("a b".parse::<Reference>(), Err(ReferenceError::Tag(_))));
}

proptest! {
    #[test]
    fn names_parse_back(name in crate::names()) {
        prop_assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn references_parse_back(tag in crate::tags(), digest in crate::digests()) {
        for reference in [Reference::from(tag), Reference::from(digest)] {
            prop_assert_eq!(reference.to_string().parse(), Ok(reference));
        }
    }

    /// The spec's own expression, walked by hand as an independent judge.
    #[test]
    fn names_are_exactly_the_expression_of_the_spec(text in prop_oneof!["[a-c0/._-]{0,12}", "[ -~]{0,6}", crate::scraps()]) {
        prop_assert_eq!(is_name(&text), text.len() <= 255 && matches_the_spec(&text), "{:?}", text);
    }

    #[test]
    fn no_name_and_no_tag_is_a_path_trick(text in prop_oneof![any::<String>(), crate::scraps()]) {
        if let Ok(name) = text.parse::<RepositoryName>() {
            prop_assert!(!name.as_str().contains("..") && !name.as_str().contains("//"));
            prop_assert!(!name.as_str().starts_with('/') && !name.as_str().ends_with('/'));
            prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'%' && b != b'\\'));
        }
        if let Ok(tag) = text.parse::<Tag>() {
            prop_assert!(!tag.as_str().starts_with('.') && !tag.as_str().contains('/'));
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`
fn matches_the_spec(text: &str) -> bool {
    let letter = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        if !letter(bytes.get(at)) {
            return false;
        }
        while letter(bytes.get(at)) {
            at += 1;
        }
        match bytes.get(at) {
            None => return true,
            Some(b'/' | b'.') => at += 1,
            Some(b'_') => at += if bytes.get(at + 1) == Some(&b'_') { 2 } else { 1 },
            Some(b'-') => {
                while bytes.get(at) == Some(&b'-') {
                    at += 1;
                }
            }
            Some(_) => return false,
        }
    }
}
